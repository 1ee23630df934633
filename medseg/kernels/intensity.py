"""Intensities scaled and normalised in as few passes as they need."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from medseg.kernels.jit import jit_ieee, jit_reassociate
from medseg.kernels.resample import run_slabs

Floats = npt.NDArray[np.float32]
_BLOCK = 1 << 16  # voxels whose sums are taken together: the result does not depend on the threads


class Moments(NamedTuple):
    """Mean and standard deviation of the voxels that count, and how many they are."""

    mean: float
    std: float
    voxels: int


@jit_reassociate
def _sum(values: npt.NDArray[Any], skip_zeros: bool) -> tuple[float, int]:
    total, zeros = 0.0, 0
    for index in range(values.size):
        total += np.float64(values[index])
        zeros += values[index] == 0
    return total, values.size - (zeros if skip_zeros else 0)


@jit_reassociate
def _sum_squares(values: npt.NDArray[Any], mean: float, skip_zeros: bool) -> float:
    total = 0.0
    for index in range(values.size):
        apart = np.float64(values[index]) - mean
        total += 0.0 if skip_zeros and values[index] == 0 else apart * apart
    return total


@jit_ieee
def _shift_and_scale(
    values: npt.NDArray[Any], mean: np.float32, std: np.float32, skip_zeros: bool, out: Floats
) -> None:
    if skip_zeros:
        for index in range(out.size):
            value = np.float32(values[index])
            out[index] = (value - mean) / std if value != 0 else value
    else:
        for index in range(out.size):
            out[index] = (np.float32(values[index]) - mean) / std


@jit_ieee
def _to_range(
    values: npt.NDArray[Any],
    low: np.float32,
    span: np.float32,
    gain: np.float32,
    base: np.float32,
    ends: tuple[np.float32, np.float32],
    out: Floats,
) -> None:
    for index in range(out.size):
        value = (np.float32(values[index]) - low) / span * gain + base
        value = ends[0] if value < ends[0] else value  # two comparisons: NaN stays NaN
        out[index] = ends[1] if value > ends[1] else value


def moments(volume: npt.NDArray[Any], *, skip_zeros: bool = False, threads: int = 1) -> Moments:
    """Mean and standard deviation, in float64 and two passes; 0, 0 and 0 where no voxel counts.

    Args:
        volume: Any shape, C-contiguous, any real type.
        skip_zeros: Whether only voxels that are not 0 count.
        threads: Threads to share the work; the result does not depend on it.

    Example:
        >>> moments(np.array([[0.0, 1.0, 3.0]]), skip_zeros=True)
        Moments(mean=2.0, std=1.0, voxels=2)
    """
    values = volume.reshape(-1)
    blocks = -(-values.size // _BLOCK)
    sums, counts, squares = np.zeros(blocks), np.zeros(blocks, np.int64), np.zeros(blocks)

    def add(first: int, last: int) -> None:
        for block in range(first, last):
            part = values[block * _BLOCK : (block + 1) * _BLOCK]
            sums[block], counts[block] = _sum(part, skip_zeros)

    def add_squares(first: int, last: int) -> None:
        for block in range(first, last):
            squares[block] = _sum_squares(values[block * _BLOCK : (block + 1) * _BLOCK], mean, skip_zeros)

    run_slabs(add, blocks, threads=threads)
    count = int(counts.sum())
    if not count:
        return Moments(0.0, 0.0, 0)
    mean = math.fsum(sums) / count
    run_slabs(add_squares, blocks, threads=threads)
    return Moments(mean, math.sqrt(math.fsum(squares) / count), count)


def normalize(
    volume: npt.NDArray[Any], *, nonzero: bool = False, threads: int = 1, out: Floats | None = None
) -> Floats:
    """The volume less its mean, divided by its standard deviation; a constant one becomes 0.

    Args:
        volume: Any shape, C-contiguous, any real type.
        nonzero: Whether voxels that are 0 stay 0 and do not count.
        threads: Threads to share the work; the result does not depend on it.
        out: Where to put the result, C-contiguous, instead of a new array.

    Example:
        >>> normalize(np.array([0, 1, 3]), nonzero=True).tolist()
        [0.0, -1.0, 1.0]
    """
    target = np.empty(volume.shape, np.float32) if out is None else out
    found, values, flat = moments(volume, skip_zeros=nonzero, threads=threads), volume.reshape(-1), target.reshape(-1)
    mean, std = np.float32(found.mean), np.float32(found.std if found.std > 0 else 1.0)
    run_slabs(lambda a, b: _shift_and_scale(values[a:b], mean, std, nonzero, flat[a:b]), flat.size, threads=threads)
    return target


def scale_range(
    volume: npt.NDArray[Any],
    *,
    source: tuple[float, float],
    target: tuple[float, float] = (0.0, 1.0),
    clip: bool = False,
    threads: int = 1,
) -> Floats:
    """The volume with the source range moved onto the target range, rounded to float32 after every step.

    Args:
        volume: Any shape, C-contiguous, any real type.
        source: Intensities that become the target's ends.
        target: What they become.
        clip: Whether intensities beyond become those ends.
        threads: Threads to share the work.

    Example:
        >>> scale_range(np.array([-1024, 0, 4000], np.int16), source=(-1000, 1000), clip=True).tolist()
        [0.0, 0.5, 1.0]
    """
    out = np.empty(volume.shape, np.float32)
    values, flat, f = volume.reshape(-1), out.reshape(-1), np.float32
    infinity = f(np.inf)
    ends = (f(target[0]), f(target[1])) if clip else (-infinity, infinity)
    numbers = (f(source[0]), f(source[1] - source[0]), f(target[1] - target[0]), f(target[0]), ends)
    run_slabs(lambda a, b: _to_range(values[a:b], *numbers, flat[a:b]), flat.size, threads=threads)
    return out
