"""A volume onto another spacing, linear or cubic, with flips and an intensity window in the same pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.kernels.jit import jit
from medseg.kernels.slabs import run_slabs
from medseg.kernels.spline import coefficients, cubic_slab, cubic_taps
from medseg.kernels.window import Ramp, ramp_of, windowed

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.uint32]  # unsigned: numba then leaves out Python's negative indices, and the loops vectorise
Triple = tuple[float, float, float]


class Taps(NamedTuple):
    """Where each output voxel of one axis lies between input voxels: `low + weight * (high - low)`."""

    low: Indices
    high: Indices  # low + 1, or low where the weight is 0
    weight: Floats


@jit
def _between(low: np.float32, high: np.float32, weight: np.float32) -> np.float32:
    return low + weight * (high - low) if weight > 0 else low


@jit
def _linear_plane(plane: npt.NDArray[Any], rows: Taps, columns: Taps, buffer: Floats, out: Floats) -> None:
    for row in range(out.shape[0]):
        low, high, weight = plane[rows.low[row]], plane[rows.high[row]], rows.weight[row]
        for column in range(buffer.size):
            buffer[column] = _between(np.float32(low[column]), np.float32(high[column]), weight)
        for column in range(out.shape[1]):
            out[row, column] = _between(
                buffer[columns.low[column]], buffer[columns.high[column]], columns.weight[column]
            )


@jit
def _blend_planes(
    low: Floats, high: Floats, weight: np.float32, ramp: Ramp, rounded: bool, out: npt.NDArray[Any]
) -> None:
    if rounded:
        for index in range(out.size):
            value = np.rint(windowed(_between(low[index], high[index], weight), ramp))
            out[index] = np.int16(max(min(value, np.float32(32767)), np.float32(-32768)))
    else:
        for index in range(out.size):
            out[index] = windowed(_between(low[index], high[index], weight), ramp)


@jit
def _linear_slab(
    volume: npt.NDArray[Any],
    taps: tuple[Taps, Taps, Taps],
    ramp: Ramp,
    rounded: bool,
    first: int,
    last: int,
    out: npt.NDArray[Any],
) -> None:
    planes, rows, columns = taps
    buffer = np.empty(volume.shape[2], dtype=np.float32)
    resampled = np.empty((2, out.shape[1] * out.shape[2]), dtype=np.float32)
    held = np.full(2, -1, dtype=np.int64)
    for plane in range(first, last):
        for needed in (np.int64(planes.low[plane]), np.int64(planes.high[plane])):
            slot = needed % 2  # the two planes around a voxel are neighbours: one is even, one odd
            if held[slot] != needed:
                target = resampled[slot].reshape(out.shape[1], out.shape[2])
                _linear_plane(volume[needed], rows, columns, buffer, target)
                held[slot] = needed
        low, high = resampled[planes.low[plane] % 2], resampled[planes.high[plane] % 2]
        _blend_planes(low, high, planes.weight[plane], ramp, rounded, out[plane].reshape(-1))


@jit
def _nearest_slab(
    volume: npt.NDArray[Any], near: tuple[Indices, Indices, Indices], first: int, last: int, out: npt.NDArray[Any]
) -> None:
    planes, rows, columns = near
    for x in range(first, last):
        for y in range(out.shape[1]):
            row = volume[planes[x], rows[y]]
            for z in range(out.shape[2]):
                out[x, y, z] = row[columns[z]]


def resampled_shape(shape: Sequence[int], spacing_mm: Triple, *, new_spacing_mm: Triple) -> tuple[int, int, int]:
    """The voxels that cover the way from the first voxel's centre to the last one's, as MONAI's `Spacing` counts them.

    Example:
        >>> resampled_shape((512, 512, 99), (0.5, 0.5, 3.0), new_spacing_mm=(1.0, 1.0, 1.0))
        (256, 256, 295)
    """
    x, y, z = (
        round((count - 1) * old / new + 1) for count, old, new in zip(shape, spacing_mm, new_spacing_mm, strict=True)
    )
    return x, y, z


def resample(
    volume: npt.NDArray[Any],
    spacing_mm: Triple,
    *,
    new_spacing_mm: Triple,
    new_shape: tuple[int, int, int] | None = None,
    flips: tuple[bool, bool, bool] = (False, False, False),
    order: int = 1,
    window: tuple[float, float] | None = None,
    dtype: npt.DTypeLike = np.float32,
    threads: int = 1,
) -> npt.NDArray[Any]:
    """A volume at another voxel size, by interpolation between voxel centres.

    The centre of the first voxel (of the flipped volume) stays where it is, and what lies beyond the last voxel takes
    its value: MONAI's `Spacing` with `padding_mode="border"`. There is no low-pass filter before down-sampling. The
    arithmetic is float32. With order 1, NaN spreads to the voxels that it has a weight in, and no further; with order 3
    it takes the whole volume, and values may overshoot beside an edge.

    Args:
        volume: Shape `(X, Y, Z)`, any real dtype. Any memory order is read as it lies, also through transposed and
            reversed views; only a view with gaps is copied first.
        spacing_mm: Voxel size of `volume`.
        new_spacing_mm: Voxel size wanted.
        new_shape: Shape wanted; `resampled_shape` when not given.
        flips: Axes to reverse before resampling: the result is that for `np.flip(volume, axes)`.
        order: 1, linear, or 3, cubic B-spline (for which a float32 copy of the volume is made); 0, the nearest voxel.
        window: Intensities `(low, high)` that become 0 and 1 after interpolation; those beyond are clipped.
        dtype: float32, or int16 for voxels to be stored: linear only, rounded to the nearest (to the even one of two)
            and held at the ends of the type. NaN has no place in it.
        threads: Threads to share the work; the voxels do not depend on it.

    Returns:
        Volume of the new shape, in the memory order of `volume`.

    Raises:
        DataError: Not a 3-D volume of real numbers with at least one voxel; a voxel size, shape or window that is not
            positive; another order or dtype.

    Example:
        >>> slices = np.array([0, 10, 20], dtype=np.int16).reshape(1, 1, 3)
        >>> resample(slices, (1, 1, 2), new_spacing_mm=(1, 1, 1), window=(0, 40)).ravel().tolist()
        [0.0, 0.125, 0.25, 0.375, 0.5]
    """
    _check(volume, order=order)
    _check_spacings(spacing_mm, new_spacing_mm)
    shape = new_shape or resampled_shape(volume.shape, spacing_mm, new_spacing_mm=new_spacing_mm)
    if len(shape) != 3 or min(shape) < 1:
        msg = f"resample: new shape {tuple(shape)} is not three counts of at least 1."
        raise DataError(msg)
    x, y, z = (
        _positions(volume.shape[axis], shape[axis], step=new_spacing_mm[axis] / spacing_mm[axis], flip=flips[axis])
        for axis in range(3)
    )
    return resample_at(volume, (x, y, z), order=order, window=window, dtype=dtype, threads=threads)


def resample_at(
    volume: npt.NDArray[Any],
    positions: Sequence[npt.NDArray[np.float64]],
    *,
    order: int = 1,
    window: tuple[float, float] | None = None,
    dtype: npt.DTypeLike = np.float32,
    threads: int = 1,
    out: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    """A volume wherever planes across its axes cross; as `resample`, for any places.

    Args:
        volume: See `resample`.
        positions: For each axis where the planes lie, in voxels, in any direction; those beyond the volume are
            taken as at its end.
        order: 0, the nearest voxel (of two that are as near, the even one), 1 or 3.
        window: See `resample`; not with order 0.
        dtype: See `resample`; with order 0 any.
        threads: See `resample`.
        out: Where to put the result, instead of a new array.

    Returns:
        Volume `(len of each positions)`.

    Raises:
        DataError: See `resample`; or `out` does not fit.

    Example:
        >>> at = np.zeros(1), np.zeros(1), np.array([1.5, 0.0])
        >>> resample_at(np.array([[[4, 8, 16]]]), at).ravel().tolist()
        [12.0, 4.0]
    """
    _check(volume, order=order)
    _check_dtype(np.dtype(dtype), order=order)
    shape = tuple(len(places) for places in positions)
    if len(shape) != 3 or min(shape) < 1 or (out is not None and (out.shape != shape or out.dtype != dtype)):
        where = "" if out is None else f" into {out.dtype} of shape {out.shape}"
        msg = f"resample: {shape} places{where} are not three counts of at least 1, or do not fit."
        raise DataError(msg)
    # From here on the axes stand in the order in which they lie in memory, slowest first, so that rows are contiguous.
    axes = sorted(range(3), key=lambda axis: (volume.shape[axis] > 1, -abs(volume.strides[axis])))
    data, back = _plain(volume, axes), np.argsort(axes)
    placed = [_read_forwards(positions[axis], volume.shape[axis], backwards=volume.strides[axis] < 0) for axis in axes]
    direct = out is not None and out.transpose(axes).flags.c_contiguous
    target = out.transpose(axes) if out is not None and direct else np.empty([shape[a] for a in axes], dtype=dtype)
    work = _slab_work(data, placed, target, order=order, ramp=ramp_of(window), threads=threads)
    run_slabs(work, len(target), threads=threads)
    if out is None:
        return target.transpose(back)
    if not direct:
        out[...] = target.transpose(back)
    return out


def _slab_work(
    data: npt.NDArray[Any],
    positions: list[npt.NDArray[np.float64]],
    out: npt.NDArray[Any],
    *,
    order: int,
    ramp: Ramp,
    threads: int,
) -> Callable[[int, int], None]:
    x, y, z = positions
    if order == 0:
        near = (_nearest(x), _nearest(y), _nearest(z))
        return lambda first, last: _nearest_slab(data, near, first, last, out)
    if order == 1:
        nx, ny, nz = data.shape
        linear = (_linear_taps(x, nx), _linear_taps(y, ny), _linear_taps(z, nz))
        rounded = out.dtype == np.int16
        return lambda first, last: _linear_slab(data, linear, ramp, rounded, first, last, out)
    cubic = (cubic_taps(x), cubic_taps(y), cubic_taps(z))
    weights = coefficients(data, threads=threads)
    return lambda first, last: cubic_slab(weights, cubic, ramp, first, last, out)


def _positions(count: int, new_count: int, *, step: float, flip: bool) -> npt.NDArray[np.float64]:
    """Where the output voxels of one axis lie, in input voxels."""
    positions: npt.NDArray[np.float64] = np.minimum(np.arange(new_count) * step, count - 1.0)
    return count - 1.0 - positions if flip else positions


def _read_forwards(places: npt.NDArray[np.float64], count: int, *, backwards: bool) -> npt.NDArray[np.float64]:
    """The same places, within the volume, for an axis that is read as it lies in memory."""
    inside: npt.NDArray[np.float64] = np.clip(places, 0.0, count - 1.0)
    return count - 1.0 - inside if backwards else inside


def _nearest(positions: npt.NDArray[np.float64]) -> Indices:
    return np.rint(positions).astype(np.uint32)


def _linear_taps(positions: npt.NDArray[np.float64], count: int) -> Taps:
    low = np.floor(positions)
    weight = (positions - low).astype(np.float32)
    return Taps(low.astype(np.uint32), (low + (weight > 0)).clip(max=count - 1).astype(np.uint32), weight)


def _plain(volume: npt.NDArray[Any], axes: list[int]) -> npt.NDArray[Any]:
    """The same voxels, axes in the given order, read forwards, C-contiguous, in a dtype that numba knows."""
    volume = volume[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in volume.strides)]
    if volume.dtype.kind == "b":
        volume = volume.view(np.uint8)
    elif volume.dtype.kind == "f" and volume.dtype.itemsize not in (4, 8):
        volume = volume.astype(np.float32)  # half precision; long doubles lose digits that float32 has no room for
    elif not volume.dtype.isnative:
        volume = volume.astype(volume.dtype.newbyteorder("="))
    volume = np.ascontiguousarray(volume.transpose(axes)).view()
    volume.flags.writeable = False  # one compiled kernel for memory maps and for arrays
    return volume


def _check(volume: npt.NDArray[Any], *, order: int) -> None:
    if order not in (0, 1, 3):
        msg = f"resample: order {order} is neither 1 (linear) nor 3 (cubic), nor 0 (nearest) for given places."
        raise DataError(msg)
    if volume.ndim != 3 or not volume.size or volume.dtype.kind not in "biuf":
        msg = f"resample: {volume.dtype} array of shape {volume.shape} is not a 3-D volume of real numbers."
        raise DataError(msg)


def _check_spacings(spacing_mm: Triple, new_spacing_mm: Triple) -> None:
    for name, sizes in (("spacing", spacing_mm), ("new spacing", new_spacing_mm)):
        if len(sizes) != 3 or not all(math.isfinite(size) and size > 0 for size in sizes):
            msg = f"resample: {name} {tuple(sizes)} is not three positive voxel sizes in mm. Mend the scan's header."
            raise DataError(msg)


def _check_dtype(dtype: np.dtype[Any], *, order: int) -> None:
    if order and dtype != np.float32 and (dtype != np.int16 or order != 1):
        msg = f"resample: dtype {dtype} with order {order} is neither float32 nor, with order 1, int16."
        raise DataError(msg)
