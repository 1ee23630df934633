"""From the scan's grid to the network's and back, voxel for voxel as MONAI's Orientation, Spacing and Invert do it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.volumes import Affine, axis_codes, spacing_from_affine

Floats = npt.NDArray[np.float32]
_WORLD = "RAS"
_OPPOSITE = {"L": "R", "P": "A", "I": "S"}


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """How the axes of an array are permuted and flipped.

    Attributes:
        order: Array axis of each world axis.
        flips: Whether each world axis is turned.
    """

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @classmethod
    def of(cls, affine_ras_mm: Affine, codes: str = _WORLD) -> Orientation:
        """What brings the axes of an array with this affine into the order and direction of the codes."""
        stored = axis_codes(affine_ras_mm)
        plain = [_OPPOSITE.get(code, code) for code in stored]
        order = [plain.index(_OPPOSITE.get(code, code)) for code in codes]
        flips = [stored[axis] != code for axis, code in zip(order, codes, strict=True)]
        return cls(order=(order[0], order[1], order[2]), flips=(flips[0], flips[1], flips[2]))

    def apply(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The array `(C, X, Y, Z)` along the world's axes."""
        moved = array.transpose(0, *(axis + 1 for axis in self.order))
        return np.asarray(np.flip(moved, tuple(axis + 1 for axis in range(3) if self.flips[axis])))

    def undo(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The array along its own axes again."""
        turned = np.asarray(np.flip(array, tuple(axis + 1 for axis in range(3) if self.flips[axis])))
        return turned.transpose(0, *(int(axis) + 1 for axis in np.argsort(self.order)))

    def spacing_mm(self, affine_ras_mm: Affine) -> list[float]:
        """Voxel size along the world's axes."""
        spacing = spacing_from_affine(affine_ras_mm)
        return [spacing[axis] for axis in self.order]


def resampled_sizes(sizes: Sequence[int], old_mm: Sequence[float], new_mm: Sequence[float]) -> list[int]:
    """Voxels of the new grid, whose first voxel centre is the old one's, as MONAI's `compute_shape_offset` has them.

    >>> resampled_sizes([10, 10, 5], [1.0, 1.0, 3.0], [1.0, 2.0, 1.0])
    [10, 6, 13]
    """
    # np.round takes halves to the even number, as MONAI does.
    return [int(np.round((n - 1) * a / b + 1.0)) for n, a, b in zip(sizes, old_mm, new_mm, strict=True)]


def resample(array: Floats, sizes: Sequence[int], steps: Sequence[float]) -> Floats:
    """The array `(C, X, Y, Z)` read at voxels `0, step, 2 step, ...` of each axis: linear, the border kept beyond it.

    Args:
        array: The volume.
        sizes: Voxels of the result.
        steps: Distance of its voxels in voxels of the array.
    """
    for axis, (size, step) in enumerate(zip(sizes, steps, strict=True)):
        count = array.shape[axis + 1]
        if size == count and step == 1:
            continue
        at = np.clip(np.arange(size) * step, 0, count - 1)
        low = np.minimum(at.astype(np.int64), max(count - 2, 0))
        shape = [1, 1, 1, 1]
        shape[axis + 1] = size
        weight = (at - low).astype(np.float32).reshape(shape)
        below, above = array.take(low, axis + 1), array.take(np.minimum(low + 1, count - 1), axis + 1)
        array = below + weight * (above - below)
    return array


def foreground_box(array: Floats, *, margin: int = 0) -> tuple[slice, slice, slice]:
    """The box around the voxels above 0 of any channel; the whole array where there is none."""
    inside = np.asarray((array > 0).any(axis=0))
    if not inside.any():
        return (slice(0, array.shape[1]), slice(0, array.shape[2]), slice(0, array.shape[3]))
    sides = []
    for axis in range(3):
        kept = np.flatnonzero(np.moveaxis(inside, axis, 0).reshape(inside.shape[axis], -1).any(axis=1))
        sides.append(slice(max(int(kept[0]) - margin, 0), min(int(kept[-1]) + 1 + margin, inside.shape[axis])))
    return (sides[0], sides[1], sides[2])
