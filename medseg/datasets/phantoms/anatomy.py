"""A head without its skull: white and grey matter, fluid in sulci, fissure and ventricles."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from medseg.datasets.phantoms.fields import Draws, Field, ramp

Mask = npt.NDArray[np.bool_]

# Half axes of an adult brain in mm: left-right, front-back, up and down from the middle.
_HALF_AXES_MM = (66.0, 84.0, 62.0)


class Tissue(IntEnum):
    """Values of `Brain.tissue`."""

    OUTSIDE = 0
    FLUID = 1
    GREY = 2
    WHITE = 3
    NUCLEI = 4


@dataclass(frozen=True)
class Grid:
    """Where the voxels lie in a head whose axes point right, front and up.

    Attributes:
        shape: Voxels along each axis. Axis 0 runs from right to left, 1 from front to back, 2 upwards, as in BraTS.
        spacing_mm: Size of a voxel.
        scale: Size of the head against an adult's, below 1 where the field of view is small.
    """

    shape: tuple[int, int, int]
    spacing_mm: float
    scale: float

    @classmethod
    def fitted(cls, shape: tuple[int, int, int], spacing_mm: float) -> Grid:
        """A grid whose head fills it at most to 94 %."""
        room = [0.47 * size * spacing_mm / half for size, half in zip(shape, _HALF_AXES_MM, strict=True)]
        return cls(shape, spacing_mm, min(1.0, *room))

    @property
    def coordinates_mm(self) -> tuple[Field, Field, Field]:
        """Head coordinates of voxel centres, one broadcastable array for each axis, in mm of an adult head."""
        x, y, z = (
            ((np.arange(size) - (size - 1) / 2) * self.spacing_mm / self.scale).astype(np.float64)
            for size in self.shape
        )
        return -x[:, None, None], -y[None, :, None], z[None, None, :]

    def cells(self, cell_mm: float) -> tuple[float, float, float]:
        """A length in mm of the adult head, in voxels along each axis."""
        cell = cell_mm * self.scale / self.spacing_mm
        return (cell, cell, cell)


@dataclass(frozen=True)
class Brain:
    """The anatomy of one phantom.

    Attributes:
        tissue: `Tissue` values.
        depth_mm: About how deep a voxel lies under the surface; negative outside.
        ventricle: 1 on the wall of the ventricles, smaller inside.
        fold: Noise whose zeros are the sulci.
    """

    grid: Grid
    tissue: npt.NDArray[np.uint8]
    depth_mm: Field
    ventricle: Field
    fold: Field

    @property
    def mask(self) -> Mask:
        """Voxels of the brain."""
        return np.asarray(self.tissue != Tissue.OUTSIDE)


def make_brain(grid: Grid, draws: Draws) -> Brain:
    """A brain of varied size, outline, folding and ventricles."""
    depth = _depth(grid, draws)
    fold = draws.smooth(grid.shape, grid.cells(14.0)) + 0.6 * draws.smooth(grid.shape, grid.cells(7.0))
    ventricle = _ventricle(grid, draws)
    tissue = np.full(grid.shape, Tissue.WHITE, dtype=np.uint8)
    tissue[_nuclei(grid)] = Tissue.NUCLEI
    fluid, grey = _cortex(grid, draws, depth, np.abs(fold))
    tissue[grey] = Tissue.GREY
    tissue[fluid | (ventricle < 1.0)] = Tissue.FLUID
    tissue[depth <= 0.0] = Tissue.OUTSIDE
    return Brain(grid, tissue, depth, ventricle, fold)


def ellipsoid(grid: Grid, centre_mm: tuple[float, float, float], half_axes_mm: tuple[float, float, float]) -> Field:
    """1 on the surface of an ellipsoid, 0 in its centre."""
    x, y, z = ((w - c) / h for w, c, h in zip(grid.coordinates_mm, centre_mm, half_axes_mm, strict=True))
    distance: Field = np.sqrt(x * x + y * y + z * z)
    return distance


def _depth(grid: Grid, draws: Draws) -> Field:
    x, y, z = grid.coordinates_mm
    a, b, c = (half * draws.uniform(0.90, 0.98) for half in _HALF_AXES_MM)
    # Narrower in front, flatter below.
    u, v = x / (a * (1.0 - 0.10 * y / b)), y / b
    w = np.where(z > 0.0, z / c, z / (0.86 * c))
    outline = 0.05 * draws.smooth(grid.shape, grid.cells(45.0)) + 0.03 * draws.smooth(grid.shape, grid.cells(20.0))
    depth: Field = (1.0 - np.sqrt(u * u + v * v + w * w) + outline) * 68.0
    return depth


def _cortex(grid: Grid, draws: Draws, depth: Field, fold: Field) -> tuple[Mask, Mask]:
    """Fluid and grey matter: under the surface, along the sulci, and along the fissure between the hemispheres."""
    x, _, _ = grid.coordinates_mm
    atrophy = draws.uniform(0.6, 1.5)
    middle = np.abs(x + 2.5 * draws.smooth(grid.shape, grid.cells(25.0)))
    sulcus = ramp(1.0 - depth / 24.0)
    fluid = (depth < 1.6 * atrophy) | (fold < 0.11 * atrophy * sulcus) | ((middle < 1.3 * atrophy) & (depth < 36.0))
    grey = (depth < 5.0) | (fold < 0.36 * ramp(1.35 - depth / 24.0)) | ((middle < 4.5) & (depth < 36.0))
    return fluid, grey


def _ventricle(grid: Grid, draws: Draws) -> Field:
    size = draws.uniform(0.75, 1.35)
    parts = [ellipsoid(grid, (0.0, -2.0, -8.0), (2.2 * size, 11.0, 9.0))]
    for side in (-1.0, 1.0):
        wide = size * draws.uniform(0.85, 1.15)
        parts.append(ellipsoid(grid, (side * 9.0, 4.0, 11.0), (5.0 * wide, 27.0, 7.5 * wide)))
        parts.append(ellipsoid(grid, (side * 19.0, -27.0, 5.0), (5.5 * wide, 15.0, 7.5 * wide)))
    wall: Field = np.minimum.reduce(parts)
    return wall + 0.12 * draws.smooth(grid.shape, grid.cells(10.0))


def _nuclei(grid: Grid) -> Mask:
    sides = (-1.0, 1.0)
    parts = [ellipsoid(grid, (side * 11.0, -8.0, -1.0), (8.0, 13.0, 9.0)) for side in sides]
    parts += [ellipsoid(grid, (side * 23.0, 9.0, -1.0), (7.0, 17.0, 10.0)) for side in sides]
    return np.asarray(np.minimum.reduce(parts) < 1.0)
