"""Volumes made small enough for a web page: coarser where they are finest, images averaged and labels picked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

# Of one case. Three images of pure noise, which nothing compresses, take 3 x 3.2 MB x 4/3 = 12.8 MB in base64; a report
# stays under 15 MB. A brain at 1 mm has about as many.
MOST_VOXELS = 3_200_000

Value = TypeVar("Value", bound=np.generic)


def shrunk_shape(shape: Sequence[int], spacing_mm: Sequence[float], *, most: int = MOST_VOXELS) -> tuple[int, int, int]:
    """The shape with at most so many voxels whose voxels are as cubic as can be: the finest axes give way first.

    >>> shrunk_shape((100, 100, 20), (1.0, 1.0, 5.0), most=50_000)
    (50, 50, 20)
    """
    low, high = min(spacing_mm), max(n * size for n, size in zip(shape, spacing_mm, strict=True))
    if math.prod(shape) <= most:
        return (shape[0], shape[1], shape[2])
    for _ in range(60):  # halving: the finest voxel that fits
        middle = (low + high) / 2
        low, high = (low, middle) if math.prod(_at(middle, shape, spacing_mm)) <= most else (middle, high)
    return _at(high, shape, spacing_mm)


def mean_shrunk(image: npt.NDArray[Any], shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """The mean over the part of the old voxels that each new one covers, so that nothing between two is skipped."""
    small = np.nan_to_num(image.astype(np.float32), copy=False)
    for axis, size in enumerate(shape):
        if size != small.shape[axis]:
            small = _mean_along(small, axis, size)
    return small


def picked(array: npt.NDArray[Value], shape: Sequence[int]) -> npt.NDArray[Value]:
    """The voxel nearest to the centre of each new one: what labels need."""
    if array.shape == tuple(shape):
        return array
    places = [
        ((np.arange(size) + 0.5) * old / size).astype(np.intp) for size, old in zip(shape, array.shape, strict=True)
    ]
    return array[np.ix_(*places)]


def _at(voxel_mm: float, shape: Sequence[int], spacing_mm: Sequence[float]) -> tuple[int, int, int]:
    x, y, z = (
        max(1, math.floor(n * min(size / voxel_mm, 1.0) + 1e-9)) for n, size in zip(shape, spacing_mm, strict=True)
    )
    return (x, y, z)


def _mean_along(array: npt.NDArray[np.float32], axis: int, size: int) -> npt.NDArray[np.float32]:
    """Differences of the running sum, looked up linearly at the borders of the new voxels."""
    old = array.shape[axis]
    moved = np.moveaxis(array, axis, 0)
    running = np.concatenate([np.zeros_like(moved[:1], dtype=np.float64), np.cumsum(moved, axis=0, dtype=np.float64)])
    borders = np.linspace(0.0, old, size + 1)
    lower = np.minimum(borders.astype(np.intp), old - 1)
    share = (borders - lower).reshape(-1, *[1] * (moved.ndim - 1))
    sums = running[lower] + (running[lower + 1] - running[lower]) * share
    mean: npt.NDArray[np.float32] = np.moveaxis(np.diff(sums, axis=0) * (size / old), 0, axis).astype(np.float32)
    return mean
