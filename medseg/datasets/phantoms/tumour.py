"""A glioma: enhancing rim around necrosis, non-enhancing parts, oedema that spreads through white matter."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from medseg.datasets.phantoms.anatomy import Brain, Mask, Tissue
from medseg.datasets.phantoms.fields import Draws, Field, ramp


@dataclass(frozen=True)
class Tumour:
    """The parts of a tumour, which do not overlap.

    Attributes:
        oedema: Oedema without the core.
        necrosis: Dead tissue within the rim.
        solid: Non-enhancing tumour.
        enhancing: Enhancing tumour.
        oedema_share: How much of a voxel's signal is oedema, 0 to 1; fades at the margin.
    """

    oedema: Mask
    necrosis: Mask
    solid: Mask
    enhancing: Mask
    oedema_share: Field


def make_tumour(brain: Brain, draws: Draws) -> Tumour:
    """A tumour of varied size, place, shape and composition; each part but the solid one is never empty."""
    grid = brain.grid
    radius_mm = draws.uniform(19.0, 36.0)
    centre = _centre(brain, draws, radius_mm)
    core_mm = max(12.0, radius_mm * draws.uniform(0.48, 0.70))
    rough = draws.smooth(grid.shape, grid.cells(16.0)) + 0.5 * draws.smooth(grid.shape, grid.cells(7.0))
    spread = _distance(brain, draws, centre) - 6.0 * rough
    shift = tuple(c + draws.uniform(-0.25, 0.25) * (radius_mm - core_mm) for c in centre)
    inner = _distance(brain, draws, (shift[0], shift[1], shift[2])) + 0.22 * core_mm * rough
    tissue = brain.mask & (brain.depth_mm > 1.0)

    core = tissue & (inner < core_mm)
    # Oedema follows white matter, and hardly enters fluid, cortex and nuclei.
    barrier = np.where(brain.tissue == Tissue.WHITE, 0.0, np.where(brain.tissue == Tissue.NUCLEI, 5.0, 8.0))
    margin = radius_mm - spread - barrier
    spreads = tissue & ((brain.tissue != Tissue.FLUID) | (inner < core_mm + 2.0)) & (brain.ventricle > 1.0)
    share = np.where(spreads, ramp(margin / 5.0 + 0.5), 0.0)
    whole = core | (share > 0.5)

    rim_mm = core_mm * draws.uniform(0.30, 0.50)
    texture = draws.smooth(grid.shape, grid.cells(9.0))
    necrosis = core & (inner + 2.5 * texture < core_mm - rim_mm)
    solid = core & ~necrosis & _sector(brain, draws, centre, texture)
    return Tumour(whole & ~core, necrosis, solid, core & ~necrosis & ~solid, share)


def _centre(brain: Brain, draws: Draws, radius_mm: float) -> tuple[float, float, float]:
    """A place in white matter, not too near the surface for a tumour of that size."""
    coordinates = [axis.ravel() for axis in brain.grid.coordinates_mm]
    wanted_mm = min(11.0 + 0.35 * radius_mm, 24.0)
    best: tuple[float, tuple[int, ...]] = (-1e9, (0, 0, 0))
    for _ in range(200):
        place = tuple(draws.whole(0, size - 1) for size in brain.grid.shape)
        depth = float(brain.depth_mm[place])
        if brain.tissue[place] == Tissue.WHITE and brain.ventricle[place] > 1.5 and wanted_mm < depth < 42.0:
            best = (0.0, place)
            break
        best = max(best, (-abs(depth - 28.0), place))
    x, y, z = (float(axis[i]) for axis, i in zip(coordinates, best[1], strict=True))
    return (x, y, z)


def _distance(brain: Brain, draws: Draws, centre: tuple[float, float, float]) -> Field:
    """Distance in mm from the centre, stretched in a random direction."""
    x, y, z = (axis - c for axis, c in zip(brain.grid.coordinates_mm, centre, strict=True))
    a, b, c = (draws.uniform(0.8, 1.2) for _ in range(3))
    skew, tilt = draws.uniform(-0.35, 0.35), draws.uniform(-0.35, 0.35)
    u, v, w = x * a + skew * y, y * b + tilt * z, z * c
    return np.sqrt(u * u + v * v + w * w)


def _sector(brain: Brain, draws: Draws, centre: tuple[float, float, float], texture: Field) -> Mask:
    """The side of the core that does not enhance: none in some tumours, up to a third in others."""
    x, y, z = (axis - c for axis, c in zip(brain.grid.coordinates_mm, centre, strict=True))
    a, b, c = (draws.uniform(-1.0, 1.0) for _ in range(3))
    length = max(math.sqrt(a * a + b * b + c * c), 0.1)
    along = (x * a + y * b + z * c) / length
    return np.asarray(along + 4.0 * texture > draws.uniform(4.0, 22.0))
