"""Grid, levels and patch of a network, from the numbers of a dataset: pure functions, no files.

The rules are those of nnU-Net's planner (Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z, and
https://github.com/MIC-DKFZ/nnUNet, `default_experiment_planner.py` and `network_topology.py`), written anew. With 8 GB
and 32 channels they give the published patches of MSD; the tests hold them to that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LEAST_SIDE = 4  # voxels that an axis keeps at the lowest level; so it has 4 to 7 there
ANISOTROPY = 3.0  # from this ratio of voxel sizes on, and of numbers of voxels, an axis is coarse
_FIRST_SIDE = 256  # voxels: the patch that is cut down has the volume of this cube
# nnU-Net: a plain U-Net with this many values in its feature maps, two crops in a step, takes 8 GB.
_REFERENCE_VALUES, _REFERENCE_GB, _REFERENCE_CROPS = 560e6, 8.0, 2

Sizes = Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Levels:
    """How a network goes down.

    Attributes:
        strides: Of each step down, by axis.
        kernels: Of each level's convolutions, by axis; one more than there are steps.
    """

    strides: tuple[tuple[int, int, int], ...]
    kernels: tuple[tuple[int, int, int], ...]

    @property
    def units(self) -> tuple[int, int, int]:
        """What each side of a patch must be a multiple of."""
        x, y, z = (math.prod(stride[axis] for stride in self.strides) for axis in range(3))
        return (x, y, z)


def target_spacing(spacing_mm: Sizes, *, fine_spacing_mm: Sizes, shape_vox: Sizes) -> list[float]:
    """The median voxel size; of a coarse axis the 10th percentile, but no finer than the next coarsest axis.

    The axis with the largest voxels is coarse when they are over three times as large as those of any other axis, and
    it has less than a third of the voxels of any other: the median of thick slices would blur the thin ones.

    Args:
        spacing_mm: Median voxel size of the cases.
        fine_spacing_mm: Its 10th percentile.
        shape_vox: Median number of voxels.

    >>> target_spacing([0.79, 0.79, 5.0], fine_spacing_mm=[0.7, 0.7, 1.6], shape_vox=[512, 512, 90])
    [0.79, 0.79, 1.6]
    """
    chosen = list(spacing_mm)
    axis = coarse_axis(spacing_mm, shape_vox=shape_vox)
    if axis is not None:
        others = [width for number, width in enumerate(spacing_mm) if number != axis]
        chosen[axis] = max(fine_spacing_mm[axis], *others)
    return [round(width, 3) for width in chosen]


def coarse_axis(spacing_mm: Sizes, *, shape_vox: Sizes) -> int | None:
    """The axis along which the scans are thick, None when there is none.

    >>> coarse_axis([0.62, 0.62, 3.6], shape_vox=[320, 320, 20]), coarse_axis([1, 1, 1], shape_vox=[240, 240, 155])
    (2, None)
    """
    worst = max(range(3), key=lambda axis: spacing_mm[axis])
    others = [axis for axis in range(3) if axis != worst]
    thick = spacing_mm[worst] > ANISOTROPY * max(spacing_mm[axis] for axis in others)
    few = shape_vox[worst] * ANISOTROPY < min(shape_vox[axis] for axis in others)
    return worst if thick and few else None


def resampled_shape(field_mm: Sizes, spacing_mm: Sizes) -> list[int]:
    """Voxels of a scan of that size on a grid.

    >>> resampled_shape([404.5, 404.5, 299.2], [0.79, 0.79, 1.6])
    [512, 512, 187]
    """
    return [max(1, round(size / width)) for size, width in zip(field_mm, spacing_mm, strict=True)]


def choose_levels(patch: Sequence[int], spacing_mm: Sizes) -> Levels:
    """Halve, level by level, every axis that has 8 voxels left and is less than twice as coarse as the finest of those.

    It ends when no axis has 8 voxels, or the only one that may be halved has fewer than 12. A convolution spans 3
    voxels along an axis from the level on at which that axis is less than twice as coarse as the finest, and 1 before.

    >>> choose_levels([40, 56, 40], [1.0, 1.0, 1.0]).strides
    ((2, 2, 2), (2, 2, 2), (2, 2, 2))
    >>> choose_levels([64, 64, 16], [1.0, 1.0, 4.0]).units
    (16, 16, 4)
    """
    sizes, widths = [math.ceil(size) for size in patch], list(spacing_mm)
    strides: list[tuple[int, int, int]] = []
    kernels: list[tuple[int, int, int]] = []
    kernel = [1, 1, 1]
    while halved := _halved(sizes, widths):
        kernel = [3 if width < 2 * min(widths) else old for width, old in zip(widths, kernel, strict=True)]
        kernels.append((kernel[0], kernel[1], kernel[2]))
        stride = [2 if axis in halved else 1 for axis in range(3)]
        sizes = [-(-size // step) for size, step in zip(sizes, stride, strict=True)]
        widths = [width * step for width, step in zip(widths, stride, strict=True)]
        strides.append((stride[0], stride[1], stride[2]))
    # One level at least, so that there is a network; its patch is padded.
    return Levels(strides=tuple(strides) or ((2, 2, 2),), kernels=(*(kernels or [(3, 3, 3)]), (3, 3, 3)))


def _halved(sizes: Sequence[int], widths: Sizes) -> list[int]:
    long_enough = [axis for axis in range(3) if sizes[axis] >= 2 * LEAST_SIDE]
    finest = min((widths[axis] for axis in long_enough), default=0.0)
    axes = [axis for axis in long_enough if widths[axis] < 2 * finest]
    return [] if len(axes) == 1 and sizes[axes[0]] < 3 * LEAST_SIDE else axes


def memory_gb(patch: Sequence[int], levels: Levels, *, channels: Sequence[int], outputs: int) -> float:
    """Roughly what a training step of two crops takes on a GPU, by nnU-Net's estimate.

    It counts the values in the feature maps of a plain U-Net: two convolutions a level on the way down, and on the way
    up two, the enlarged map and the output of every level.

    Args:
        patch: Voxels.
        levels: Of the network.
        channels: Of each level.
        outputs: Channels of the output, the background counted.
    """
    values, voxels = 0.0, float(math.prod(patch))
    for level, width in enumerate(channels):
        if level:
            voxels /= math.prod(levels.strides[level - 1])
        lowest = level == len(channels) - 1
        values += voxels * (2 * width if lowest else 5 * width + outputs)
    return values * _REFERENCE_GB / _REFERENCE_VALUES


def choose_channels(levels: Levels, *, first: int) -> list[int]:
    """Doubled from level to level, up to ten times the first, as nnU-Net's go from 32 to 320.

    >>> choose_channels(choose_levels([128, 128, 128], [1, 1, 1]), first=32)
    [32, 64, 128, 256, 320, 320]
    """
    return [min(first * 2**level, 10 * first) for level in range(len(levels.strides) + 1)]


def first_patch(shape_vox: Sizes, spacing_mm: Sizes) -> list[int]:
    """A patch as long in mm along each axis, with the voxels of a cube of 256, but no longer than the scan.

    >>> first_patch([512, 512, 187], [0.79, 0.79, 1.6])
    [324, 324, 160]
    """
    side_mm = _FIRST_SIDE * math.prod(spacing_mm) ** (1 / 3)
    return [max(1, min(round(side_mm / width), round(n))) for n, width in zip(shape_vox, spacing_mm, strict=True)]


def choose_patch(
    shape_vox: Sizes,
    spacing_mm: Sizes,
    *,
    units: Callable[[Sequence[int]], Sequence[int]],
    fits: Callable[[Sequence[int]], bool],
) -> list[int]:
    """The largest patch that fits: `first_patch`, cut along whichever axis it covers the largest share of.

    Args:
        shape_vox: Median number of voxels on the network's grid.
        spacing_mm: That grid.
        units: For a patch, what its sides must be multiples of.
        fits: Whether a patch is small enough.

    >>> choose_patch([200, 200, 100], [1, 1, 2], units=lambda _: [16, 16, 8], fits=lambda p: math.prod(p) <= 96**3)
    [112, 112, 64]
    """
    patch = _padded(first_patch(shape_vox, spacing_mm), units)
    while not fits(patch):
        shares = [size / whole for size, whole in zip(patch, shape_vox, strict=True)]
        for axis in sorted(range(3), key=lambda number: -shares[number]):
            smaller = _cut(patch, axis, units)
            if smaller is not None:
                break
        else:
            return patch
        patch = smaller
    return patch


def _cut(patch: Sequence[int], axis: int, units: Callable[[Sequence[int]], Sequence[int]]) -> list[int] | None:
    """The patch, shorter by the least step along the axis: that of the network that the shorter patch gets."""
    shorter = list(patch)
    shorter[axis] -= units(patch)[axis]
    if shorter[axis] < 1:
        return None
    step = units(shorter)[axis]
    shorter[axis] = patch[axis] - step
    padded = _padded(shorter, units)
    return padded if math.prod(padded) < math.prod(patch) else None


def _padded(patch: Sequence[int], units: Callable[[Sequence[int]], Sequence[int]]) -> list[int]:
    return [-(-size // unit) * unit for size, unit in zip(patch, units(patch), strict=True)]


def crops_in_a_step(used_gb: float, *, budget_gb: float, patch: Sequence[int], dataset_voxels: float, most: int) -> int:
    """As many as the memory holds, no more than 5 % of the dataset's voxels, 2 at least.

    >>> crops_in_a_step(0.4, budget_gb=8, patch=[40, 56, 40], dataset_voxels=260 * 36 * 50 * 35, most=99)
    9
    """
    by_memory = round(budget_gb / used_gb * _REFERENCE_CROPS)
    by_data = round(0.05 * dataset_voxels / math.prod(patch))
    return max(2, min(by_memory, by_data, most))
