"""Where the lungs are in a CT: air inside the body. No network, no ground truth; enough to drop marks far outside."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medseg.errors import DataError

Mask = npt.NDArray[np.bool_]
Triple = tuple[float, float, float]
AIR_HU = -400.0  # midway between lung and soft tissue; Hu et al. 2001 (doi 10.1109/42.929615) find -400 to -600
CELL_MM = 3.0  # the scan is looked at this coarsely
CLOSE_MM = 10.0  # vessels, and nodules at the wall, up to about twice as wide, become lung
SMALL_SHARE = 0.1  # pockets of air below this share of the largest one are bowel, or gaps in clothing


def lung_mask(
    volume: npt.NDArray[Any], spacing_mm: Triple, *, margin_mm: float = 5.0, air_below: float = AIR_HU
) -> Mask:
    """The lungs, trachea and what they enclose, with a margin.

    Air that does not reach the scan's sides in x or y, without small pockets; gaps closed, holes
    filled, and widened by the margin. It is computed on cells of about 3 mm.

    Args:
        volume: CT in HU, shape `(X, Y, Z)`; z from feet to head or back.
        spacing_mm: Voxel size.
        margin_mm: Width of the rim around the lungs that still counts.
        air_below: Intensity under which a voxel is air, for a CT in another unit than HU.

    Returns:
        Mask of the same shape; all False where no lung is found, as in a scan cut so close that the lungs reach its
        sides.

    Raises:
        DataError: Not a 3-D volume, a voxel size that is not positive, or a negative margin.
    """
    if volume.ndim != 3 or not all(math.isfinite(size) and size > 0 for size in spacing_mm) or margin_mm < 0:
        msg = f"lung_mask: volume of shape {volume.shape}, spacing {spacing_mm} mm, margin {margin_mm} mm."
        raise DataError(msg)
    steps = [max(1, int(CELL_MM // size)) for size in spacing_mm]
    cell_mm = tuple(step * size for step, size in zip(steps, spacing_mm, strict=True))
    coarse = _inner_air(volume[:: steps[0], :: steps[1], :: steps[2]] < air_below)
    if coarse.any():
        coarse = _wider(_filled(_closed(coarse, cell_mm)), cell_mm, by_mm=margin_mm)
    for axis, step in enumerate(steps):
        coarse = np.take(coarse, np.arange(volume.shape[axis]) // step, axis=axis)
    return coarse


def _inner_air(air: Mask) -> Mask:
    """Components of air, faces touching, that do not reach the sides, without the small ones."""
    parts, count = ndimage.label(air)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sides = (parts[0], parts[-1], parts[:, 0], parts[:, -1])
    sizes[np.unique(np.concatenate([side.ravel() for side in sides]))] = 0
    sizes[0] = 0
    large = (sizes > 0) & (sizes >= SMALL_SHARE * sizes.max())
    return np.asarray(large[parts])


def _wider(mask: Mask, cell_mm: tuple[float, ...], *, by_mm: float) -> Mask:
    """All cells within this distance of the mask."""
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=cell_mm) <= by_mm)


def _closed(mask: Mask, cell_mm: tuple[float, ...]) -> Mask:
    """Widened and narrowed again; beyond the scan the lung is taken to go on."""
    around = [math.ceil(CLOSE_MM / size) + 1 for size in cell_mm]
    padded = np.pad(mask, [(width, width) for width in around])
    wide = _wider(padded, cell_mm, by_mm=CLOSE_MM)
    closed = ndimage.distance_transform_edt(wide, sampling=cell_mm) > CLOSE_MM
    inner = tuple(slice(width, -width) for width in around)
    return np.asarray(closed[inner]) | mask


def _filled(mask: Mask) -> Mask:
    """Without holes, slice by slice across the body."""
    planes = [ndimage.binary_fill_holes(mask[..., z]) for z in range(mask.shape[2])]
    return np.stack(planes, axis=2)
