"""Intensities scaled and normalised in as few passes as they need."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from medseg.kernels.jit import jit_ieee, jit_reassociate
from medseg.kernels.median import median
from medseg.kernels.slabs import run_slabs

Floats = npt.NDArray[np.float32]
_BLOCK = 1 << 13  # voxels measured together: they stay in the cache, and the result does not depend on the threads


class Moments(NamedTuple):
    """Mean and standard deviation of the voxels that count, and how many they are."""

    mean: float
    std: float
    voxels: int


class _Blocks(NamedTuple):
    """Of each block of `_BLOCK` voxels: how many count, their mean, and their squared distances from it."""

    voxels: npt.NDArray[np.int64]
    means: npt.NDArray[np.float64]
    squares: npt.NDArray[np.float64]


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
def _measure(values: npt.NDArray[Any], skip_zeros: bool, first: int, last: int, blocks: _Blocks) -> None:
    """Both passes over a block while it is in the cache."""
    for block in range(first, last):
        part = values[block * _BLOCK : min((block + 1) * _BLOCK, values.size)]
        total, count = _sum(part, skip_zeros)
        blocks.voxels[block] = count
        if count:
            blocks.means[block] = total / count
            blocks.squares[block] = _sum_squares(part, total / count, skip_zeros)


@jit_ieee
def _shift_and_scale(
    values: npt.NDArray[Any], centre: np.float32, std: np.float32, skip_zeros: bool, out: Floats
) -> None:
    if skip_zeros:
        for index in range(out.size):
            value = np.float32(values[index])
            out[index] = (value - centre) / std if value != 0 else value
    else:
        for index in range(out.size):
            out[index] = (np.float32(values[index]) - centre) / std


@jit_ieee
def _normalize_blocks(
    values: npt.NDArray[Any],
    numbers: tuple[np.float32, np.float32, bool],
    voxels: npt.NDArray[np.int64],
    first: int,
    last: int,
    out: Floats,
) -> None:
    """Blocks of nothing but zeros that are skipped stay what `out` is there."""
    for block in range(first, last):
        if voxels[block]:
            start, stop = block * _BLOCK, min((block + 1) * _BLOCK, values.size)
            _shift_and_scale(values[start:stop], numbers[0], numbers[1], numbers[2], out[start:stop])


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
    """Mean and standard deviation, in float64 about each block's mean; 0, 0 and 0 where no voxel counts.

    Args:
        volume: Any shape, C-contiguous, any real type.
        skip_zeros: Whether only voxels that are not 0 count.
        threads: Threads to share the work; the result does not depend on it.

    Example:
        >>> moments(np.array([[0.0, 1.0, 3.0]]), skip_zeros=True)
        Moments(mean=2.0, std=1.0, voxels=2)
    """
    return _total(_measured(volume.reshape(-1), skip_zeros=skip_zeros, threads=threads))


def _measured(values: npt.NDArray[Any], *, skip_zeros: bool, threads: int) -> _Blocks:
    count = -(-values.size // _BLOCK)
    blocks = _Blocks(np.zeros(count, np.int64), np.zeros(count), np.zeros(count))
    run_slabs(lambda first, last: _measure(values, skip_zeros, first, last, blocks), count, threads=threads)
    return blocks


def _total(blocks: _Blocks) -> Moments:
    """Of all blocks together, as Chan, Golub and LeVeque 1983 join samples (https://doi.org/10.2307/2683386)."""
    count = int(blocks.voxels.sum())
    if not count:
        return Moments(0.0, 0.0, 0)
    mean = float((blocks.voxels * blocks.means).sum()) / count
    squares = blocks.squares + blocks.voxels * (blocks.means - mean) ** 2
    return Moments(mean, math.sqrt(float(squares.sum()) / count), count)


def normalize(
    volume: npt.NDArray[Any],
    *,
    nonzero: bool = False,
    centre: Literal["mean", "median"] = "mean",
    threads: int = 1,
    out: Floats | None = None,
) -> Floats:
    """The volume less its mean or median, divided by its standard deviation; a constant one becomes 0.

    Args:
        volume: Any shape, C-contiguous, any real type.
        nonzero: Whether voxels that are 0 stay 0 and do not count.
        centre: What becomes 0; of an even number of voxels the median is the lower of the middle ones.
        threads: Threads to share the work; the result does not depend on it.
        out: Where to put the result, C-contiguous, instead of a new array. With `nonzero` it is to hold zeros.

    Example:
        >>> normalize(np.array([0, 1, 3]), nonzero=True).tolist()
        [0.0, -1.0, 1.0]
    """
    target = np.zeros(volume.shape, np.float32) if out is None else out
    values, flat = volume.reshape(-1), target.reshape(-1)
    blocks = _measured(values, skip_zeros=nonzero, threads=threads)
    found = _total(blocks)
    middle = found.mean if centre == "mean" else median(values, skip_zeros=nonzero)
    numbers = (np.float32(middle), np.float32(found.std if found.std > 0 else 1.0), nonzero)
    run_slabs(
        lambda a, b: _normalize_blocks(values, numbers, blocks.voxels, a, b, flat), len(blocks.voxels), threads=threads
    )
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
