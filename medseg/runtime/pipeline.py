"""A pipeline read from a folder that `medseg bundle export` wrote, and run on scans."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.errors import ConfigError, DataError
from medseg.labels import get_convention, regions_to_labels, settle_regions
from medseg.runtime.grids import Orientation, foreground_box, resample, resampled_sizes
from medseg.runtime.intensities import normalise
from medseg.runtime.runtimes import INT8, default_runtime, runtime_of
from medseg.runtime.self_check import require_parity
from medseg.runtime.sessions import Network, open_network
from medseg.runtime.windows import mirrored, slide
from medseg.volumes import Affine, Volume, check_same_grid, read_volume, write_label_map

FILE = "pipeline.json"
VERSION = 1
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Ready:
    """An image as the network takes it, and the way back to the scan's own grid.

    Attributes:
        image: `(C, X, Y, Z)`, cropped and normalised.
        turn: From the scan's axes to the network's.
        sizes: Of the network's grid, before cropping.
        crop: Where the image lies on it.
        native: Sizes of the scan along the network's axes.
        factors: Voxel width of the network's grid in voxels of the scan, for each axis.
    """

    image: Floats
    turn: Orientation
    sizes: tuple[int, int, int]
    crop: tuple[slice, ...]
    native: Sequence[int]
    factors: Sequence[float]

    def back(self, inside: Floats) -> Floats:
        """Values `(R, X, Y, Z)` of the image on the scan's own grid; 0 outside of the crop, as MONAI's Invert pads."""
        whole = np.zeros((len(inside), *self.sizes), dtype=np.float32)
        whole[(slice(None), *self.crop)] = inside
        back = resample(whole, self.native, [1 / factor for factor in self.factors])
        return np.ascontiguousarray(self.turn.undo(back))


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """From an image in its own grid to a label map in the same grid.

    Attributes:
        steps: The content of pipeline.json.
        network: Logits of a window.
        runtime: What runs it.
        deviation: Of its logits from torch's, as a share of their size; None where the export is older than the check.
    """

    steps: Mapping[str, Any]
    network: Network
    runtime: str = ""
    deviation: float | None = None

    def probabilities(self, image: Floats, affine_ras_mm: Affine) -> Floats:
        """Probabilities `(R, X, Y, Z)` of an image `(C, X, Y, Z)`, in its own grid."""
        ready = self.prepare(image, affine_ras_mm)
        windows = self.steps["windows"]
        predict = mirrored(self.network, windows["mirrors"])
        logits = slide(ready.image, predict, window=windows["size"], overlap=windows["overlap"])
        return ready.back(np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float32))

    def prepare(self, image: Floats, affine_ras_mm: Affine) -> Ready:
        """The image `(C, X, Y, Z)` on the network's grid, cropped and normalised."""
        steps = self.steps
        turn = Orientation.of(affine_ras_mm, steps["orientation"])
        turned = np.asarray(turn.apply(image), dtype=np.float32)
        old_mm, new_mm = turn.spacing_mm(affine_ras_mm), steps["spacing_mm"] or turn.spacing_mm(affine_ras_mm)
        factors = [new / old for new, old in zip(new_mm, old_mm, strict=True)]
        grid = resample(turned, resampled_sizes(turned.shape[1:], old_mm, new_mm), factors)
        crop = foreground_box(grid) if steps["crop_foreground"] else (slice(None),) * 3
        ready = grid[(slice(None), *crop)]
        for step in steps["normalise"]:
            ready = normalise(ready, step)
        sizes = (grid.shape[1], grid.shape[2], grid.shape[3])
        return Ready(image=ready, turn=turn, sizes=sizes, crop=crop, native=turned.shape[1:], factors=factors)

    def label_map(self, image: Floats, affine_ras_mm: Affine) -> npt.NDArray[np.uint8]:
        """Label values `(X, Y, Z)` of an image `(C, X, Y, Z)`."""
        return self.paint(self.probabilities(image, affine_ras_mm))

    def paint(self, probabilities: Floats) -> npt.NDArray[np.uint8]:
        """Label values `(X, Y, Z)` of probabilities `(R, X, Y, Z)`."""
        steps, convention = self.steps, get_convention(self.steps["label_convention"])
        if steps["exclusive"]:
            masks = settle_regions(probabilities, convention, threshold=steps["threshold"])
        else:
            masks = probabilities >= steps["threshold"]
        drop = steps["drop_components"]
        if drop is not None:
            from medseg.labels.components import small_components

            masks &= ~small_components(masks[drop["outer"]], share=drop["share"])
        return regions_to_labels(masks, convention)

    def predict(self, scans: Sequence[str | Path], output: str | Path) -> Path:
        """Reads a case's files, one per channel or one 4-D file, and writes its label map.

        Raises:
            DataError: When the files do not fit each other or the pipeline.
        """
        image, like = self.read(scans)
        return write_label_map(output, self.label_map(image, like.affine_ras_mm), like=like)

    def read(
        self, scans: Sequence[str | Path], *, channels: Sequence[int] | None = None, case: str = ""
    ) -> tuple[Floats, Volume]:
        """A case's image `(C, X, Y, Z)` with the checks that keep a wrong scan out, and its first file.

        Args:
            scans: One file per channel, or one 4-D file.
            channels: Which to take of a 4-D file; all when None.
            case: Its name, for errors; the first file's when empty.

        Raises:
            DataError: When the files do not fit each other or the pipeline, or a voxel is not finite.
        """
        volumes = [read_volume(path) for path in scans]
        first, case = volumes[0], case or str(volumes[0].path)
        for other in volumes[1:]:
            check_same_grid(
                other.shape,
                other.affine_ras_mm,
                reference_shape=first.shape,
                reference_affine=first.affine_ras_mm,
                where=f"{case}: {other.path.name} against {first.path.name}",
            )
        arrays = [v.array if v.array.ndim == 4 else v.array[..., None] for v in volumes]
        image = np.moveaxis(np.concatenate(arrays, axis=-1), -1, 0).astype(np.float32)
        if channels is not None and max(channels) < len(image):
            image = image[list(channels)]
        wanted = self.steps["modalities"]
        if len(image) != len(wanted) or (channels is not None and max(channels) >= len(image)):
            msg = f"{case}: {len(image)} channel(s), wanted {len(wanted)}: {', '.join(wanted)}."
            raise DataError(msg)
        for name, channel in zip(wanted, image, strict=True):
            if not np.isfinite(channel).all():
                msg = f"{case}: {name} holds voxels that are NaN or infinite. Mend the scan or drop it."
                raise DataError(msg)
            if channel.min() == channel.max():
                msg = f"{case}: every voxel of {name} is {channel.flat[0]:g}. The scan is empty: drop the case."
                raise DataError(msg)
        return image, first


def load_pipeline(folder: str | Path, *, threads: int | None = None, runtime: str | None = None) -> Pipeline:
    """The pipeline of an exported folder, whose network has just given the logits that torch gave.

    Args:
        folder: What `medseg bundle export` wrote.
        threads: Cores to use; all when None.
        runtime: A name of `medseg.runtime.runtimes.RUNTIMES`; the one that changes least when None.

    Raises:
        ConfigError: When the folder holds no pipeline of this version, the runtime's library is missing, or the runtime
            cannot run what the folder holds.
        WeightsError: When the network's file is missing, or does not give torch's logits.
    """
    folder = Path(folder)
    steps = read_steps(folder)
    network = folder / str(steps["network"])
    name = runtime or default_runtime(network)
    if name == INT8:
        network = folder / _quantised(steps, folder)
    opened = open_network(network, threads=threads, runtime=name)
    far = require_parity(folder, opened, name=name, runtime=runtime_of(name))
    return Pipeline(steps=steps, network=opened, runtime=name, deviation=far)


def read_steps(folder: Path) -> dict[str, Any]:
    """The content of pipeline.json.

    Raises:
        ConfigError: When there is none, or one of another version.
    """
    try:
        steps = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{folder}: holds no readable {FILE} ({error}). Give a folder that medseg bundle export wrote."
        raise ConfigError(msg) from error
    if not isinstance(steps, dict) or steps.get("version") != VERSION:
        found = steps.get("version") if isinstance(steps, dict) else None
        msg = f"{folder / FILE}: version {found}, this runtime reads {VERSION}. Export the bundle again."
        raise ConfigError(msg)
    return steps


def _quantised(steps: Mapping[str, Any], folder: Path) -> str:
    if not steps.get("int8"):
        msg = f"{folder}: no network of 8 bits. Make it: medseg bundle export BUNDLE --format openvino --int8 SCANS"
        raise ConfigError(msg)
    return str(steps["int8"]["network"])
