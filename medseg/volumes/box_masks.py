"""Between boxes and label maps: the boxes around what a mask marks, and boxes painted for a viewer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medseg.errors import ConfigError, DataError
from medseg.volumes.boxes import Boxes, as_boxes

SHAPES = ("ellipsoid", "box")


def mask_boxes(
    mask: npt.NDArray[Any], *, components: bool = False, min_voxels: int = 1
) -> tuple[Boxes, npt.NDArray[np.int64]]:
    """The box around each object of a label map.

    Args:
        mask: Whole numbers `(X, Y, Z)`, 0 outside.
        components: Whether the connected components (26 neighbours) of a value are its objects; otherwise every value
            is one object.
        min_voxels: Objects of fewer voxels are left out.

    Returns:
        Boxes `(N, 6)` in edge coordinates, and the value of each `(N,)`; by value, then by place.

    Raises:
        DataError: When the mask holds anything but whole numbers from 0.

    >>> mask_boxes(np.array([[[0, 7, 7]]]))[0].tolist()
    [[0.0, 0.0, 1.0, 1.0, 1.0, 3.0]]
    """
    whole = mask.astype(np.int64)
    if mask.ndim != 3 or not np.array_equal(whole, mask) or (whole.size and whole.min() < 0):
        msg = f"mask of shape {mask.shape}: wanted one whole number from 0 per voxel (X, Y, Z). Is it an image?"
        raise DataError(msg)
    boxes: list[list[float]] = []
    values: list[int] = []
    places: list[tuple[slice, ...] | None] = list(ndimage.find_objects(whole))
    for value, place in enumerate(places, start=1):
        if place is None:
            continue
        inside = whole[place] == value
        parts, count = ndimage.label(inside, np.ones((3, 3, 3))) if components else (inside.astype(np.int64), 1)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
        for part, size in zip(ndimage.find_objects(parts, max_label=count), sizes.tolist(), strict=True):
            if size >= min_voxels:
                boxes.append(_box(part, place))
                values.append(value)
    return as_boxes(boxes), np.array(values, dtype=np.int64)


def _box(part: Sequence[slice], place: Sequence[slice]) -> list[float]:
    pairs = list(zip(part, place, strict=True))
    return [float(a.start + b.start) for a, b in pairs] + [float(a.stop + b.start) for a, b in pairs]


def paint_boxes(
    shape: Sequence[int], box_vox: npt.ArrayLike, values: Sequence[int], *, fill: str = "ellipsoid"
) -> npt.NDArray[np.uint8]:
    """A label map with a value for each box; where boxes overlap, the first of them stays on top.

    A voxel belongs to what its centre lies in, and every box within the array gets the voxel in its middle at least.

    Args:
        shape: Size of the map `(X, Y, Z)`.
        box_vox: Boxes `(N, 6)` in edge coordinates.
        values: What to paint, 1 to 255, `(N,)`.
        fill: `ellipsoid`, as nodules are, or `box`.

    >>> paint_boxes((1, 1, 4), [0, 0, 1, 1, 1, 3], [5], fill="box").tolist()
    [[[0, 5, 5, 0]]]
    """
    if fill not in SHAPES:
        msg = f"paint_boxes: fill is {fill!r}. Wanted {' or '.join(SHAPES)}."
        raise ConfigError(msg)
    labels = np.zeros(tuple(shape[:3]), dtype=np.uint8)
    for box, value in reversed(list(zip(as_boxes(box_vox), values, strict=True))):
        place, inside = _voxels(box, labels.shape, fill)
        labels[place][inside] = value
    return labels


def _voxels(
    box: npt.NDArray[np.float64], shape: Sequence[int], fill: str
) -> tuple[tuple[slice, ...], npt.NDArray[np.bool_]]:
    centre, half = (box[:3] + box[3:]) / 2.0, np.maximum((box[3:] - box[:3]) / 2.0, 1e-9)
    first = np.clip(np.minimum(np.ceil(box[:3] - 0.5), np.floor(centre)), 0, shape).astype(int)
    last = np.clip(np.maximum(np.ceil(box[3:] - 0.5), np.floor(centre) + 1), 0, shape).astype(int)
    offsets = [np.arange(a, b) + 0.5 - c for a, b, c in zip(first, last, centre, strict=True)]
    x, y, z = (np.abs(offset) / side for offset, side in zip(offsets, half, strict=True))
    grid = (x[:, None, None], y[None, :, None], z[None, None, :])
    inside = (grid[0] <= 1) & (grid[1] <= 1) & (grid[2] <= 1)
    if fill == "ellipsoid":
        inside &= grid[0] ** 2 + grid[1] ** 2 + grid[2] ** 2 <= 1
    middle = np.floor(centre).astype(int) - first
    if (middle >= 0).all() and (middle < inside.shape).all():
        inside[tuple(middle)] = True
    return tuple(slice(a, b) for a, b in zip(first, last, strict=True)), inside
