"""The median of many voxels, without sorting them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.kernels.jit import jit_ieee

Bits = npt.NDArray[np.uint32]

_SIGN = np.uint32(1 << 31)
_HALF = np.uint32(16)
_LOW = np.uint32((1 << 16) - 1)
_BELOW, _ABOVE = 0x007F, 0xFF80  # upper halves of the ranks of the infinities; NaN lies beyond


@jit_ieee
def _rank(bits: np.uint32) -> np.uint32:
    """A number that grows with the float32 of these bits."""
    return ~bits if bits & _SIGN else bits | _SIGN


@jit_ieee
def _count_upper(values: Bits, skip_zeros: bool, counts: npt.NDArray[np.int64]) -> None:
    for bits in values:
        if not skip_zeros or bits & ~_SIGN:
            counts[_rank(bits) >> _HALF] += 1


@jit_ieee
def _count_lower(values: Bits, upper: np.uint32, counts: npt.NDArray[np.int64]) -> None:
    for bits in values:
        rank = _rank(bits)
        if rank >> _HALF == upper:
            counts[rank & _LOW] += 1


def median(volume: npt.NDArray[Any], *, skip_zeros: bool = False) -> float:
    """The median in float32, of an even number of voxels the lower of the middle ones; NaN where one is NaN.

    Args:
        volume: Any shape, C-contiguous, any real type; beyond float32's range or digits it is rounded first.
        skip_zeros: Whether only voxels that are not 0 count; where none does, the median is 0.

    Example:
        >>> median(np.array([7, 0, 1, 3, 2]), skip_zeros=True)
        2.0
    """
    values = volume.reshape(-1).astype(np.float32, copy=False)
    bits = values.view(np.uint32)
    counts = np.zeros(1 << 16, np.int64)
    _count_upper(bits, skip_zeros, counts)
    total = int(counts.sum())
    if not total or counts[:_BELOW].any() or counts[_ABOVE + 1 :].any():
        return float("nan") if total else 0.0
    wanted = (total - 1) // 2
    below = np.cumsum(counts)
    upper = int(np.searchsorted(below, wanted, side="right"))
    wanted -= int(below[upper] - counts[upper])
    counts[:] = 0
    _count_lower(bits, np.uint32(upper), counts)
    rank = upper << 16 | int(np.searchsorted(np.cumsum(counts), wanted, side="right"))
    found = rank ^ (1 << 31) if rank >> 31 else rank ^ ((1 << 32) - 1)
    return float(np.uint32(found).view(np.float32))
