"""Linear resampling of a volume onto another spacing, with flips and an intensity window in the same pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.kernels.jit import jit

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.uint32]  # unsigned: numba then leaves out Python's negative indices, and the loops vectorise
Triple = tuple[float, float, float]


class Taps(NamedTuple):
    """Where each output voxel of one axis lies between input voxels: `low + weight * (high - low)`."""

    low: Indices
    high: Indices  # low + 1, or low where the weight is 0
    weight: Floats


class Ramp(NamedTuple):
    """The intensity window as the kernel wants it: `(value - low) * gain`, clipped to 0 to 1."""

    on: bool
    low: np.float32
    gain: np.float32


@jit
def _between(low: np.float32, high: np.float32, weight: np.float32) -> np.float32:
    return low + weight * (high - low) if weight > 0 else low


@jit
def _resample_plane(plane: npt.NDArray[Any], rows: Taps, columns: Taps, buffer: Floats, out: Floats) -> None:
    for row in range(out.shape[0]):
        low, high, weight = plane[rows.low[row]], plane[rows.high[row]], rows.weight[row]
        for column in range(buffer.size):
            buffer[column] = _between(np.float32(low[column]), np.float32(high[column]), weight)
        for column in range(out.shape[1]):
            out[row, column] = _between(
                buffer[columns.low[column]], buffer[columns.high[column]], columns.weight[column]
            )


@jit
def _blend_planes(low: Floats, high: Floats, weight: np.float32, ramp: Ramp, out: Floats) -> None:
    for index in range(out.size):
        value = _between(low[index], high[index], weight)
        if ramp.on:
            value = (value - ramp.low) * ramp.gain
            if value < 0:  # two comparisons, so that NaN stays NaN
                value = np.float32(0)
            elif value > 1:
                value = np.float32(1)
        out[index] = value


@jit
def _resample_slab(
    volume: npt.NDArray[Any], taps: tuple[Taps, Taps, Taps], ramp: Ramp, first: int, last: int, out: Floats
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
                _resample_plane(volume[needed], rows, columns, buffer, target)
                held[slot] = needed
        low, high = resampled[planes.low[plane] % 2], resampled[planes.high[plane] % 2]
        _blend_planes(low, high, planes.weight[plane], ramp, out[plane].reshape(-1))


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
    window: tuple[float, float] | None = None,
    threads: int = 1,
) -> Floats:
    """A volume at another voxel size, by linear interpolation between voxel centres.

    The centre of the first voxel (of the flipped volume) stays where it is, and what lies beyond the last voxel takes
    its value: MONAI's `Spacing` with `padding_mode="border"`. There is no low-pass filter before down-sampling. The
    arithmetic is float32; NaN spreads to the voxels that it has a weight in, and no further.

    Args:
        volume: Shape `(X, Y, Z)`, any real dtype. Any memory order is read as it lies, also through transposed and
            reversed views; only a view with gaps is copied first.
        spacing_mm: Voxel size of `volume`.
        new_spacing_mm: Voxel size wanted.
        new_shape: Shape wanted; `resampled_shape` when not given.
        flips: Axes to reverse before resampling: the result is that for `np.flip(volume, axes)`.
        window: Intensities `(low, high)` that become 0 and 1 after interpolation; those beyond are clipped.
        threads: Threads to share the work; the voxels do not depend on it.

    Returns:
        Float32 volume of the new shape, in the memory order of `volume`.

    Raises:
        DataError: Not a 3-D volume of real numbers with at least one voxel, or a voxel size, shape or window that is
            not positive.

    Example:
        >>> slices = np.array([0, 10, 20], dtype=np.int16).reshape(1, 1, 3)
        >>> resample(slices, (1, 1, 2), new_spacing_mm=(1, 1, 1), window=(0, 40)).ravel().tolist()
        [0.0, 0.125, 0.25, 0.375, 0.5]
    """
    _check(volume, spacing_mm, new_spacing_mm)
    shape = new_shape or resampled_shape(volume.shape, spacing_mm, new_spacing_mm=new_spacing_mm)
    if len(shape) != 3 or min(shape) < 1:
        msg = f"resample: new shape {tuple(shape)} is not three counts of at least 1."
        raise DataError(msg)
    ramp = _ramp(window)
    taps = [
        _taps(volume.shape[axis], shape[axis], step=new_spacing_mm[axis] / spacing_mm[axis], flip=reverse)
        for axis, reverse in enumerate(flip != (stride < 0) for flip, stride in zip(flips, volume.strides, strict=True))
    ]
    # From here on the axes stand in the order in which they lie in memory, slowest first, so that rows are contiguous.
    order = sorted(range(3), key=lambda axis: (volume.shape[axis] == 1, -abs(volume.strides[axis])))
    out = np.empty([shape[axis] for axis in order], dtype=np.float32)
    ordered = (taps[order[0]], taps[order[1]], taps[order[2]])
    _run_slabs(_plain(volume, order), ordered, ramp, out, threads=threads)
    return out.transpose(np.argsort(order))


def _run_slabs(
    volume: npt.NDArray[Any], taps: tuple[Taps, Taps, Taps], ramp: Ramp, out: Floats, *, threads: int
) -> None:
    slabs = max(1, min(threads, out.shape[0]))
    bounds = [out.shape[0] * slab // slabs for slab in range(slabs + 1)]
    if slabs == 1:
        _resample_slab(volume, taps, ramp, 0, out.shape[0], out)
        return
    with ThreadPoolExecutor(slabs) as pool:
        jobs = [pool.submit(_resample_slab, volume, taps, ramp, first, last, out) for first, last in pairwise(bounds)]
        for job in jobs:
            job.result()


def _taps(count: int, new_count: int, *, step: float, flip: bool) -> Taps:
    positions = np.minimum(np.arange(new_count) * step, count - 1.0)
    if flip:
        positions = count - 1.0 - positions
    low = np.floor(positions)
    weight = (positions - low).astype(np.float32)
    return Taps(low.astype(np.uint32), (low + (weight > 0)).clip(max=count - 1).astype(np.uint32), weight)


def _ramp(window: tuple[float, float] | None) -> Ramp:
    if window is None:
        return Ramp(False, np.float32(0), np.float32(1))
    low, high = window
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        msg = f"resample: window ({low}, {high}) is not two intensities, the lower first."
        raise DataError(msg)
    return Ramp(True, np.float32(low), np.float32(1 / (high - low)))


def _plain(volume: npt.NDArray[Any], order: list[int]) -> npt.NDArray[Any]:
    """The same voxels, axes in that order, read forwards, C-contiguous, in a dtype that numba knows."""
    volume = volume[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in volume.strides)]
    if volume.dtype.kind == "b":
        volume = volume.view(np.uint8)
    elif volume.dtype.kind == "f" and volume.dtype.itemsize not in (4, 8):
        volume = volume.astype(np.float32)  # half precision; long doubles lose digits that float32 has no room for
    elif not volume.dtype.isnative:
        volume = volume.astype(volume.dtype.newbyteorder("="))
    volume = np.ascontiguousarray(volume.transpose(order)).view()
    volume.flags.writeable = False  # one compiled kernel for memory maps and for arrays
    return volume


def _check(volume: npt.NDArray[Any], spacing_mm: Triple, new_spacing_mm: Triple) -> None:
    if volume.ndim != 3 or not volume.size or volume.dtype.kind not in "biuf":
        msg = f"resample: {volume.dtype} array of shape {volume.shape} is not a 3-D volume of real numbers."
        raise DataError(msg)
    for name, sizes in (("spacing", spacing_mm), ("new spacing", new_spacing_mm)):
        if len(sizes) != 3 or not all(math.isfinite(size) and size > 0 for size in sizes):
            msg = f"resample: {name} {tuple(sizes)} is not three positive voxel sizes in mm. Mend the scan's header."
            raise DataError(msg)
