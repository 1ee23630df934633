"""Scores of overlapping windows: their weighted sums, the mean, and with the last window its best class."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.kernels.jit import jit_ieee

Floats = npt.NDArray[np.float32]
Place = tuple[int, int, int]
Labels = npt.NDArray[Any]
Classes = npt.NDArray[np.int32]
_MAGNITUDE, _INFINITY = np.int32(0x7FFFFFFF), np.int32(0x7F800000)  # of the bits of a float32


@jit_ieee
def _add(
    scores: Floats, weights: Floats, total: Floats, read: Place, write: Place, size: Place, first: int, last: int
) -> None:
    nx, ny, nz = np.uint64(size[0]), np.uint64(size[1]), np.uint64(size[2])
    rx, ry, rz = np.uint64(read[0]), np.uint64(read[1]), np.uint64(read[2])
    wx, wy, wz = np.uint64(write[0]), np.uint64(write[1]), np.uint64(write[2])
    for channel in range(first, last):
        for x in range(nx):
            for y in range(ny):
                row, share, out = (
                    scores[channel, rx + x, ry + y],
                    weights[rx + x, ry + y],
                    total[channel, wx + x, wy + y],
                )
                for z in range(nz):
                    out[wz + z] += row[rz + z] * share[rz + z]


@jit_ieee
def _set(
    scores: Floats, weights: Floats, total: Floats, read: Place, write: Place, size: Place, first: int, last: int
) -> None:
    nx, ny, nz = np.uint64(size[0]), np.uint64(size[1]), np.uint64(size[2])
    rx, ry, rz = np.uint64(read[0]), np.uint64(read[1]), np.uint64(read[2])
    wx, wy, wz = np.uint64(write[0]), np.uint64(write[1]), np.uint64(write[2])
    for channel in range(first, last):
        for x in range(nx):
            for y in range(ny):
                row, share, out = (
                    scores[channel, rx + x, ry + y],
                    weights[rx + x, ry + y],
                    total[channel, wx + x, wy + y],
                )
                out[:wz] = np.float32(0)
                for z in range(nz):
                    out[wz + z] = row[rz + z] * share[rz + z]
                out[wz + nz :] = np.float32(0)


@jit_ieee
def _mean(total: Floats, count: Floats, start: Place, first: int, last: int) -> bool:
    nx, ny, nz = np.uint64(count.shape[0]), np.uint64(count.shape[1]), np.uint64(count.shape[2])
    sx, sy, sz = np.uint64(start[0]), np.uint64(start[1]), np.uint64(start[2])
    largest = np.int32(0)
    for channel in range(first, last):
        for x in range(nx):
            for y in range(ny):
                row, share = total[channel, sx + x, sy + y], count[x, y]
                for z in range(nz):
                    row[sz + z] /= share[z]
                bits = row.view(np.int32)
                for z in range(nz):
                    largest = max(largest, bits[sz + z] & _MAGNITUDE)
    return bool(largest < _INFINITY)


@jit_ieee
def _best(
    scores: Floats,
    weights: Floats,
    total: Floats,
    count: Floats,
    read: Place,
    write: Place,
    size: Place,
    alone: bool,
    first: int,
    last: int,
    out: Labels,
) -> bool:
    px, py, pz = np.uint64(size[0]), np.uint64(size[1]), np.uint64(size[2])
    rx, ry, rz = np.uint64(read[0]), np.uint64(read[1]), np.uint64(read[2])
    wx, wy, wz = np.uint64(write[0]), np.uint64(write[1]), np.uint64(write[2])
    ny, nz = np.uint64(count.shape[1]), np.uint64(count.shape[2])
    best, which = np.empty((ny, nz), dtype=np.float32), np.empty((ny, nz), dtype=np.int32)
    added, wrong = np.zeros(nz, dtype=np.float32), False
    if alone:
        total = np.zeros((1, 1, 1, nz), dtype=np.float32)
    for x in range(np.uint64(first), np.uint64(last)):
        best[:], which[:] = -np.inf, 0
        for channel in range(np.uint64(scores.shape[0])):
            label = np.int32(channel)
            for y in range(ny):
                if wx <= x < wx + px and wy <= y < wy + py:
                    row, share = scores[channel, rx + x - wx, ry + y - wy], weights[rx + x - wx, ry + y - wy]
                    for z in range(pz):
                        added[wz + z] = row[rz + z] * share[rz + z]
                else:
                    added[:] = 0
                sums = total[np.uint64(0), np.uint64(0), np.uint64(0)] if alone else total[channel, x, y]
                whole, high, chosen = count[x, y], best[y], which[y]
                for z in range(nz):
                    mean = (sums[z] + added[z]) / whole[z]
                    more = mean > high[z]
                    chosen[z] = label if more else chosen[z]
                    high[z] = mean if more else high[z]
                    wrong |= mean - mean != np.float32(0)
        for y in range(ny):
            for z in range(nz):
                out[x, y, z] = which[y, z]
    return not wrong


def add_window(
    scores: Floats,
    weights: Floats,
    total: Floats,
    *,
    read: Place,
    write: Place,
    size: Place,
    fresh: bool = False,
    channels: tuple[int, int] | None = None,
) -> None:
    """Add a part of a window's scores, times the window's weights, to a part of the sums.

    Products and sums are rounded to float32 one after the other, as `total += scores * weights` does.

    Args:
        scores: Shape `(C, x, y, z)`, C-contiguous, float32.
        weights: Shape `(x, y, z)`, likewise.
        total: The sums, `(C or more, X, Y, Z)`, likewise; written.
        read: First voxel of the part in the window.
        write: First voxel of the part in the sums.
        size: Voxels of the part.
        fresh: Whether these rows (along z) of the sums hold nothing yet: they become 0 beside the part.
        channels: The first channel to add and the one after the last, so that threads can share the work; all of them.

    Example:
        >>> total = np.ones((1, 1, 1, 3), np.float32)
        >>> add_window(total * 4, total[0] / 2, total, read=(0, 0, 0), write=(0, 0, 1), size=(1, 1, 2))
        >>> total.ravel().tolist()
        [1.0, 3.0, 3.0]
    """
    first, last = channels or (0, len(scores))
    (_set if fresh else _add)(scores, weights, total, read, write, size, first, last)


def divide(total: Floats, count: Floats, *, start: Place = (0, 0, 0), channels: tuple[int, int] | None = None) -> bool:
    """Divide a part of the sums `(C, X, Y, Z)` by the weights `(x, y, z)` of that part; whether all of it is finite.

    >>> total = np.full((1, 1, 1, 2), 6, np.float32)
    >>> divide(total, np.array([[[2, 0]]], np.float32)), total.ravel().tolist()
    (False, [3.0, inf])
    """
    first, last = channels or (0, len(total))
    return bool(_mean(total, count, start, first, last))


def best_class(
    scores: Floats,
    weights: Floats,
    total: Floats | None,
    count: Floats,
    out: Labels,
    *,
    read: Place,
    write: Place = (0, 0, 0),
    size: Place,
    planes: tuple[int, int] | None = None,
) -> bool:
    """Add the last window to its part of the sums, and find the channel with the highest mean; of equals, the first.

    Rounded as `add_window` and `divide`, in one pass over memory.

    Args:
        scores: The window's, shape `(C, x, y, z)`, C-contiguous, float32.
        weights: Shape `(x, y, z)`, likewise.
        total: The sums, `(C, X, Y, Z)`, likewise. None where this window alone covers all of them.
        count: The sum of the weights of all windows, `(X, Y, Z)`, likewise.
        out: Labels `(X, Y, Z)`, any integer type that holds C - 1, any memory order; written.
        read: First voxel of the part in the window.
        write: First voxel of the part in the sums.
        size: Voxels of the part.
        planes: The first plane of the sums and the one after the last, so that threads can share the work; all.

    Returns:
        Whether all means are finite.

    Example:
        >>> scores, ones = np.array([[[[1, 2]]], [[[3, 1]]]], np.float32), np.ones((1, 1, 2), np.float32)
        >>> labels = np.zeros((1, 1, 2), np.uint8)
        >>> best_class(scores, ones, None, ones, labels, read=(0, 0, 0), size=(1, 1, 2)), labels.ravel().tolist()
        (True, [1, 0])
    """
    first, last = planes or (0, len(out))
    sums = scores if total is None else total
    return bool(_best(scores, weights, sums, count, read, write, size, total is None, first, last, out))
