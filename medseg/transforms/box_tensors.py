"""What the box transforms share: typed boxes, boxes cut by the image's border, images on a moved grid."""

from __future__ import annotations

from collections.abc import Hashable, MutableMapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data.meta_tensor import MetaTensor

from medseg.errors import ConfigError, DataError
from medseg.volumes.boxes import Boxes, as_boxes, box_volumes, clip_boxes


def boxes_of(item: MutableMapping[Hashable, Any], key: Hashable) -> Boxes:
    """The item's boxes as float64 `(N, 6)`.

    Raises:
        DataError: When there are none under the key, or they are not six numbers each.
    """
    where = f"{item.get('case_id', 'case')}: {key}"
    if key not in item:
        msg = f"{where}: the item has no such boxes. Wanted (N, 6), and (0, 6) for a scan without nodules."
        raise DataError(msg)
    values = item[key]
    return as_boxes(values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values, where=where)


def box_tensor(boxes: Boxes, like: Any = None) -> torch.Tensor:
    """Boxes as float32 `(N, 6)`, on the device of `like` where that is a tensor."""
    device = like.device if isinstance(like, torch.Tensor) else None
    return torch.as_tensor(as_boxes(boxes), dtype=torch.float32, device=device)


def label_tensor(values: Any, *, count: int, where: str) -> torch.Tensor:
    """Classes as int64 `(N,)`; None makes all 0.

    Raises:
        DataError: When there is not one for each box.
    """
    if values is None:
        return torch.zeros(count, dtype=torch.int64)
    labels = torch.as_tensor(np.asarray(values) if isinstance(values, Sequence) else values).reshape(-1)
    if len(labels) != count:
        msg = f"{where}: {count} boxes, but {len(labels)} labels. Wanted one label for each box."
        raise DataError(msg)
    return labels.to(torch.int64)


def put_boxes(
    item: MutableMapping[Hashable, Any],
    boxes: Boxes,
    *,
    box_key: Hashable,
    label_keys: Sequence[Hashable],
    keep: npt.NDArray[np.bool_] | None = None,
) -> None:
    """Put moved boxes into the item, without those that are not kept, which leave the keys that go with them too.

    Raises:
        DataError: When a key does not hold one value for each box.
    """
    kept = np.ones(len(boxes), dtype=np.bool_) if keep is None else keep
    for key in label_keys:
        if key in item:
            values = torch.as_tensor(item[key])
            if len(values) != len(boxes):
                msg = f"{item.get('case_id', 'case')}: {len(boxes)} boxes, but {len(values)} of {key}. "
                raise DataError(msg + "Wanted one for each box.")
            item[key] = values[torch.as_tensor(kept, device=values.device)]
    item[box_key] = box_tensor(boxes[kept], item[box_key])


def cut_boxes(boxes: Boxes, shape: Sequence[int], *, min_share: float) -> tuple[Boxes, npt.NDArray[np.bool_]]:
    """Boxes cut at the image's border, and which of them keep at least this share of their volume (and any at all)."""
    clipped = clip_boxes(boxes, shape)
    left = box_volumes(clipped)
    return clipped, (left > 0) & (left >= min_share * box_volumes(boxes) * (1 - 1e-6))


def spatial_shape(item: MutableMapping[Hashable, Any], keys: Sequence[Hashable]) -> tuple[int, int, int]:
    """The size of the item's images.

    Raises:
        DataError: When they differ.
    """
    shapes = {tuple(item[key].shape[1:]) for key in keys}
    if len(shapes) != 1 or len(next(iter(shapes))) != 3:
        sizes = ", ".join(f"{key} {tuple(item[key].shape)}" for key in keys)
        msg = (
            f"{item.get('case_id', 'case')}: wanted images (C, X, Y, Z) of one size, got {sizes}. Resample them first."
        )
        raise DataError(msg)
    x, y, z = shapes.pop()
    return (x, y, z)


def moved(image: torch.Tensor, values: torch.Tensor, matrix: npt.ArrayLike) -> torch.Tensor:
    """The new voxels of an image with its metadata, on the grid whose indices the 4x4 matrix maps to the old ones."""
    if not isinstance(image, MetaTensor):
        return values
    affine = image.affine.to(torch.float64) @ torch.as_tensor(matrix, dtype=torch.float64, device=image.affine.device)
    meta = {**image.meta, "affine": affine}
    return MetaTensor(values, meta=meta, applied_operations=list(image.applied_operations))


def plain(image: torch.Tensor) -> torch.Tensor:
    """The voxels without metadata."""
    return image.as_tensor() if isinstance(image, MetaTensor) else torch.as_tensor(image)


def checked_share(value: float, *, where: str) -> float:
    """The value, refused where it is no share.

    Raises:
        ConfigError: When it is below 0 or above 1.
    """
    if not 0 <= value <= 1:
        msg = f"{where} is {value}. Wanted a share from 0 to 1."
        raise ConfigError(msg)
    return float(value)
