"""Normalisation of intensities, as the transforms of the same purpose in MONAI and medseg do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def by_median(image: Floats) -> Floats:
    """Median and standard deviation of the non-zero voxels of each channel, as `NormalizeByMediand`."""
    result = image.copy()
    for channel in result:
        tissue = channel != 0
        values = channel[tissue]
        if values.size:
            # torch's median is the lower of the two in the middle.
            middle = np.partition(values, (values.size - 1) // 2)[(values.size - 1) // 2]
            channel[tissue] = (values - middle) / (_spread(values) or 1.0)
    return result


def by_mean(image: Floats, *, nonzero: bool, channel_wise: bool) -> Floats:
    """Mean and standard deviation, as MONAI's `NormalizeIntensity`."""
    result = image.copy()
    for part in result if channel_wise else [result]:
        chosen = part != 0 if nonzero else np.ones(part.shape, dtype=bool)
        values = part[chosen]
        if values.size:
            mean = float(values.mean(dtype=np.float64))
            part[chosen] = (values - np.float32(mean)) / np.float32(_spread(values) or 1.0)
    return result


def by_range(image: Floats, *, a_min: float, a_max: float, b_min: float, b_max: float, clip: bool) -> Floats:
    """A window of values onto another one, as MONAI's `ScaleIntensityRange`.

    >>> image = np.array([[[[-100.0, 0.0, 300.0]]]], np.float32)
    >>> by_range(image, a_min=-100, a_max=100, b_min=0, b_max=1, clip=True).tolist()
    [[[[0.0, 0.5, 1.0]]]]
    """
    scaled = (image - np.float32(a_min)) / np.float32(a_max - a_min) * np.float32(b_max - b_min) + np.float32(b_min)
    return np.clip(scaled, b_min, b_max) if clip else scaled


NORMALISERS: dict[str, Callable[..., Floats]] = {"median": by_median, "mean": by_mean, "range": by_range}


def normalise(image: Floats, step: Mapping[str, Any]) -> Floats:
    """One step of the pipeline: `how` names the normaliser, the rest are its arguments."""
    return NORMALISERS[step["how"]](image, **{key: value for key, value in step.items() if key != "how"})


def _spread(values: Floats) -> float:
    return float(values.std(dtype=np.float64))
