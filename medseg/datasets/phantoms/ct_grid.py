"""The voxels of a CT scan: anisotropic, and with axes that run either way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medseg.datasets.phantoms.fields import Draws, Field, blur
from medseg.volumes import Affine

_STEP_MM = 1.0 / 1024.0  # spacings and origins are multiples: float32 and decimal text hold them exactly


@dataclass(frozen=True)
class CtGrid:
    """Where the voxels lie in a body whose axes point right, front and up (RAS), its middle at 0.

    Attributes:
        shape: Voxels along each axis.
        spacing_mm: Size of a voxel along each axis.
        signs: 1 where an axis runs right, front or up, -1 where it runs the other way.
        origin_mm: RAS position of the first voxel, in the world of the file.
        scale: Size of the body against an adult's.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    signs: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    scale: float

    @classmethod
    def drawn(
        cls,
        draws: Draws,
        shape: Sequence[int],
        spacing_mm: float,
        *,
        thickness: tuple[float, float],
        signs: tuple[float, float, float],
        room_mm: tuple[float, float, float],
    ) -> CtGrid:
        """A grid of varied voxel size and place in the world, and a body that fits it.

        Args:
            draws: Where the numbers come from.
            shape: Voxels along each axis with slices of the mean thickness; their number follows the thickness.
            spacing_mm: Mean size of a voxel in the slice.
            thickness: Distance of slices over `spacing_mm`, from and to.
            signs: As in the attribute.
            room_mm: Half of what an adult needs along each axis.
        """
        in_plane = _snapped(spacing_mm * draws.uniform(0.9, 1.1))
        slices = _snapped(spacing_mm * draws.uniform(*thickness))
        mean = spacing_mm * (thickness[0] + thickness[1]) / 2
        count = max(int(shape[2] * mean / slices + 0.5), 8)
        size = (int(shape[0]), int(shape[1]), count)
        spacing = (in_plane, in_plane, slices)
        scale = min(1.0, *(n * mm / (2 * room) for n, mm, room in zip(size, spacing, room_mm, strict=True)))
        x, y, z = (_snapped(draws.uniform(-250.0, 250.0)) for _ in range(3))
        return cls(size, spacing, signs, (x, y, z), scale)

    @property
    def affine_ras_mm(self) -> Affine:
        """Voxel to world."""
        affine = np.diag([*(sign * mm for sign, mm in zip(self.signs, self.spacing_mm, strict=True)), 1.0])
        affine[:3, 3] = self.origin_mm
        return affine

    @property
    def coordinates_mm(self) -> tuple[Field, Field, Field]:
        """Body coordinates of voxel centres, one broadcastable array for each axis, in mm of an adult body."""
        x, y, z = (
            ((np.arange(size) - (size - 1) / 2) * (sign * mm / self.scale)).astype(np.float64)
            for size, mm, sign in zip(self.shape, self.spacing_mm, self.signs, strict=True)
        )
        return x[:, None, None], y[None, :, None], z[None, None, :]

    def world_ras_mm(self, position_vox: Sequence[float]) -> tuple[float, float, float]:
        """World position of a voxel position; whole numbers are voxel centres."""
        parts = zip(position_vox, self.signs, self.spacing_mm, self.origin_mm, strict=True)
        x, y, z = (origin + sign * mm * voxel for voxel, sign, mm, origin in parts)
        return (x, y, z)

    def smooth(self, draws: Draws, cell_mm: float) -> Field:
        """Smooth noise between -1 and 1 of a length in mm of the adult body."""
        return draws.smooth(self.shape, [max(cell_mm * self.scale / mm, 0.25) for mm in self.spacing_mm])

    def ellipsoid(self, centre_mm: Sequence[float], half_axes_mm: Sequence[float]) -> Field:
        """1 on the surface of an ellipsoid in the adult body, 0 in its centre."""
        x, y, z = ((w - c) / h for w, c, h in zip(self.coordinates_mm, centre_mm, half_axes_mm, strict=True))
        distance: Field = np.sqrt(x * x + y * y + z * z)
        return distance


def tube(grid: CtGrid, start_mm: Sequence[float], end_mm: Sequence[float]) -> tuple[Field, Field]:
    """Distance to a line segment in mm of the adult body, and how far along it the nearest point lies, 0 to 1."""
    x, y, z = (w - s for w, s in zip(grid.coordinates_mm, start_mm, strict=True))
    a, b, c = (e - s for e, s in zip(end_mm, start_mm, strict=True))
    along = (x * a + y * b + z * c) / (a * a + b * b + c * c)
    along = np.minimum(np.maximum(along, 0.0), 1.0)
    u, v, w = x - along * a, y - along * b, z - along * c
    return np.sqrt(u * u + v * v + w * w), along


def fraction(values: Field) -> Field:
    """What is behind the point; the values are not negative."""
    return values - values.astype(np.int64)


def soften(signal_hu: Field) -> Field:
    """Half of what a voxel shows comes from its neighbours."""
    return (signal_hu + blur(signal_hu)) * 0.5


def to_hu(signal_hu: Field, noise_hu: Field) -> npt.NDArray[np.int16]:
    """Whole Hounsfield units from -1024 to 3071, as a scanner stores them."""
    limited = np.minimum(np.maximum(signal_hu + noise_hu, -1024.0), 3071.0)
    return (limited + 1024.5).astype(np.int16) - np.int16(1024)


def _snapped(value_mm: float) -> float:
    """The next multiple of the step below."""
    return (int(value_mm / _STEP_MM + 4194304.0) - 4194304) * _STEP_MM
