"""Grid, patch and network levels chosen from a dataset's fingerprint, by rules that can be read here.

The rules are those of nnU-Net (Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z) in a simpler form.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from medseg.datasets.fingerprint import Fingerprint

# Voxels in a patch: a step of two such crops takes seconds on two cores and fits into 8 GB.
MOST_VOXELS = 96**3
_MOST_LEVELS = 4
_LEAST_SIZE = 4  # voxels that an axis keeps at the lowest level
_ANISOTROPIC = 3.0  # ratio of voxel sizes from which the coarse axis is resampled to the finer tenth of the cases
_FIRST_CHANNELS, _MOST_CHANNELS = 16, 256
_MOST_CROPS = 12
# Words for the two ends of left-right, back-front and down-up.
_ENDS = (
    frozenset({"left", "right", "l", "r", "lh", "rh"}),
    frozenset({"anterior", "posterior", "front", "back", "ventral", "dorsal"}),
    frozenset({"superior", "inferior", "upper", "lower", "cranial", "caudal"}),
)
_CT_BELOW = -200.0  # no other modality has air at -1000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a new bundle's config is filled with.

    Attributes:
        spacing_mm: The network's grid.
        roi_size: Training crop and window, in voxels, divisible by the product of the strides.
        batch_size: Crops in a step.
        strides: Of each level, by axis.
        channels: Of each level.
        intensity: `ct`, `median` or `mean`.
        window: Values that are clipped to, for `ct`.
        crop: Whether there is a zero background to crop.
        mirror_axes: Axes along which training mirrors: none whose two ends the labels tell apart.
    """

    spacing_mm: list[float]
    roi_size: list[int]
    batch_size: int
    strides: list[list[int]]
    channels: list[int]
    intensity: str
    window: tuple[float, float]
    crop: bool
    mirror_axes: tuple[int, ...]


def make_plan(found: Fingerprint) -> Plan:
    """The plan for a dataset."""
    spacing = target_spacing(found)
    shape = [size * old / new for size, old, new in zip(found.shape_vox, found.spacing_mm, spacing, strict=True)]
    roi = largest_patch(shape, spacing)
    strides = choose_strides(roi, spacing)
    backgrounds = [values.zero_share > 0.2 for values in found.intensities.values()]
    roi = fitted(roi, shape=shape, strides=strides)
    return Plan(
        spacing_mm=spacing,
        roi_size=roi,
        batch_size=crops_in_a_step(roi),
        strides=strides,
        channels=[min(_FIRST_CHANNELS * 2**level, _MOST_CHANNELS) for level in range(len(strides) + 1)],
        intensity=_intensity(found, zero_background=all(backgrounds)),
        window=_window(found),
        crop=all(backgrounds) and not _is_ct(found),
        mirror_axes=_mirror_axes(found),
    )


def target_spacing(found: Fingerprint) -> list[float]:
    """The median voxel size; for an axis that is three times as coarse as the finest, the 10th percentile.

    That is nnU-Net's rule for anisotropic data: interpolating thick slices to the median would blur the thin ones.
    """
    finest = min(found.spacing_mm)
    chosen = [
        min(median, max(fine, finest)) if median / finest >= _ANISOTROPIC else median
        for median, fine in zip(found.spacing_mm, found.fine_spacing_mm, strict=True)
    ]
    return [round(value, 3) for value in chosen]


def largest_patch(shape: Sequence[float], spacing_mm: Sequence[float], *, most_voxels: int = MOST_VOXELS) -> list[int]:
    """The median image, shortened along whichever side is the longest in mm until it is small enough.

    >>> largest_patch([200, 200, 100], [1.0, 1.0, 2.0])
    [121, 121, 60]
    """
    roi = [max(1, round(size)) for size in shape]
    while roi[0] * roi[1] * roi[2] > most_voxels:
        sides = [size * width for size, width in zip(roi, spacing_mm, strict=True)]
        # Of sides within a voxel of the longest, the one with the most voxels.
        longest = max(range(3), key=lambda axis: (round(sides[axis] / max(spacing_mm)), roi[axis]))
        roi[longest] -= 1
    return roi


def choose_strides(roi: Sequence[int], spacing_mm: Sequence[float]) -> list[list[int]]:
    """Halve an axis at each level while 4 voxels are left and it is no more than twice as fine as the coarsest one.

    >>> choose_strides([40, 56, 40], [1.0, 1.0, 1.0])
    [[2, 2, 2], [2, 2, 2], [2, 2, 2]]
    >>> choose_strides([64, 64, 16], [1.0, 1.0, 4.0])
    [[2, 2, 1], [2, 2, 1], [2, 2, 2], [2, 2, 2]]
    """
    sizes, widths, strides = [float(size) for size in roi], list(spacing_mm), []
    for _ in range(_MOST_LEVELS):
        finest = min(widths)
        can = [size / 2 >= _LEAST_SIZE for size in sizes]
        halved = [fits and width < 2 * finest for fits, width in zip(can, widths, strict=True)]
        if not any(halved):
            # The finest axis is exhausted: go on with the others.
            halved = can
        if not any(halved):
            break
        stride = [2 if yes else 1 for yes in halved]
        sizes = [size / step for size, step in zip(sizes, stride, strict=True)]
        widths = [width * step for width, step in zip(widths, stride, strict=True)]
        strides.append(stride)
    return strides or [[1, 1, 1]]


def fitted(roi: Sequence[int], *, shape: Sequence[float], strides: Sequence[Sequence[int]]) -> list[int]:
    """The patch in multiples of the strides' product: up where it spans the image, so that one window does, else down.

    >>> fitted([35, 51, 91], shape=[35, 51, 200], strides=[[2, 2, 2], [2, 2, 2], [2, 2, 2]])
    [40, 56, 88]
    """
    sizes = []
    for axis, size in enumerate(roi):
        unit = 1
        for stride in strides:
            unit *= stride[axis]
        spans = size >= round(shape[axis])
        sizes.append(max(unit, (-(-size // unit) if spans else size // unit) * unit))
    return sizes


def crops_in_a_step(roi: Sequence[int]) -> int:
    """As many as hold the voxels of one large patch together, 2 to 12: gradients of few small crops are noise.

    >>> crops_in_a_step([96, 96, 96]), crops_in_a_step([40, 56, 40])
    (2, 9)
    """
    return min(max(MOST_VOXELS // (roi[0] * roi[1] * roi[2]), 2), _MOST_CROPS)


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
