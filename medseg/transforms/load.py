"""Reading one case, with every check that keeps a wrong scan out of the network."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import Transform

from medseg.errors import DataError
from medseg.kernels.channel import copy_to_c_order
from medseg.kernels.slabs import run_slabs
from medseg.volumes import Volume, check_same_grid, read_volume, volume_stem


class LoadCased(Transform):
    """Reads a case's image files, and its label where there is one, into `MetaTensor`s.

    The item holds `image`: one path per channel, or one 3-D or 4-D file; optionally `channels`, the indices to take
    from a 4-D file; optionally `label`. An image that is in memory already, as MONAI Deploy hands it over, is an array
    or tensor `(X, Y, Z)` or `(X, Y, Z, C)` with its affine in the metadata. The result holds `image` of shape
    `(C, X, Y, Z)` in float32 and `label` of shape `(1, X, Y, Z)` in uint8, both with the RAS affine in mm, and
    `case_id`.

    Args:
        num_channels: Channels that the network expects; None accepts any number.
        label_key: Key of the label, or None to leave labels unread.
        require_label: Whether an item without a label is an error.
    """

    def __init__(
        self, *, num_channels: int | None = None, label_key: str | None = "label", require_label: bool = False
    ) -> None:
        self.num_channels = num_channels
        self.label_key = label_key
        self.require_label = require_label

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Reads one item.

        Raises:
            DataError: When a file cannot be read, shapes, affines or channel counts disagree, a voxel is not finite,
                an image is constant, or a label is not integral.
        """
        item: dict[Hashable, Any] = {
            key: _Text(v) if isinstance(v, str) and _is_beside_image(key) else v for key, v in data.items()
        }
        if isinstance(item["image"], np.ndarray | torch.Tensor):
            return self._take(item)
        files = _paths(item["image"])
        case_id = str(item.get("case_id") or volume_stem(files[0]))
        label = self._label_path(item, case_id)
        volumes = _read_all([*files, *label])
        labels = volumes[len(files) :]
        del volumes[len(files) :]
        _check_same_grid(case_id, volumes)
        image = _stack(case_id, volumes, channels=item.get("channels"))
        self._check_channels(case_id, len(image), _names(files))
        item["case_id"] = case_id
        item["image"] = _as_meta(image, volumes[0], dtype=torch.float32)
        if labels:
            item[self.label_key] = _label(case_id, labels[0], reference=volumes[0])
        return item

    def _take(self, item: dict[Hashable, Any]) -> dict[Hashable, Any]:
        """The item of an image in memory. It has no file, so that nothing can be written on its grid."""
        image, case_id = item["image"], str(item.get("case_id") or "image in memory")
        if image.ndim not in (3, 4):
            msg = f"{case_id}: shape {tuple(image.shape)} is no 3D volume. Wanted X, Y, Z or, behind them, channels."
            raise DataError(msg)
        array = np.asarray(image.cpu() if isinstance(image, torch.Tensor) else image)
        array = array if array.ndim == 4 else array[..., None]
        stacked = _usable(case_id, [(array[..., index], "the image") for index in range(array.shape[3])])
        self._check_channels(case_id, len(stacked), "the image")
        affine = image.affine if isinstance(image, MetaTensor) else torch.eye(4)
        meta = {**(image.meta if isinstance(image, MetaTensor) else {}), "filename_or_obj": "", "space": "RAS"}
        meta |= {"original_channel_dim": 0, "original_affine": np.asarray(affine), "spatial_shape": array.shape[:3]}
        tensor = MetaTensor(torch.from_numpy(stacked), affine=affine.double(), meta=meta)
        return {**item, "case_id": case_id, "image": tensor}

    def _check_channels(self, case_id: str, got: int, source: str) -> None:
        if self.num_channels is not None and got != self.num_channels:
            msg = (
                f"{case_id}: {source} gives {got} channel(s), the network wants {self.num_channels}. "
                f"Set modalities to what the scans have, or add the missing files."
            )
            raise DataError(msg)

    def _label_path(self, item: Mapping[Hashable, Any], case_id: str) -> list[Path]:
        path = item.get(self.label_key) if self.label_key else None
        if path is None and self.require_label:
            msg = f"{case_id}: the item has no label. Add one to the datalist, or drop the case."
            raise DataError(msg)
        return [] if path is None else [Path(path)]


class _Text(str):
    """Text under a key such as MONAI Label's `image_path`.

    Spacingd of MONAI 1.6.1 takes whatever stands under `image_*` for metadata and calls its `update`.
    """

    __slots__ = ()

    def update(self, _: object) -> None:
        """Leaves the text as it is."""


def _is_beside_image(key: Hashable) -> bool:
    return isinstance(key, str) and key.startswith("image_")


def _paths(image: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(image)] if isinstance(image, str | Path) else [Path(path) for path in image]


def _names(files: Sequence[Path]) -> str:
    return ", ".join(path.name for path in files)


def _check_same_grid(case_id: str, volumes: Sequence[Volume], *, what: str = "image") -> None:
    first = volumes[0]
    for other in volumes[1:]:
        check_same_grid(
            other.shape,
            other.affine_ras_mm,
            reference_shape=first.shape,
            reference_affine=first.affine_ras_mm,
            where=f"{case_id}: {what} {other.path.name} against {first.path.name}",
        )


def _read_all(files: Sequence[Path]) -> list[Volume]:
    """The files, several at a time where the process may use several threads: unpacking releases the GIL."""
    threads = min(torch.get_num_threads(), len(files))
    if threads == 1:
        return [read_volume(path) for path in files]
    with ThreadPoolExecutor(threads, thread_name_prefix="medseg-read") as pool:
        return list(pool.map(read_volume, files))


def _stack(case_id: str, volumes: Sequence[Volume], *, channels: Sequence[int] | None) -> npt.NDArray[np.float32]:
    parts: list[tuple[npt.NDArray[Any], str]] = []
    for volume in volumes:
        array = volume.array if volume.array.ndim == 4 else volume.array[..., None]
        wanted = range(array.shape[3]) if channels is None else channels
        if max(wanted) >= array.shape[3]:
            msg = (
                f"{case_id}: {volume.path.name} has {array.shape[3]} channel(s), channel {max(wanted)} was asked for. "
                f"Check the modality table of the datalist."
            )
            raise DataError(msg)
        parts += [(array[..., index], volume.path.name) for index in wanted]
    return _usable(case_id, parts)


def _usable(case_id: str, parts: Sequence[tuple[npt.NDArray[Any], str]]) -> npt.NDArray[np.float32]:
    """Channels `(C, X, Y, Z)` from volumes with the names of their sources."""
    image = np.empty((len(parts), *parts[0][0].shape), dtype=np.float32)
    ends = np.empty((len(parts), 2), dtype=np.float32)

    def copy(first: int, last: int) -> None:
        for index in range(first, last):
            array, channel = parts[index][0], image[index]
            copy_to_c_order(array, channel)
            stored = array if array.dtype.kind in "iub" else channel  # whole numbers are fewer bytes
            ends[index] = stored.min(), stored.max()  # NaN if any voxel is

    run_slabs(copy, len(parts), threads=torch.get_num_threads())
    for (_, source), channel, (low, high) in zip(parts, image, ends, strict=True):
        if not (np.isfinite(low) and np.isfinite(high)):
            bad = channel.size - int(np.isfinite(channel).sum())
            msg = f"{case_id}: {source} holds {bad} voxel(s) that are NaN or infinite. Mend the scan or drop it."
            raise DataError(msg)
        if low == high:
            msg = f"{case_id}: every voxel of {source} is {low:g}. The scan is empty: drop the case."
            raise DataError(msg)
    return image


def _label(case_id: str, volume: Volume, *, reference: Volume) -> MetaTensor:
    _check_same_grid(case_id, [reference, volume], what="label")
    labels = _labels(volume.array[..., 0] if volume.array.ndim == 4 else volume.array)
    if labels is None:
        msg = f"{case_id}: {volume.path.name} holds values that are no labels 0..255. Is it an image, not a label?"
        raise DataError(msg)
    return _as_meta(labels[None], volume, dtype=torch.uint8)


def _labels(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8] | None:
    """Label values as uint8, C-contiguous; None when they are no whole numbers of 0 to 255."""
    whole = values.dtype.kind in "iub" or np.array_equal(values, np.rint(values))
    if not whole or values.min() < 0 or values.max() > 255:
        return None
    labels = np.empty(values.shape, dtype=np.uint8)
    copy_to_c_order(values, labels)
    return labels


def _as_meta(array: npt.NDArray[Any], volume: Volume, *, dtype: torch.dtype) -> MetaTensor:
    affine = torch.as_tensor(volume.affine_ras_mm, dtype=torch.float64)
    # As MONAI's LoadImage: MONAI Label restores results by these.
    meta = {"filename_or_obj": str(volume.path), "original_channel_dim": 0, "space": "RAS"}
    meta |= {"original_affine": volume.affine_ras_mm.copy(), "spatial_shape": np.asarray(volume.shape[:3])}
    return MetaTensor(torch.as_tensor(array, dtype=dtype), affine=affine, meta=meta)
