"""Slices of a volume as a radiologist sees them, and masks as SVG paths along the voxel borders."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.volumes import axis_codes
from medseg.volumes.png import grey_png
from medseg.volumes.png import to_grey as to_grey

Mask = npt.NDArray[np.bool_]

SOFT_TISSUE_HU = (-160.0, 240.0)  # level 40, width 400: the usual window of the abdomen
_AIR_HU = -900.0  # no MR image has values as low as these


@dataclass(frozen=True, kw_only=True)
class Plane:
    """One of the three planes through a RAS array `(X, Y, Z)`.

    Attributes:
        name: What the plane is called.
        axis: The array axis that is cut.
        letters: Where the picture's left, right, top and bottom lie in the patient.
    """

    name: str
    axis: int
    letters: tuple[str, str, str, str]


# Radiological convention: the patient's right is on the left of the picture.
PLANES = (
    Plane(name="axial", axis=2, letters=("R", "L", "A", "P")),
    Plane(name="coronal", axis=1, letters=("R", "L", "S", "I")),
    Plane(name="sagittal", axis=0, letters=("A", "P", "S", "I")),
)


def to_ras(array: npt.NDArray[Any], affine_ras_mm: npt.ArrayLike) -> npt.NDArray[Any]:
    """The first three axes turned and flipped, without resampling, so that they grow to right, anterior, superior."""
    codes = axis_codes(affine_ras_mm)
    order = [next(axis for axis in range(3) if codes[axis] in pair) for pair in ("RL", "AP", "SI")]
    flips = tuple(slice(None, None, -1 if codes[axis] in "LPI" else 1) for axis in order)
    return np.transpose(array, (*order, *range(3, array.ndim)))[flips]


def ras_spacing_mm(affine_ras_mm: npt.ArrayLike, spacing_mm: Sequence[float]) -> tuple[float, float, float]:
    """The spacing in the order of `to_ras`'s axes."""
    codes = axis_codes(affine_ras_mm)
    x, y, z = (next(spacing_mm[axis] for axis in range(3) if codes[axis] in pair) for pair in ("RL", "AP", "SI"))
    return (x, y, z)


def cut(array: npt.NDArray[Any], plane: Plane, index: int) -> npt.NDArray[Any]:
    """The slice as a picture, rows from top to bottom and columns from left to right."""
    picture: npt.NDArray[Any] = np.take(array, index, axis=plane.axis).T[::-1, ::-1]
    return picture


def fullest_slice(mask: Mask, plane: Plane) -> int:
    """The slice with the most voxels of the mask; the middle one when the mask is empty."""
    others = tuple(axis for axis in range(3) if axis != plane.axis)
    counts = mask.sum(axis=others)
    return int(counts.argmax()) if counts.any() else mask.shape[plane.axis] // 2


def bounding_box(mask: Mask, *, margin: Sequence[int]) -> tuple[slice, slice, slice]:
    """The box around a mask, widened by a margin in voxels per axis and kept inside the array; all of it when empty."""
    sides = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        low, high = (int(hit[0]), int(hit[-1]) + 1) if hit.size else (0, mask.shape[axis])
        sides.append(slice(max(low - margin[axis], 0), min(high + margin[axis], mask.shape[axis])))
    return (sides[0], sides[1], sides[2])


def grey_window(image: npt.NDArray[Any]) -> tuple[float, float]:
    """The 1st and 99.5th percentile of the non-zero finite voxels; 0 and 1 when there are none."""
    values = image[np.isfinite(image) & (image != 0)]
    if not values.size:
        return (0.0, 1.0)
    low, high = np.percentile(values, (1.0, 99.5)).tolist()
    return (low, high)


def start_window(image: npt.NDArray[Any]) -> tuple[float, float]:
    """The values that are black and white at first: soft tissue in CT, else what `grey_window` finds."""
    low, high = grey_window(image)
    if low < _AIR_HU / 2 and float(np.nanmin(image)) <= _AIR_HU:
        return SOFT_TISSUE_HU
    return (low, high) if high > low else (low, low + 1.0)


def png_data_uri(grey: npt.NDArray[np.uint8]) -> str:
    """An 8-bit grey PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(grey_png(grey)).decode("ascii")


def filled_path(mask: Mask) -> str:
    """An SVG path that covers the mask's pixels, one rectangle per run in a row, in pixel units.

    >>> filled_path(np.array([[False, True, True]]))
    'M1 0h2v1h-2z'
    """
    return "".join(f"M{start} {row}h{stop - start}v1h-{stop - start}z" for row, start, stop in _runs(mask))


def outline_path(mask: Mask) -> str:
    """An SVG path along the borders between the mask's pixels and the rest, in pixel units.

    >>> outline_path(np.array([[True]]))
    'M0 0h1M0 1h1M0 0v1M1 0v1'
    """
    padded = np.pad(mask, 1)
    across = padded[1:, 1:-1] != padded[:-1, 1:-1]
    down = (padded[1:-1, 1:] != padded[1:-1, :-1]).T
    return "".join(f"M{start} {row}h{stop - start}" for row, start, stop in _runs(across)) + "".join(
        f"M{column} {start}v{stop - start}" for column, start, stop in _runs(down)
    )


def _runs(mask: Mask) -> list[tuple[int, int, int]]:
    """`(row, start, stop)` of every run of true values in a row."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    stops = np.nonzero(edges == -1)[1]
    return list(zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True))
