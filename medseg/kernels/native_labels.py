"""Scores onto a finer grid and the best class there, without ever holding the scores on that grid.

Linear interpolation never leaves the range of the eight voxels around a point. So where one class is the best at all
eight, it is the best between them; where all eight are above a threshold, so is everything between them. Only the
cells at the edges of structures are computed, and there only the classes that can win: one whose highest corner is
below another's lowest cannot.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.kernels.jit import jit_ieee
from medseg.kernels.resample import Taps
from medseg.kernels.slabs import run_slabs

Floats = npt.NDArray[np.float32]
AxisTaps = tuple[Taps, Taps, Taps]
Indices = npt.NDArray[np.uint32]
UNSETTLED, NO_THRESHOLD = -1, np.float32(0)


def taps_at(positions: npt.NDArray[np.float64]) -> Taps:
    """The two voxels around each position, and the weight of the upper one.

    >>> [part.tolist() for part in taps_at(np.array([0.0, 1.25]))]
    [[0, 1], [0, 2], [0.0, 0.25]]
    """
    low = np.floor(positions)
    weight = (positions - low).astype(np.float32)
    return Taps(low.astype(np.uint32), (low + (weight > 0)).astype(np.uint32), weight)


@jit_ieee
def _best_classes(scores: Floats, first_x: int, last_x: int, labels: npt.NDArray[np.int32]) -> None:
    best = np.empty(scores.shape[2] * scores.shape[3], dtype=np.float32)
    for x in range(first_x, last_x):
        label, first = labels[x].reshape(-1), scores[0, x].reshape(-1)
        for voxel in range(best.size):
            best[voxel], label[voxel] = first[voxel], 0
        for channel in range(1, scores.shape[0]):
            plane = scores[channel, x].reshape(-1)
            for voxel in range(best.size):
                if plane[voxel] > best[voxel]:
                    best[voxel], label[voxel] = plane[voxel], channel


@jit_ieee
def _above(scores: Floats, threshold: np.float32, labels: npt.NDArray[np.int32]) -> None:
    values, label = scores.reshape(-1), labels.reshape(-1)
    for voxel in range(values.size):
        label[voxel] = values[voxel] >= threshold


@jit_ieee
def _same_cell(axis: Taps, first: int) -> int:
    """One after the last point that lies between the same two voxels as the first."""
    last = first + 1
    while last < axis.low.size and axis.low[last] == axis.low[first] and axis.high[last] == axis.high[first]:
        last += 1
    return last


@jit_ieee
def _settle(
    labels: npt.NDArray[np.int32], x: Any, y: Any, columns: Taps, row: npt.NDArray[np.int32], open_: Indices
) -> int:
    """Writes the label of the points whose eight voxels share it; lists the others, and says how many they are."""
    a, b, c, d = labels[x[0], y[0]], labels[x[0], y[1]], labels[x[1], y[0]], labels[x[1], y[1]]
    line = np.empty(a.size, dtype=np.int32)
    for z in range(line.size):
        same = a[z] == b[z] and a[z] == c[z] and a[z] == d[z]
        line[z] = a[z] if same else UNSETTLED
    count = 0
    for point in range(row.size):
        label = line[columns.low[point]]
        row[point] = label
        open_[count] = point
        count += label == UNSETTLED or label != line[columns.high[point]]
    return count


@jit_ieee
def _bounds(scores: Floats, x: Any, y: Any, first: np.uint32, last: np.uint32, highest: Floats, floor: Floats) -> None:
    """Of each cell along z, the highest corner of every class, and the highest of the classes' lowest corners."""
    low, top = np.empty(floor.size + 1, dtype=np.float32), np.empty(floor.size + 1, dtype=np.float32)
    one = np.uint32(1)
    for channel in range(scores.shape[0]):
        plane, row = scores[channel], highest[channel]
        a, b, c, d = plane[x[0], y[0]], plane[x[0], y[1]], plane[x[1], y[0]], plane[x[1], y[1]]
        for z in range(first, last + one):
            low[z], top[z] = min(min(a[z], b[z]), min(c[z], d[z])), max(max(a[z], b[z]), max(c[z], d[z]))
        low[last + one], top[last + one] = low[last], top[last]
        for z in range(first, last + one):
            row[z], lowest = max(top[z], top[z + one]), min(low[z], low[z + one])
            floor[z] = max(floor[z], lowest) if channel else lowest


@jit_ieee
def _candidates(highest: Floats, floor: Floats, cells: Indices, open_: Indices, which: Indices, ends: Indices) -> int:
    """Lists the classes that can be the best at each open point; says how many they are in all."""
    count = 0
    for place in range(ends.size):
        cell = cells[open_[place]]
        limit = floor[cell]
        for channel in range(highest.shape[0]):
            which[count] = channel
            count += highest[channel, cell] >= limit
        ends[place] = count
    return count


@jit_ieee
def _corners(
    scores: Floats, x: Any, y: Any, columns: Taps, open_: Indices, which: Indices, ends: Indices, out: Floats
) -> None:
    """The scores of the listed classes in the four columns around the points, at the points' place along z."""
    entry = 0
    for place in range(ends.size):
        point = open_[place]
        low, high, weight = columns.low[point], columns.high[point], columns.weight[point]
        while entry < ends[place]:
            plane = scores[which[entry]]
            for column in range(4):
                line = plane[x[column >> 1], y[column & 1]]
                out[column, entry] = line[low] + weight * (line[high] - line[low])
            entry += 1


@jit_ieee
def _blend(low: Floats, high: Floats, weight: np.float32, out: Floats) -> None:
    for entry in range(out.size):
        out[entry] = low[entry] + weight * (high[entry] - low[entry])


@jit_ieee
def _write_best(
    values: Floats, which: Indices, ends: Indices, open_: Indices, label: npt.NDArray[np.int32], row: npt.NDArray[Any]
) -> None:
    for point in range(row.size):
        row[point] = label[point]
    entry = np.uint32(0)
    for place in range(ends.size):
        best, winner = values[entry], which[entry]
        for rival in range(entry + np.uint32(1), ends[place]):
            if values[rival] > best:
                best, winner = values[rival], which[rival]
        row[open_[place]] = winner
        entry = ends[place]


@jit_ieee
def _write_above(
    values: Floats, threshold: np.float32, open_: Indices, label: npt.NDArray[np.int32], row: npt.NDArray[Any]
) -> None:
    for point in range(row.size):
        row[point] = label[point]
    for place in range(values.size):
        row[open_[place]] = values[place] >= threshold


@jit_ieee
def _rows(
    scores: Floats, labels: npt.NDArray[np.int32], threshold: np.float32, taps: AxisTaps, out: npt.NDArray[Any]
) -> None:
    """Labels of all rows; those between the same four columns have their open points and their corners in common.

    The best class of several; of one channel, whether it is at least the threshold.
    """
    planes, rows, columns = taps
    classes, points = scores.shape[0], columns.low.size
    label, open_ = np.empty(points, dtype=np.int32), np.empty(points + 1, dtype=np.uint32)
    highest = np.empty((classes, scores.shape[3]), dtype=np.float32)
    floor = np.empty(scores.shape[3], dtype=np.float32)
    which, all_ends = np.zeros(classes * points + 1, dtype=np.uint32), np.empty(points, dtype=np.uint32)
    corners, between = np.empty((4, which.size), dtype=np.float32), np.empty((3, which.size), dtype=np.float32)
    i = 0
    while i < planes.low.size:
        i_end, j = _same_cell(planes, i), 0
        x = (planes.low[i], planes.high[i])
        while j < rows.low.size:
            j_end, y = _same_cell(rows, j), (rows.low[j], rows.high[j])
            count = _settle(labels, x, y, columns, label, open_)
            ends = all_ends[:count]
            if classes == 1:
                entries = count
                for place in range(count):
                    ends[place] = place + 1
            elif count:
                _bounds(scores, x, y, columns.low[open_[0]], columns.high[open_[count - 1]], highest, floor)
                entries = _candidates(highest, floor, columns.low, open_, which, ends)
            else:
                entries = 0
            _corners(scores, x, y, columns, open_, which, ends, corners)
            left, right, values = between[0, :entries], between[1, :entries], between[2, :entries]
            for plane in range(i, i_end):
                _blend(corners[0], corners[2], planes.weight[plane], left)
                _blend(corners[1], corners[3], planes.weight[plane], right)
                for row in range(j, j_end):
                    _blend(left, right, rows.weight[row], values)
                    if classes == 1:
                        _write_above(values, threshold, open_, label, out[plane, row])
                    else:
                        _write_best(values, which, ends, open_, label, out[plane, row])
            j = j_end
        i = i_end


def resampled_argmax(scores: Floats, taps: AxisTaps, out: npt.NDArray[Any], *, threads: int = 1) -> None:
    """The class with the highest score at each point of a grid; of equal ones, the first.

    The same as linear interpolation of all scores in float32 and `argmax` of the result, but for points where two
    scores differ by less than the rounding.

    Args:
        scores: Shape `(C, X, Y, Z)`, float32, C-contiguous, without NaN.
        taps: Where the points of each axis lie in voxels, see `taps_at`; ascending.
        out: Labels, shape `(len of each taps)`, any integer type that holds C - 1, any memory order; written.
        threads: Threads to share the work; the labels do not depend on it.

    Raises:
        DataError: Shapes, dtypes or taps do not fit.

    Example:
        >>> scores = np.array([[[[0.0, 1.0]]], [[[0.4, 0.4]]]], dtype=np.float32)
        >>> labels, at = np.zeros((1, 1, 5), np.uint8), taps_at(np.zeros(1))
        >>> resampled_argmax(scores, (at, at, taps_at(np.linspace(0, 1, 5))), labels)
        >>> labels.ravel().tolist()
        [1, 1, 0, 0, 0]
    """
    _check(scores, taps, out.shape)
    if np.iinfo(out.dtype).max < len(scores) - 1:
        msg = f"resampled_argmax: {out.dtype} cannot hold {len(scores)} classes. Give labels a wider type."
        raise DataError(msg)
    labels = np.empty(scores.shape[1:], dtype=np.int32)
    run_slabs(lambda first, last: _best_classes(scores, first, last, labels), len(labels), threads=threads)

    def label(first: int, last: int) -> None:
        _rows(scores, labels, NO_THRESHOLD, _planes(taps, first, last), out[first:last])

    run_slabs(label, len(out), threads=threads)


def resampled_threshold(
    scores: Floats, taps: AxisTaps, out: npt.NDArray[Any], *, threshold: float, threads: int = 1
) -> None:
    """Whether each score is at least the threshold at each point of a grid: 1 or 0.

    The same as linear interpolation in float32 and `>= threshold`, but for points within the rounding.

    Args:
        scores: Shape `(C, X, Y, Z)`, float32, C-contiguous, without NaN.
        taps: Where the points of each axis lie in voxels, see `taps_at`; ascending.
        out: Shape `(C, len of each taps)`, any integer type and memory order; written.
        threshold: In the unit of the scores.
        threads: Threads to share the work.

    Raises:
        DataError: Shapes, dtypes or taps do not fit.
    """
    _check(scores, taps, out.shape[1:])
    if len(out) != len(scores):
        msg = f"resampled_threshold: {len(out)} masks for {len(scores)} channels of scores."
        raise DataError(msg)
    limit = np.float32(threshold)

    def channels(first: int, last: int) -> None:
        labels = np.empty(scores.shape[1:], dtype=np.int32)
        for channel in range(first, last):
            _above(scores[channel], limit, labels)
            _rows(scores[channel : channel + 1], labels, limit, taps, out[channel])

    run_slabs(channels, len(scores), threads=threads)


def _planes(taps: AxisTaps, first: int, last: int) -> AxisTaps:
    planes = taps[0]
    return Taps(planes.low[first:last], planes.high[first:last], planes.weight[first:last]), taps[1], taps[2]


def _check(scores: Floats, taps: AxisTaps, shape: tuple[int, ...]) -> None:
    if scores.ndim != 4 or scores.dtype != np.float32 or not scores.flags.c_contiguous or not scores.size:
        msg = f"resampled scores: {scores.dtype} of shape {scores.shape} is not C-contiguous float32 (C, X, Y, Z)."
        raise DataError(msg)
    if tuple(len(axis.low) for axis in taps) != tuple(shape):
        msg = f"resampled scores: labels of shape {tuple(shape)} for {[len(axis.low) for axis in taps]} points."
        raise DataError(msg)
    for axis, size in zip(taps, scores.shape[1:], strict=True):
        if len(axis.high) and int(axis.high.max()) >= size:
            msg = f"resampled scores: a point lies beyond voxel {size - 1}."
            raise DataError(msg)
