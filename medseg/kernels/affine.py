"""A volume seen through an affine: every output voxel is looked up where the matrix puts it, linear or nearest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.kernels.jit import jit
from medseg.kernels.slabs import run_slabs

PADDINGS = ("zeros", "border", "reflection")  # by the names that torch gives them; zeros stand for `outside`
_BORDER = 1e-6  # keeps rounding from reading one voxel past the end


@jit
def _inside(base: float, step: float, size: int, bounds: tuple[float, float]) -> tuple[float, float]:
    """Where on a row, `base + step * t`, both neighbours lie in the array, within bounds of t."""
    low, high = bounds
    if step == 0.0:
        return (low, high) if _BORDER <= base <= size - 1 - _BORDER else (low, low - 1.0)
    first, last = (_BORDER - base) / step, (size - 1 - _BORDER - base) / step
    return (max(low, min(first, last)), min(high, max(first, last)))


@jit
def _value(volume: npt.NDArray[Any], x: int, y: int, z: int, outside: float) -> float:
    if 0 <= x < volume.shape[0] and 0 <= y < volume.shape[1] and 0 <= z < volume.shape[2]:
        return float(volume[x, y, z])
    return outside


@jit
def _folded(at: float, size: int, padding: int) -> float:
    """Where a place is looked up: unchanged, at the nearest voxel, or mirrored at the volume's edges."""
    if padding == 0:
        return at
    if padding == 2:
        beyond = abs(at + 0.5)
        turns = np.floor(beyond / size)
        rest = beyond - turns * size
        at = rest - 0.5 if turns % 2 == 0 else size - rest - 0.5
    return min(max(at, 0.0), size - 1.0)


@jit
def _at_border(volume: npt.NDArray[Any], x: float, y: float, z: float, outside: float, padding: int) -> float:
    x, y, z = (
        _folded(x, volume.shape[0], padding),
        _folded(y, volume.shape[1], padding),
        _folded(z, volume.shape[2], padding),
    )
    i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    total = 0.0
    for a in range(2):
        for b in range(2):
            for c in range(2):
                weight = (x - i if a else 1 - x + i) * (y - j if b else 1 - y + j) * (z - k if c else 1 - z + k)
                if weight > 0:
                    total += weight * _value(volume, i + a, j + b, k + c, outside)
    return total


@jit
def _within(volume: npt.NDArray[Any], x: np.float32, y: np.float32, z: np.float32) -> np.float32:
    i, j, k = np.uint32(np.int32(x)), np.uint32(np.int32(y)), np.uint32(np.int32(z))
    u, v, w = x - np.float32(i), y - np.float32(j), z - np.float32(k)
    i1, j1, k1 = i + np.uint32(1), j + np.uint32(1), k + np.uint32(1)
    a = volume[i, j, k] + w * (volume[i, j, k1] - volume[i, j, k])
    b = volume[i, j1, k] + w * (volume[i, j1, k1] - volume[i, j1, k])
    c = volume[i1, j, k] + w * (volume[i1, j, k1] - volume[i1, j, k])
    d = volume[i1, j1, k] + w * (volume[i1, j1, k1] - volume[i1, j1, k])
    low, high = a + v * (b - a), c + v * (d - c)
    return np.float32(low + u * (high - low))


@jit
def _linear(
    volume: npt.NDArray[np.float32],
    matrix: npt.NDArray[np.float64],
    outside: float,
    padding: int,
    first_plane: int,
    last_plane: int,
    out: npt.NDArray[np.float32],
) -> None:
    dx, dy, dz = matrix[0, 2], matrix[1, 2], matrix[2, 2]
    for i in range(first_plane, last_plane):
        for j in range(out.shape[1]):
            x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 3]
            y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 3]
            z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 3]
            bounds = _inside(x, dx, volume.shape[0], (0.0, out.shape[2] - 1.0))
            bounds = _inside(y, dy, volume.shape[1], bounds)
            bounds = _inside(z, dz, volume.shape[2], bounds)
            first = int(np.ceil(bounds[0]))
            last = max(first, int(np.floor(bounds[1])) + 1)
            first = min(first, out.shape[2])
            last = min(last, out.shape[2])
            for k in range(first):
                out[i, j, k] = _at_border(volume, x + dx * k, y + dy * k, z + dz * k, outside, padding)
            for k in range(first, last):
                out[i, j, k] = _within(volume, np.float32(x + dx * k), np.float32(y + dy * k), np.float32(z + dz * k))
            for k in range(last, out.shape[2]):
                out[i, j, k] = _at_border(volume, x + dx * k, y + dy * k, z + dz * k, outside, padding)


@jit
def _nearest(
    volume: npt.NDArray[Any],
    matrix: npt.NDArray[np.float64],
    outside: Any,
    padding: int,
    first_plane: int,
    last_plane: int,
    out: npt.NDArray[Any],
) -> None:
    for i in range(first_plane, last_plane):
        for j in range(out.shape[1]):
            x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 3]
            y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 3]
            z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 3]
            for k in range(out.shape[2]):
                a = int(np.floor(_folded(x + matrix[0, 2] * k, volume.shape[0], padding) + 0.5))
                b = int(np.floor(_folded(y + matrix[1, 2] * k, volume.shape[1], padding) + 0.5))
                c = int(np.floor(_folded(z + matrix[2, 2] * k, volume.shape[2], padding) + 0.5))
                inside = 0 <= a < volume.shape[0] and 0 <= b < volume.shape[1] and 0 <= c < volume.shape[2]
                out[i, j, k] = volume[a, b, c] if inside else outside


def affine_linear(
    volume: npt.NDArray[np.float32],
    matrix: npt.ArrayLike,
    *,
    shape: Sequence[int],
    outside: float = 0.0,
    padding: str = "zeros",
    threads: int = 1,
    out: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """The volume `(X, Y, Z)` looked up linearly; beyond its last voxel centres it fades into `outside`.

    Args:
        volume: Voxels.
        matrix: From output voxel indices to input voxel indices, 4x4 or 3x4.
        shape: Shape of the output.
        outside: What lies around the volume.
        padding: Or what else lies there: "border", its last voxels for ever, or "reflection", the volume mirrored at
            its edges again and again; "zeros" is `outside`.
        threads: Threads to share the work; the voxels do not depend on it.
        out: Where to put the result, instead of a new array.

    Raises:
        DataError: An unknown padding.

    >>> shift = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.5]])
    >>> affine_linear(np.float32([[[1, 2, 4]]]), shift, shape=(1, 1, 3)).tolist()
    [[[1.5, 3.0, 2.0]]]
    """
    target = np.empty(tuple(shape), dtype=np.float32) if out is None else out
    whole = np.ascontiguousarray(volume, dtype=np.float32)
    steps, fold = np.ascontiguousarray(matrix, dtype=np.float64), _padding_number(padding)
    run_slabs(
        lambda first, last: _linear(whole, steps, float(outside), fold, first, last, target),
        len(target),
        threads=threads,
    )
    return target


def affine_nearest(
    volume: npt.NDArray[Any],
    matrix: npt.ArrayLike,
    *,
    shape: Sequence[int],
    outside: float = 0,
    padding: str = "zeros",
    threads: int = 1,
) -> npt.NDArray[Any]:
    """The volume `(X, Y, Z)` looked up at the nearest voxel, in its own type; arguments as in `affine_linear`."""
    out = np.empty(tuple(shape), dtype=volume.dtype)
    whole = np.ascontiguousarray(volume)
    steps, fold = np.ascontiguousarray(matrix, dtype=np.float64), _padding_number(padding)
    fill = volume.dtype.type(outside)
    run_slabs(lambda first, last: _nearest(whole, steps, fill, fold, first, last, out), len(out), threads=threads)
    return out


def _padding_number(padding: str) -> int:
    if padding not in PADDINGS:
        msg = f"affine lookup: padding {padding!r} is none of {', '.join(PADDINGS)}."
        raise DataError(msg)
    return PADDINGS.index(padding)
