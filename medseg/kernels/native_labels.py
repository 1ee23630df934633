"""Scores onto a finer grid and the best class there, without ever holding the scores on that grid.

Linear interpolation never leaves the range of the eight voxels around a point. So where one class is the best at all
eight, it is the best between them; where all eight are above a threshold, so is everything between them. Only the
cells at the edges of structures are computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.kernels.jit import jit_ieee
from medseg.kernels.resample import Taps, run_slabs

Floats = npt.NDArray[np.float32]
AxisTaps = tuple[Taps, Taps, Taps]
UNSETTLED = -1


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
def _settled(labels: npt.NDArray[np.int32], x: Any, y: Any, line: npt.NDArray[np.int32]) -> None:
    """Of each voxel along z, the label that the four columns around a row share."""
    a, b, c, d = labels[x[0], y[0]], labels[x[0], y[1]], labels[x[1], y[0]], labels[x[1], y[1]]
    for z in range(line.size):
        same = a[z] == b[z] and a[z] == c[z] and a[z] == d[z]
        line[z] = a[z] if same else UNSETTLED


@jit_ieee
def _take_settled(
    line: npt.NDArray[np.int32], columns: Taps, out: npt.NDArray[Any], open_: npt.NDArray[np.uint32]
) -> int:
    """Writes the settled voxels of a row; lists the others, and says how many they are."""
    count = 0
    for voxel in range(out.size):
        label = line[columns.low[voxel]]
        if label != UNSETTLED and label == line[columns.high[voxel]]:
            out[voxel] = label
        else:
            open_[count] = voxel
            count += 1
    return count


@jit_ieee
def _blend_line(
    scores: Floats, x: Any, y: Any, wx: np.float32, wy: np.float32, first: np.uint32, last: np.uint32, line: Floats
) -> None:
    a, b, c, d = scores[x[0], y[0]], scores[x[0], y[1]], scores[x[1], y[0]], scores[x[1], y[1]]
    for z in range(first, last + np.uint32(1)):
        low = a[z] + wx * (c[z] - a[z])
        line[z] = low + wy * (b[z] + wx * (d[z] - b[z]) - low)


@jit_ieee
def _argmax_rows(scores: Floats, labels: npt.NDArray[np.int32], taps: AxisTaps, out: npt.NDArray[Any]) -> None:
    planes, rows, columns = taps
    shared, line = np.empty(scores.shape[3], dtype=np.int32), np.empty(scores.shape[3], dtype=np.float32)
    open_ = np.empty(out.shape[2], dtype=np.uint32)
    best, which = np.empty(out.shape[2], dtype=np.float32), np.empty(out.shape[2], dtype=np.int32)
    for i in range(out.shape[0]):
        x = (planes.low[i], planes.high[i])
        for j in range(out.shape[1]):
            y = (rows.low[j], rows.high[j])
            _settled(labels, x, y, shared)
            count = _take_settled(shared, columns, out[i, j], open_)
            if not count:
                continue
            first, last = columns.low[open_[0]], columns.high[open_[count - 1]]
            for channel in range(scores.shape[0]):
                _blend_line(scores[channel], x, y, planes.weight[i], rows.weight[j], first, last, line)
                for place in range(count):
                    voxel = open_[place]
                    low = line[columns.low[voxel]]
                    value = low + columns.weight[voxel] * (line[columns.high[voxel]] - low)
                    if channel == 0 or value > best[place]:
                        best[place], which[place] = value, channel
            for place in range(count):
                out[i, j, open_[place]] = which[place]


@jit_ieee
def _threshold_rows(
    scores: Floats, labels: npt.NDArray[np.int32], threshold: np.float32, taps: AxisTaps, out: npt.NDArray[Any]
) -> None:
    planes, rows, columns = taps
    shared, line = np.empty(scores.shape[2], dtype=np.int32), np.empty(scores.shape[2], dtype=np.float32)
    open_ = np.empty(out.shape[2], dtype=np.uint32)
    for i in range(out.shape[0]):
        x = (planes.low[i], planes.high[i])
        for j in range(out.shape[1]):
            y = (rows.low[j], rows.high[j])
            _settled(labels, x, y, shared)
            count = _take_settled(shared, columns, out[i, j], open_)
            if not count:
                continue
            first, last = columns.low[open_[0]], columns.high[open_[count - 1]]
            _blend_line(scores, x, y, planes.weight[i], rows.weight[j], first, last, line)
            for place in range(count):
                voxel = open_[place]
                low = line[columns.low[voxel]]
                value = low + columns.weight[voxel] * (line[columns.high[voxel]] - low)
                out[i, j, voxel] = value >= threshold


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
        _argmax_rows(scores, labels, _planes(taps, first, last), out[first:last])

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
            _threshold_rows(scores[channel], labels, limit, taps, out[channel])

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
