"""Nodules in the lungs of a phantom, and the marks of readers on what is none."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medseg.datasets.phantoms.anatomy import Mask
from medseg.datasets.phantoms.ct_grid import CtGrid
from medseg.datasets.phantoms.fields import Draws, Field, ramp
from medseg.datasets.phantoms.thorax import Thorax

Position = tuple[float, float, float]

SMALLEST_MM, LARGEST_MM = 3.0, 30.0
# Share of nodules up to each diameter in mm: rounded quantiles of the 1186 in LUNA16's annotations.csv
# (https://doi.org/10.1016/j.media.2017.06.015).
_DIAMETERS_MM = (
    (0.0, SMALLEST_MM),
    (0.05, 4.1),
    (0.25, 5.1),
    (0.5, 6.4),
    (0.75, 9.7),
    (0.9, 15.5),
    (0.97, 21.0),
    (1.0, LARGEST_MM),
)
_TRIES = 400


@dataclass(frozen=True)
class Mark:
    """A finding.

    Attributes:
        centre_vox: Its centre; whole numbers are voxel centres.
        diameter_mm: Its diameter; None for a mark on what is no nodule.
        level_hu: Density of its middle; 0 without a nodule.
    """

    centre_vox: Position
    diameter_mm: float | None
    level_hu: float = 0.0


def place_nodules(grid: CtGrid, thorax: Thorax, draws: Draws, *, count: int) -> list[Mark]:
    """Up to `count` nodules of 3 to 30 mm that do not touch each other, large ones first.

    Most are solid, some are ground glass or calcified; some lean on the pleura or on a vessel.
    """
    sizes = sorted((diameter_at(draws.uniform(0.0, 1.0)) for _ in range(count)), reverse=True)
    placed: list[Mark] = []
    for diameter_mm in sizes:
        centre = _place(grid, thorax, draws, diameter_mm, placed)
        if centre:
            placed.append(Mark(centre, diameter_mm, _level_hu(draws, diameter_mm)))
    return placed


def place_excluded(grid: CtGrid, thorax: Thorax, draws: Draws, nodules: list[Mark]) -> list[Mark]:
    """What readers marked and LUNA16 leaves out: nodules under 3 mm, and vessels taken for nodules."""
    marks: list[Mark] = []
    for _ in range(draws.whole(0, 3)):
        diameter_mm = draws.uniform(1.5, 2.9)
        centre = _place(grid, thorax, draws, diameter_mm, nodules + marks)
        if centre:
            marks.append(Mark(centre, diameter_mm, _level_hu(draws, diameter_mm)))
    for _ in range(draws.whole(2, 8)):
        voxel = _voxel_of(thorax.vessels, draws)
        if voxel and _clear_mm(grid, voxel, 2.0, nodules) > 2.0:
            marks.append(Mark(voxel, None))
    return marks


def add_nodule(grid: CtGrid, signal_hu: Field, mark: Mark, draws: Draws) -> Mask:
    """Draw a nodule into the signal, in place; a slightly lengthened ball with a soft edge.

    Returns:
        Its voxels, at least the one in its centre.
    """
    inside = np.zeros(grid.shape, dtype=np.bool_)
    box, offsets = _box(grid, mark)
    x, y, z = (offset * draws.uniform(0.9, 1.1) for offset in offsets)
    radius_mm = (mark.diameter_mm or 0.0) / 2.0
    distance = np.sqrt(x * x + y * y + z * z)
    edge_mm = (grid.spacing_mm[0] + grid.spacing_mm[2]) / 2.0
    share = ramp((radius_mm - distance) / edge_mm + 0.5)
    signal = signal_hu[box]
    # A nodule adds tissue: it never thins a wall or a vessel.
    signal_hu[box] = np.where(signal < mark.level_hu, signal + (mark.level_hu - signal) * share, signal)
    inside[box] = distance <= radius_mm
    inside[_nearest(mark.centre_vox)] = True
    return inside


def diameter_at(share: float) -> float:
    """The diameter in mm that this share of nodules, 0 to 1, does not exceed."""
    pieces = list(itertools.pairwise(_DIAMETERS_MM))
    (low, smaller_mm), (high, larger_mm) = next((piece for piece in pieces if share <= piece[1][0]), pieces[-1])
    return smaller_mm + (larger_mm - smaller_mm) * ((share - low) / (high - low))


def _box(grid: CtGrid, mark: Mark) -> tuple[tuple[slice, slice, slice], tuple[Field, Field, Field]]:
    """The voxels around a nodule, and their offsets from its centre in mm along each axis."""
    slices, offsets = [], []
    for centre, mm, size in zip(mark.centre_vox, grid.spacing_mm, grid.shape, strict=True):
        reach = int(((mark.diameter_mm or 0.0) * 0.6 + grid.spacing_mm[2]) / mm) + 2
        first, last = max(int(centre) - reach, 0), min(int(centre) + reach + 1, size)
        slices.append(slice(first, last))
        offsets.append(((np.arange(first, last) - centre) * mm).astype(np.float64))
    x, y, z = offsets
    return (slices[0], slices[1], slices[2]), (x[:, None, None], y[None, :, None], z[None, None, :])


def _place(grid: CtGrid, thorax: Thorax, draws: Draws, diameter_mm: float, others: list[Mark]) -> Position | None:
    """A centre within a lung and clear of other nodules; None when there is no room.

    Two in three lie free; the others may lean on the pleura or on a vessel with up to a third of their radius.
    """
    radius_mm = diameter_mm / 2.0
    free = draws.whole(0, 2) > 0
    for _ in range(_TRIES):
        voxel = _voxel_of(thorax.lung, draws)
        if voxel is None:
            return None
        depth_mm = float(thorax.depth_mm[_nearest(voxel)]) * grid.scale
        wanted_mm = radius_mm + 2.0 * grid.spacing_mm[2] if free else 0.7 * radius_mm
        blocked = thorax.vessels[_nearest(voxel)] or thorax.airways[_nearest(voxel)]
        if depth_mm > wanted_mm and not blocked and _clear_mm(grid, voxel, radius_mm, others) > 3.0:
            # Between voxel centres.
            x, y, z = (whole + draws.uniform(-0.5, 0.5) for whole in voxel)
            return (x, y, z)
    return None


def _voxel_of(mask: Mask, draws: Draws) -> Position | None:
    """A voxel of the mask."""
    for _ in range(_TRIES * 10):
        x, y, z = (draws.whole(0, size - 1) for size in mask.shape)
        if mask[x, y, z]:
            return (float(x), float(y), float(z))
    return None


def _clear_mm(grid: CtGrid, centre_vox: Position, radius_mm: float, others: list[Mark]) -> float:
    """Distance to the surface of the next nodule."""
    nearest = 1e9
    for other in others:
        parts = zip(centre_vox, other.centre_vox, grid.spacing_mm, strict=True)
        squares = [((a - b) * mm) * ((a - b) * mm) for a, b, mm in parts]
        distance = float(np.sqrt(squares[0] + squares[1] + squares[2]))
        nearest = min(nearest, distance - radius_mm - (other.diameter_mm or 0.0) / 2.0)
    return nearest


def _nearest(position: Position) -> tuple[int, int, int]:
    x, y, z = (int(value + 0.5) for value in position)
    return (x, y, z)


def _level_hu(draws: Draws, diameter_mm: float) -> float:
    kind = draws.whole(0, 9)
    if kind >= 8:
        return draws.uniform(-600.0, -350.0)
    # Granulomas calcify; large nodules seldom do.
    return draws.uniform(200.0, 500.0) if kind == 7 and diameter_mm < 9.0 else draws.uniform(-20.0, 70.0)


def index_map(grid: CtGrid, parts: list[Mask]) -> npt.NDArray[np.uint8]:
    """1 in the first nodule, 2 in the second, and so on; 0 outside."""
    found = np.zeros(grid.shape, dtype=np.uint8)
    for index, part in enumerate(parts, start=1):
        found[part] = index
    return found
