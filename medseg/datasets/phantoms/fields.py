"""Random numbers and smooth random fields with the same bits on every machine.

Only operations that IEEE 754 rounds exactly are used: integers, and + - * / sqrt on float64, element by element. No
exp, sin or log (each libm rounds its own way), no matrix product, no floating-point sum (SIMD changes their order).
The raw stream of PCG64 is the part of NumPy's random module that is frozen (NEP 19).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float64]

_NOISE_SD = 37837.2  # of the sum of four uniform 16-bit integers: 65536 * sqrt(4 / 12)


class Draws:
    """A stream of random numbers, one for each purpose, so that a change in one part of a phantom leaves the rest."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(list(key)))

    def uniform(self, low: float, high: float) -> float:
        """A number from `[low, high)`."""
        return low + (int(self._bits.random_raw()) >> 11) * 2.0**-53 * (high - low)

    def whole(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included."""
        return low + int(self._bits.random_raw()) % (high - low + 1)

    def sign(self) -> float:
        """Either -1 or 1."""
        return 1.0 if self.whole(0, 1) else -1.0

    def noise(self, shape: Sequence[int]) -> Field:
        """Independent numbers of mean 0 and SD 1, nearly Gaussian: the sum of four uniform integers each."""
        raw = self._raw(shape)
        total = sum(((raw >> np.uint64(16 * i)) & np.uint64(0xFFFF)).astype(np.int64) for i in range(4))
        return (np.asarray(total, dtype=np.int64) - 131070).astype(np.float64) / _NOISE_SD

    def smooth(self, shape: Sequence[int], cell_vox: Sequence[float]) -> Field:
        """Smooth noise between -1 and 1: random values on a coarse grid, interpolated (value noise, Perlin 1985)."""
        coarse_shape = [int(size / cell) + 3 for size, cell in zip(shape, cell_vox, strict=True)]
        field = (self._raw(coarse_shape) >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0
        for axis, (size, cell) in enumerate(zip(shape, cell_vox, strict=True)):
            field = _interpolate(field, axis, np.arange(size) / cell + self.uniform(0.0, 1.0))
        return field

    def _raw(self, shape: Sequence[int]) -> npt.NDArray[np.uint64]:
        count = 1
        for size in shape:
            count *= int(size)
        return np.asarray(self._bits.random_raw(count), dtype=np.uint64).reshape(tuple(shape))


def ramp(values: Field) -> Field:
    """The values limited to 0 to 1."""
    return np.minimum(np.maximum(values, 0.0), 1.0)


def blur(field: Field) -> Field:
    """Weights 1 2 1 along each axis: the point spread of the scanner."""
    for axis in range(field.ndim):
        before = np.concatenate([field.take([0], axis), field], axis).take(range(field.shape[axis]), axis)
        after = np.concatenate([field, field.take([-1], axis)], axis).take(range(1, field.shape[axis] + 1), axis)
        field = (before + after) * 0.25 + field * 0.5
    return field


def _interpolate(field: Field, axis: int, position: Field) -> Field:
    below = position.astype(np.int64)
    t = position - below
    # Perlin's fade: no kinks at the coarse grid's planes.
    t = (t * t * (3.0 - 2.0 * t)).reshape([-1 if i == axis else 1 for i in range(field.ndim)])
    low, high = field.take(below, axis), field.take(below + 1, axis)
    return low + (high - low) * t
