"""Scores of overlapping windows, added up with their weights and divided by the sum of the weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medseg.kernels.jit import jit_ieee

Floats = npt.NDArray[np.float32]
Place = tuple[int, int, int]


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
                for z in range(nz):
                    out[wz + z] = row[rz + z] * share[rz + z]


@jit_ieee
def _divide(total: Floats, weights: Floats, start: Place, size: Place, first: int, last: int) -> bool:
    nx, ny, nz = np.uint64(size[0]), np.uint64(size[1]), np.uint64(size[2])
    sx, sy, sz = np.uint64(start[0]), np.uint64(start[1]), np.uint64(start[2])
    largest = np.float32(np.finfo(np.float32).max)
    strange = 0
    for channel in range(first, last):
        for x in range(nx):
            for y in range(ny):
                row, share = total[channel, sx + x, sy + y], weights[sx + x, sy + y]
                for z in range(nz):
                    value = row[sz + z] / share[sz + z]
                    row[sz + z] = value
                    strange |= not abs(value) <= largest
    return strange == 0


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
        fresh: Whether these voxels of the sums hold nothing yet, and are replaced.
        channels: The first channel to add and the one after the last, so that threads can share the work; all of them.

    Example:
        >>> total = np.ones((1, 1, 1, 3), np.float32)
        >>> add_window(total * 4, total[0] / 2, total, read=(0, 0, 0), write=(0, 0, 1), size=(1, 1, 2))
        >>> total.ravel().tolist()
        [1.0, 3.0, 3.0]
    """
    first, last = channels or (0, len(scores))
    (_set if fresh else _add)(scores, weights, total, read, write, size, first, last)


def divide(
    total: Floats, weights: Floats, *, start: Place, size: Place, channels: tuple[int, int] | None = None
) -> bool:
    """Divide a part of the sums `(C, X, Y, Z)` by the weights `(X, Y, Z)` in place; whether all of it is finite.

    >>> total = np.full((1, 1, 1, 2), 6, np.float32)
    >>> divide(total, np.array([[[2, 0]]], np.float32), start=(0, 0, 0), size=(1, 1, 2)), total.ravel().tolist()
    (False, [3.0, inf])
    """
    first, last = channels or (0, len(total))
    return bool(_divide(total, weights, start, size, first, last))
