"""Interpolation by cubic B-splines: the coefficients of a volume, and their sums between the voxels.

The recursive filter is that of Unser, Aldroubi and Eden 1993 (https://doi.org/10.1109/78.193220), with the edge voxels
repeated for ever beyond the volume, as `scipy.ndimage` does for `mode="nearest"`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from medseg.kernels.jit import jit
from medseg.kernels.slabs import run_slabs
from medseg.kernels.window import Ramp, windowed

Floats = npt.NDArray[np.float32]

_POLE = math.sqrt(3) - 2
POLE = np.float32(_POLE)
FAR = np.float32(1 / (1 - _POLE))  # what the causal filter makes of a constant 1
TAIL = np.float32(1 / (1 - _POLE**2))
GAIN = np.float32(6**3)  # 6 for each axis
BLOCK = 1024  # columns filtered together: they stay in the cache


class CubicTaps(NamedTuple):
    """The four coefficients that make each output voxel of one axis: from `first` on, with `weights` `(count, 4)`."""

    first: npt.NDArray[np.uint32]
    weights: Floats


def cubic_taps(positions: npt.NDArray[np.float64]) -> CubicTaps:
    """Taps for positions in voxels; `coefficients` starts one voxel earlier, so the first tap is at the floor.

    Example:
        >>> cubic_taps(np.array([2.0])).weights.round(2).astype(float).round(2).tolist()
        [[0.17, 0.67, 0.17, 0.0]]
    """
    first = np.floor(positions)
    t = positions - first
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    return CubicTaps(first.astype(np.uint32), weights.astype(np.float32))


@jit
def _filter(lines: Floats, first: int, last: int) -> None:
    """Along axis 0, in place, for the columns from `first` to `last`."""
    end = lines.shape[0] - 1
    for j in range(first, last):
        lines[0, j] *= FAR
    for k in range(1, end + 1):
        for j in range(first, last):
            lines[k, j] += POLE * lines[k - 1, j]
    for j in range(first, last):
        beyond = (lines[end, j] - POLE * lines[end - 1, j]) * FAR
        lines[end, j] = -POLE * (beyond * FAR + (lines[end, j] - beyond) * TAIL)
    for k in range(end - 1, -1, -1):
        for j in range(first, last):
            lines[k, j] = POLE * (lines[k + 1, j] - lines[k, j])


@jit
def _fill_planes(volume: npt.NDArray[Any], first: int, last: int, out: Floats) -> None:
    """Planes of `out` from the volume, filtered along their own axes while they are in the cache."""
    turned = np.empty((out.shape[2], out.shape[1]), dtype=np.float32)
    for x in range(first, last):
        plane = out[x]
        for y in range(out.shape[1]):
            source = volume[min(max(x - 1, 0), volume.shape[0] - 1), min(max(y - 1, 0), volume.shape[1] - 1)]
            row = plane[y]
            for z in range(source.size):
                row[z + 1] = GAIN * np.float32(source[z])
            row[0] = row[1]
            row[source.size + 1 :] = row[source.size]
        _filter(plane, 0, plane.shape[1])
        turned[:] = plane.T
        _filter(turned, 0, turned.shape[1])
        plane[:] = turned.T


@jit
def _filter_columns(sheet: Floats, first: int, last: int) -> None:
    for begin in range(first, last, BLOCK):
        _filter(sheet, begin, min(begin + BLOCK, last))


def coefficients(volume: npt.NDArray[Any], *, threads: int = 1) -> Floats:
    """The B-spline coefficients of a C-contiguous volume, one more before and two more behind on each axis."""
    nx, ny, nz = volume.shape
    out = np.empty((nx + 3, ny + 3, nz + 3), dtype=np.float32)
    sheet = out.reshape(len(out), -1)
    run_slabs(lambda first, last: _fill_planes(volume, first, last, out), len(out), threads=threads)
    run_slabs(lambda first, last: _filter_columns(sheet, first, last), sheet.shape[1], threads=threads)
    return out


@jit
def _cubic_plane(plane: Floats, rows: CubicTaps, columns: CubicTaps, buffer: Floats, out: Floats) -> None:
    for row in range(out.shape[0]):
        first, weight = rows.first[row], rows.weights[row]
        a, b, c, d = plane[first], plane[first + 1], plane[first + 2], plane[first + 3]
        for z in range(buffer.size):
            buffer[z] = weight[0] * a[z] + weight[1] * b[z] + weight[2] * c[z] + weight[3] * d[z]
        for z in range(out.shape[1]):
            start, w = columns.first[z], columns.weights[z]
            out[row, z] = (
                w[0] * buffer[start] + w[1] * buffer[start + 1] + w[2] * buffer[start + 2] + w[3] * buffer[start + 3]
            )


@jit
def cubic_slab(
    volume: Floats, taps: tuple[CubicTaps, CubicTaps, CubicTaps], ramp: Ramp, first: int, last: int, out: Floats
) -> None:
    """Output planes `first` to `last` from the coefficients of the whole volume."""
    planes, rows, columns = taps
    buffer = np.empty(volume.shape[2], dtype=np.float32)
    ready = np.empty((4, out.shape[1], out.shape[2]), dtype=np.float32)
    held = np.full(4, -1, dtype=np.int64)
    for x in range(first, last):
        start, w = np.int64(planes.first[x]), planes.weights[x]
        for needed in range(start, start + 4):
            if held[needed % 4] != needed:
                _cubic_plane(volume[needed], rows, columns, buffer, ready[needed % 4])
                held[needed % 4] = needed
        a, b, c, d = ready[start % 4], ready[(start + 1) % 4], ready[(start + 2) % 4], ready[(start + 3) % 4]
        for y in range(out.shape[1]):
            for z in range(out.shape[2]):
                value = w[0] * a[y, z] + w[1] * b[y, z] + w[2] * c[y, z] + w[3] * d[y, z]
                out[x, y, z] = windowed(value, ramp)
