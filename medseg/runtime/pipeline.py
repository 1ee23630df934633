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
from medseg.runtime.sessions import Network, open_network
from medseg.runtime.windows import mirrored, slide
from medseg.volumes import Affine, check_same_grid, read_volume, write_label_map

FILE = "pipeline.json"
VERSION = 1
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """From an image in its own grid to a label map in the same grid.

    Attributes:
        steps: The content of pipeline.json.
        network: Logits of a window.
    """

    steps: Mapping[str, Any]
    network: Network

    def probabilities(self, image: Floats, affine_ras_mm: Affine) -> Floats:
        """Probabilities `(R, X, Y, Z)` of an image `(C, X, Y, Z)`, in its own grid."""
        steps = self.steps
        turn = Orientation.of(affine_ras_mm, steps["orientation"])
        turned = np.asarray(turn.apply(image), dtype=np.float32)
        old_mm, new_mm = turn.spacing_mm(affine_ras_mm), steps["spacing_mm"] or turn.spacing_mm(affine_ras_mm)
        sizes = resampled_sizes(turned.shape[1:], old_mm, new_mm)
        grid = resample(turned, sizes, [new / old for new, old in zip(new_mm, old_mm, strict=True)])
        crop = foreground_box(grid) if steps["crop_foreground"] else (slice(None),) * 3
        ready = grid[(slice(None), *crop)]
        for step in steps["normalise"]:
            ready = normalise(ready, step)
        windows = steps["windows"]
        predict = mirrored(self.network, windows["mirrors"])
        logits = slide(ready, predict, window=windows["size"], overlap=windows["overlap"])
        inside = 1 / (1 + np.exp(-logits))
        # Outside of the crop there is nothing, as MONAI's Invert pads.
        whole = np.zeros((len(inside), *grid.shape[1:]), dtype=np.float32)
        whole[(slice(None), *crop)] = inside
        back = resample(whole, turned.shape[1:], [old / new for new, old in zip(new_mm, old_mm, strict=True)])
        return np.ascontiguousarray(turn.undo(back))

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
        volumes = [read_volume(path) for path in scans]
        first = volumes[0]
        for other in volumes[1:]:
            check_same_grid(
                other.shape,
                other.affine_ras_mm,
                reference_shape=first.shape,
                reference_affine=first.affine_ras_mm,
                where=f"{other.path.name} against {first.path.name}",
            )
        arrays = [v.array if v.array.ndim == 4 else v.array[..., None] for v in volumes]
        image = np.moveaxis(np.concatenate(arrays, axis=-1), -1, 0).astype(np.float32)
        wanted = self.steps["modalities"]
        if len(image) != len(wanted):
            msg = f"{first.path}: {len(image)} channel(s), wanted {len(wanted)}: {', '.join(wanted)}."
            raise DataError(msg)
        if not np.isfinite(image).all():
            msg = f"{first.path}: holds voxels that are NaN or infinite. Mend the scan."
            raise DataError(msg)
        return write_label_map(output, self.label_map(image, first.affine_ras_mm), like=first)


def load_pipeline(folder: str | Path, *, threads: int | None = None) -> Pipeline:
    """The pipeline of an exported folder.

    Args:
        folder: What `medseg bundle export` wrote.
        threads: Cores to use; all when None.

    Raises:
        ConfigError: When the folder holds no pipeline of this version, or the runtime's library is missing.
        WeightsError: When the network's file is missing.
    """
    folder = Path(folder)
    try:
        steps = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{folder}: holds no readable {FILE} ({error}). Give a folder that medseg bundle export wrote."
        raise ConfigError(msg) from error
    if steps.get("version") != VERSION:
        msg = f"{folder / FILE}: version {steps.get('version')}, this runtime reads {VERSION}. Export the bundle again."
        raise ConfigError(msg)
    return Pipeline(steps=steps, network=open_network(folder / steps["network"], threads=threads))
