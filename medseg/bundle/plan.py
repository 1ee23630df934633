"""Grid, patch, network levels and intensities chosen from a dataset's fingerprint, by rules that can be read here.

The rules are nnU-Net's (Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z); those of grid, levels and
patch are in `plan_grid`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from medseg.bundle.plan_grid import (
    choose_channels,
    choose_levels,
    choose_patch,
    coarse_axis,
    crops_in_a_step,
    memory_gb,
    resampled_shape,
    target_spacing,
)
from medseg.datasets.fingerprint import Fingerprint

# A step of two 96^3 crops of a network with 16 channels: seconds on two cores. nnU-Net plans for 8 GB and 32.
BUDGET_GB, FIRST_CHANNELS = 1.5, 16
_MOST_CROPS = 12
_ZERO_SHARE = 0.25  # nnU-Net crops to what is not zero and normalises by it where that is under three quarters
_ROTATION_RAD = 0.52  # about 30 degrees
_LONG_PATCH = 3.0  # nnU-Net rotates in the plane only, from this ratio of a patch's sides on
# Words for the two ends of left-right, back-front and down-up.
_ENDS = (
    frozenset({"left", "right", "l", "r", "lh", "rh"}),
    frozenset({"anterior", "posterior", "front", "back", "ventral", "dorsal"}),
    frozenset({"superior", "inferior", "upper", "lower", "cranial", "caudal"}),
)
_CT_BELOW = -200.0  # no other modality has air at -1000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a config is filled with.

    Attributes:
        spacing_mm: The network's grid.
        coarse_axis: The axis whose grid is the 10th percentile instead of the median, None without.
        shape_vox: Median scan on that grid.
        roi_size: Training crop and window, in voxels, divisible by the product of the strides.
        batch_size: Crops in a step.
        strides: Of each step down, by axis.
        kernels: Of each level's convolutions, by axis.
        channels: Of each level.
        memory_gb: Estimate for a training step of two crops.
        budget_gb: What that may be.
        intensity: `ct`, `median` or `mean`.
        window: Values that are clipped to, for `ct`.
        crop: Whether there is a zero background to crop.
        mirror_axes: Axes along which training mirrors: none whose two ends the labels tell apart.
        rotation_rad: Largest rotation around each axis.
    """

    spacing_mm: list[float]
    coarse_axis: int | None
    shape_vox: list[int]
    roi_size: list[int]
    batch_size: int
    strides: list[list[int]]
    kernels: list[list[int]]
    channels: list[int]
    memory_gb: float
    budget_gb: float
    intensity: str
    window: tuple[float, float]
    crop: bool
    mirror_axes: tuple[int, ...]
    rotation_rad: list[float]


def make_plan(found: Fingerprint, *, budget_gb: float = BUDGET_GB, first_channels: int = FIRST_CHANNELS) -> Plan:
    """The plan for a dataset.

    Args:
        found: Its fingerprint.
        budget_gb: Memory that a training step of two crops may take, by `plan_grid.memory_gb`.
        first_channels: Of the highest level.
    """
    spacing = target_spacing(found.spacing_mm, fine_spacing_mm=found.fine_spacing_mm, shape_vox=found.shape_vox)
    shape = resampled_shape(found.field_mm, spacing)

    def used_gb(patch: Sequence[int]) -> float:
        levels = choose_levels(patch, spacing)
        channels = choose_channels(levels, first=first_channels)
        return memory_gb(patch, levels, channels=channels, outputs=len(found.labels) + 1)

    roi = choose_patch(
        shape,
        spacing,
        units=lambda patch: choose_levels(patch, spacing).units,
        fits=lambda patch: used_gb(patch) <= budget_gb,
    )
    levels, used = choose_levels(roi, spacing), used_gb(roi)
    voxels = float(found.n_cases * shape[0] * shape[1] * shape[2])
    backgrounds = [values.zero_share > _ZERO_SHARE for values in found.intensities.values()]
    return Plan(
        spacing_mm=spacing,
        coarse_axis=coarse_axis(found.spacing_mm, shape_vox=found.shape_vox),
        shape_vox=shape,
        roi_size=roi,
        batch_size=crops_in_a_step(used, budget_gb=budget_gb, patch=roi, dataset_voxels=voxels, most=_MOST_CROPS),
        strides=[list(stride) for stride in levels.strides],
        kernels=[list(kernel) for kernel in levels.kernels],
        channels=choose_channels(levels, first=first_channels),
        memory_gb=round(used, 2),
        budget_gb=budget_gb,
        intensity=_intensity(found, zero_background=all(backgrounds)),
        window=_window(found),
        crop=all(backgrounds) and not _is_ct(found),
        mirror_axes=_mirror_axes(found),
        rotation_rad=_rotation(roi),
    )


def _rotation(roi: Sequence[int]) -> list[float]:
    """Around every axis, but only around the short one where a side is over three times as long as another."""
    short = min(range(3), key=lambda axis: roi[axis])
    long_patch = max(roi) > _LONG_PATCH * min(roi)
    return [0.0 if long_patch and axis != short else _ROTATION_RAD for axis in range(3)]


def _mirror_axes(found: Fingerprint) -> tuple[int, ...]:
    """The axes whose two ends no label tells apart: a mirrored scan would be labelled wrongly."""
    words = {word for name in found.labels.values() for word in re.split(r"[\W_]+", name.lower())}
    return tuple(axis for axis, ends in enumerate(_ENDS) if not ends & words)


def _is_ct(found: Fingerprint) -> bool:
    return all(name == "ct" or found.intensities[name].lowest < _CT_BELOW for name in found.modalities)


def _intensity(found: Fingerprint, *, zero_background: bool) -> str:
    if _is_ct(found):
        return "ct"
    return "median" if zero_background else "mean"


def _window(found: Fingerprint) -> tuple[float, float]:
    low = min(values.low for values in found.intensities.values())
    high = max(values.high for values in found.intensities.values())
    return round(low, 1), round(max(high, low + 1.0), 1)
