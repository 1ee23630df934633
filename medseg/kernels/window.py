"""An intensity window inside a compiled loop."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from medseg.errors import DataError
from medseg.kernels.jit import jit


class Ramp(NamedTuple):
    """`(value - low) * gain`, clipped to 0 to 1; nothing at all when it is off."""

    on: bool
    low: np.float32
    gain: np.float32


def ramp_of(window: tuple[float, float] | None) -> Ramp:
    """The ramp that takes the window's ends to 0 and 1.

    Raises:
        DataError: The window is not two finite intensities, the lower first.

    Example:
        >>> float(windowed(np.float32(0), ramp_of((-100, 300))))
        0.25
    """
    if window is None:
        return Ramp(False, np.float32(0), np.float32(1))
    low, high = window
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        msg = f"intensity window ({low}, {high}) is not two intensities, the lower first."
        raise DataError(msg)
    return Ramp(True, np.float32(low), np.float32(1 / (high - low)))


@jit
def windowed(value: np.float32, ramp: Ramp) -> np.float32:
    """The value on the ramp; NaN stays NaN."""
    if ramp.on:
        value = (value - ramp.low) * ramp.gain
        if value < 0:  # two comparisons: min and max would make a number of NaN
            value = np.float32(0)
        elif value > 1:
            value = np.float32(1)
    return value
