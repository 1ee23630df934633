"""A plan in words and as overrides of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from medseg.bundle.plan import Plan
from medseg.bundle.plan_grid import ANISOTROPY, LEAST_SIDE
from medseg.datasets.fingerprint import Fingerprint
from medseg.labels import Declared, get_convention

AXES = ("left-right", "back-front", "down-up")
_INTENSITY = {
    "ct": "CT: clipped to the 0.5th and 99.5th percentile inside the labels",
    "median": "a zero background of a quarter or more: median and deviation of the rest",
    "mean": "mean and deviation of each channel",
}
# What a bundle that takes a plan calls the component for each kind of intensity.
_COMPONENT = {"ct": "@clip_ct", "median": "@normalize_by_median", "mean": "@normalize_by_mean"}


def fingerprint_lines(found: Fingerprint) -> list[str]:
    """The fingerprint, a line for each fact."""
    lines = [
        f"cases       {found.n_cases} with labels, {found.n_read} of them read",
        f"shape       {times(found.shape_vox)} voxels, median; axes are {', '.join(AXES)}",
        f"spacing     {times(found.spacing_mm)} mm, median; 10th percentile {times(found.fine_spacing_mm)}",
        f"scan        {times(found.field_mm)} mm, median",
        f"labels      {', '.join(f'{value} {name}' for value, name in found.labels.items())}; "
        f"they span {times(found.extent_mm)} mm",
    ]
    for name, values in found.intensities.items():
        lines.append(
            f"{name:<11} inside the labels 0.5 % {values.low:.4g}, median {values.middle:.4g}, "
            f"99.5 % {values.high:.4g}; {values.zero_share:.0%} of all voxels are 0"
        )
    return lines


def reasons(plan: Plan, found: Fingerprint) -> dict[str, str]:
    """By the key of the config, why it has its value."""
    levels = len(plan.strides)
    return {
        "modalities": "channels, in this order",
        "label_convention": "label values of each region",
        "regions": "output channels",
        "spacing_mm": grid_text(plan)[:1].lower() + grid_text(plan)[1:].rstrip("."),
        "roi_size": f"of a median scan of {times(plan.shape_vox)}; {budget_text(plan)}",
        "batch_size": "what the memory holds, at most 5 % of the data's voxels and 12; 2 at least",
        "channels": "doubled at each level",
        "strides": f"{levels} steps down; an axis is halved while {LEAST_SIDE} voxels are left and it is not coarse",
        "kernel_sizes": "1 along an axis that is still twice as coarse as the finest",
        "intensity_transforms": _INTENSITY[plan.intensity],
        "intensity_range": f"of {', '.join(found.modalities)}",
        "crop_background": "whether zeros around the scan are cut off",
        "mirror_axes": "none whose two ends the labels' names tell apart",
        "rotation_rad": "around each axis; only in the plane for a flat patch",
    }


def plan_values(plan: Plan, found: Fingerprint, *, convention: Declared) -> dict[str, Any]:
    """The plan as top-level keys of a bundle that takes one, such as `msd_organ_segmentation`."""
    values: dict[str, Any] = {
        "modalities": list(found.modalities),
        "label_convention": dict(convention) if isinstance(convention, Mapping) else convention,
        "regions": list(get_convention(convention).regions),
        "spacing_mm": plan.spacing_mm,
        "roi_size": plan.roi_size,
        "batch_size": plan.batch_size,
        "channels": plan.channels,
        "strides": plan.strides,
        "kernel_sizes": plan.kernels,
        "intensity_transforms": [_COMPONENT[plan.intensity]],
        "crop_background": plan.crop,
        "mirror_axes": list(plan.mirror_axes),
        "rotation_rad": plan.rotation_rad,
    }
    return values | ({"intensity_range": list(plan.window)} if plan.intensity == "ct" else {})


def plan_yaml(values: Mapping[str, Any], why: Mapping[str, str], *, title: str) -> str:
    """Keys, values and reasons as a file of overrides."""
    lines = [f"# {title}"]
    for key, value in values.items():
        lines.append(f"{key}: {flow(value)}  # {why[key]}")
    return "\n".join(lines) + "\n"


def grid_text(plan: Plan) -> str:
    """Where the grid comes from."""
    if plan.coarse_axis is None:
        return "The grid is the median voxel size."
    return (
        f"The grid is the median voxel size, but along {AXES[plan.coarse_axis]} the 10th percentile: voxels are over "
        f"{ANISOTROPY:g} times as long there, and under a third as many."
    )


def budget_text(plan: Plan) -> str:
    """What the patch was fitted to."""
    return (
        f"a training step of two fits into {plan.budget_gb:g} GB by nnU-Net's estimate for {plan.channels[0]} channels "
        f"({plan.memory_gb:.2g} GB here)"
    )


def flow(value: Any) -> str:
    """The value as one line of YAML.

    >>> flow({"a": [1, 2.5]})
    '{a: [1, 2.5]}'
    """
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def times(values: Any) -> str:
    """Numbers with crosses between.

    >>> times([0.79, 0.79, 5])
    '0.79 x 0.79 x 5'
    """
    return " x ".join(f"{value:.3g}" for value in values)
