"""Scores of overlapping windows: weighted sums, and in one pass with the last window their mean or its best class."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.kernels.jit import jit_ieee

Floats = npt.NDArray[np.float32]
Place = tuple[int, int, int]
_LARGEST = np.float32(np.finfo(np.float32).max)


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
def _mean(
    scores: Floats,
    weights: Floats,
    total: Floats,
    count: Floats,
    read: Place,
    write: Place,
    fresh: bool,
    first: int,
    last: int,
) -> bool:
    nx, ny, nz = np.uint64(count.shape[0]), np.uint64(count.shape[1]), np.uint64(count.shape[2])
    rx, ry, rz = np.uint64(read[0]), np.uint64(read[1]), np.uint64(read[2])
    wx, wy, wz = np.uint64(write[0]), np.uint64(write[1]), np.uint64(write[2])
    strange = 0
    for channel in range(first, last):
        for x in range(nx):
            for y in range(ny):
                row, share, out, whole = (
                    scores[channel, rx + x, ry + y],
                    weights[rx + x, ry + y],
                    total[channel, wx + x, wy + y],
                    count[x, y],
                )
                for z in range(nz):
                    value = row[rz + z] * share[rz + z]
                    value = (value if fresh else out[wz + z] + value) / whole[z]
                    out[wz + z] = value
                    strange |= not abs(value) <= _LARGEST
    return strange == 0


@jit_ieee
def _best(
    scores: Floats,
    weights: Floats,
    total: Floats,
    count: Floats,
    read: Place,
    skip: Place,
    fresh: bool,
    out: npt.NDArray[Any],
    first: int,
    last: int,
) -> bool:
    ny, nz = np.uint64(out.shape[1]), np.uint64(out.shape[2])
    rx, ry, rz = np.uint64(read[0]), np.uint64(read[1]), np.uint64(read[2])
    sx, sy, sz = np.uint64(skip[0]), np.uint64(skip[1]), np.uint64(skip[2])
    line, best = np.empty(nz, dtype=np.float32), np.empty((ny, nz), dtype=np.float32)
    which = np.empty((ny, nz), dtype=np.int32)
    strange = 0
    for x in range(np.uint64(first), np.uint64(last)):
        best[:] = -np.inf
        which[:] = 0
        for channel in range(scores.shape[0]):
            for y in range(ny):
                row, share, whole = (
                    scores[channel, rx + x, ry + y],
                    weights[rx + x, ry + y],
                    count[sx + x, sy + y],
                )
                if fresh:
                    for z in range(nz):
                        line[z] = row[rz + z] * share[rz + z] / whole[sz + z]
                else:
                    sums = total[channel, sx + x, sy + y]
                    for z in range(nz):
                        line[z] = (sums[sz + z] + row[rz + z] * share[rz + z]) / whole[sz + z]
                top, label = best[y], which[y]
                for z in range(nz):
                    value = line[z]
                    strange |= not abs(value) <= _LARGEST
                    label[z] = channel if value > top[z] else label[z]
                    top[z] = value if value > top[z] else top[z]
        for y in range(ny):
            for z in range(nz):
                out[x, y, z] = which[y, z]
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


def mean_window(
    scores: Floats,
    weights: Floats,
    total: Floats,
    count: Floats,
    *,
    read: Place,
    write: Place,
    fresh: bool = False,
    channels: tuple[int, int] | None = None,
) -> bool:
    """Add the last window to a part of the sums, and divide them; whether all of that is finite.

    Rounded as `add_window` and `total /= count` one after the other would.

    Args:
        scores: Shape `(C, x, y, z)`, C-contiguous, float32.
        weights: Shape `(x, y, z)`, likewise.
        total: The sums, `(C or more, X, Y, Z)`, likewise; written.
        count: The sum of the weights of all windows in this part, and its size; likewise.
        read: First voxel of the part in the window.
        write: First voxel of the part in the sums.
        fresh: Whether this is the only window, so that these voxels of the sums hold nothing yet.
        channels: As in `add_window`.

    Example:
        >>> total, count = np.full((1, 1, 1, 2), 6, np.float32), np.array([[[2, 0]]], np.float32)
        >>> mean_window(total, count, total, count, read=(0, 0, 0), write=(0, 0, 0)), total.ravel().tolist()
        (False, [9.0, inf])
    """
    first, last = channels or (0, len(scores))
    return bool(_mean(scores, weights, total, count, read, write, fresh, first, last))


def best_class(
    scores: Floats,
    weights: Floats,
    total: Floats | None,
    count: Floats,
    out: npt.NDArray[Any],
    *,
    read: Place,
    skip: Place = (0, 0, 0),
    planes: tuple[int, int] | None = None,
) -> bool:
    """The channel whose mean is highest, without ever writing the means; of equal ones, the first.

    Rounded as `mean_window`.

    Args:
        scores: The last window's, shape `(C, x, y, z)`, C-contiguous, float32.
        weights: Shape `(x, y, z)`, likewise.
        total: The sums of the windows before, `(C or more, X, Y, Z)`, likewise; None where this is the only one.
        count: The sum of the weights of all windows, `(X, Y, Z)`, likewise.
        out: Labels, any integer type that holds C - 1, any memory order; written.
        read: First voxel of the labels in the window.
        skip: First voxel of the labels in the sums.
        planes: The first plane of the labels and the one after the last, so that threads can share the work; all.

    Returns:
        Whether all means are finite.

    Example:
        >>> scores, ones = np.array([[[[1, 2]]], [[[3, 1]]]], np.float32), np.ones((1, 1, 2), np.float32)
        >>> labels = np.zeros((1, 1, 2), np.uint8)
        >>> best_class(scores, ones, None, ones, labels, read=(0, 0, 0)), labels.ravel().tolist()
        (True, [1, 0])
    """
    first, last = planes or (0, len(out))
    fresh = total is None
    sums = scores if total is None else total
    return bool(_best(scores, weights, sums, count, read, skip, fresh, out, first, last))
