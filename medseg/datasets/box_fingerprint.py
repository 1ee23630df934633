"""What data with boxes, or with a mask for each finding, is like: its grid and the sizes of what is to be found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medseg.datasets.boxed import detection_items
from medseg.datasets.cases import Item
from medseg.datasets.fingerprint import MOST_CASES, Triple
from medseg.datasets.layouts import take_inventory
from medseg.errors import ConfigError, DataError
from medseg.volumes import axis_codes, read_geometry, read_volume, spacing_from_affine

_WORLD_AXES = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
Sizes = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BoxFingerprint:
    """Axes are those of the world: left-right, back-front, down-up.

    Attributes:
        annotations: `boxes`, or `masks` whose values are instances.
        n_cases: Annotated cases.
        shape_vox: Median number of voxels.
        spacing_mm: Median voxel size.
        sizes_mm: Sides of the boxes, `(N, 3)`.
    """

    annotations: str
    n_cases: int
    shape_vox: Triple
    spacing_mm: Triple
    sizes_mm: Sizes


def take_box_fingerprint(folder: Path, *, modalities: Sequence[str] = ("ct",)) -> BoxFingerprint:
    """Reads headers and annotations of some cases, evenly spread.

    Raises:
        DataError: When the folder has neither boxes nor label maps, or nothing is annotated in the cases read.
    """
    annotations, items = _items(folder, modalities)
    chosen = items[:: max(1, -(-len(items) // MOST_CASES))]
    grids = [_grid(item) for item in chosen]
    shapes, spacings = (np.asarray([grid[i] for grid in grids]) for i in range(2))
    # Boxes cost nothing to read: all of them count.
    per_case = [_sizes(item) for item in (items if annotations == "boxes" else chosen)]
    sizes = np.concatenate([*per_case, np.zeros((0, 3))])
    if not len(sizes):
        msg = f"{folder}: nothing is annotated in {len(chosen)} cases, so there is nothing to fit anchors to."
        raise DataError(msg)
    return BoxFingerprint(
        annotations=annotations,
        n_cases=len(items),
        shape_vox=_median(shapes),
        spacing_mm=_median(spacings),
        sizes_mm=sizes,
    )


def _items(folder: Path, modalities: Sequence[str]) -> tuple[str, list[Item]]:
    try:
        return "boxes", detection_items(dataset_dir=folder, section="all", modalities=modalities)
    except (ConfigError, DataError) as boxes:
        cases = take_inventory(folder).cases
        labelled = [{"image": str(case.scans[0]), "label": str(case.label)} for case in cases if case.label]
        if not labelled:
            msg = f"{folder}: neither boxes ({boxes}) nor a label map for any of {len(cases)} cases."
            raise DataError(msg) from boxes
        return "masks", labelled


def _grid(item: Item) -> tuple[list[float], list[float]]:
    image = item["image"]
    shape, affine = read_geometry(image if isinstance(image, str) else image[0])
    order = [_WORLD_AXES[code] for code in axis_codes(affine)]
    spacing = spacing_from_affine(affine)
    return [float(shape[order.index(axis)]) for axis in range(3)], [spacing[order.index(axis)] for axis in range(3)]


def _sizes(item: Item) -> Sizes:
    if "box_ras_mm" in item:
        boxes = np.asarray(item["box_ras_mm"], dtype=np.float64).reshape(-1, 6)
        return np.asarray(boxes[:, 3:] - boxes[:, :3])
    volume = read_volume(item["label"])
    order = [_WORLD_AXES[code] for code in axis_codes(volume.affine_ras_mm)]
    spacing = spacing_from_affine(volume.affine_ras_mm)
    sizes = []
    for value in np.unique(volume.array[volume.array > 0]).tolist():
        places = np.nonzero(volume.array == value)
        sides = [(int(at.max() - at.min()) + 1) * width for at, width in zip(places, spacing, strict=True)]
        sizes.append([sides[order.index(axis)] for axis in range(3)])
    return np.asarray(sizes, dtype=np.float64).reshape(-1, 3)


def _median(values: npt.NDArray[np.float64]) -> Triple:
    x, y, z = np.median(values, axis=0).tolist()
    return (x, y, z)
