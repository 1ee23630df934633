"""Where the voxels of a scan as it was read lie on the grid that the network saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.kernels.native_labels import AxisTaps, taps_at
from medseg.kernels.resample import Taps

Positions = npt.NDArray[np.float64]
Shape = tuple[int, int, int]
_SNAP = 1e-5  # voxels: what is left of whole numbers after a product of affines
_OBLIQUE = 1e-4  # of a voxel size: what is left of zeros


@dataclass(frozen=True)
class NativeGrid:
    """A grid whose axes are those of the network's, permuted, reversed and scaled.

    Attributes:
        shape: Its voxels.
        axes: Its axis along each axis of the network's grid.
        flips: Whether it runs the other way there.
        positions: Of its voxels along each axis of the network's grid, in voxels of that, ascending.
    """

    shape: Shape
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    positions: tuple[Positions, Positions, Positions]

    @property
    def start(self) -> Shape | None:
        """Its first voxel on the network's grid, where it is that but for axes, directions and a crop; else None.

        >>> NativeGrid.same((3, 4, 5)).moved((-1, 0, 2)).start, NativeGrid.same((3, 4, 5)).moved((0.5, 0, 0)).start
        ((1, 0, -2), None)
        """
        for at in self.positions:
            if not len(at) or at[0] != np.rint(at[0]) or (np.diff(at) != 1).any():
                return None
        x, y, z = (int(at[0]) for at in self.positions)
        return x, y, z

    @classmethod
    def same(cls, shape: Sequence[int]) -> NativeGrid:
        """The network's own grid."""
        x, y, z = (int(count) for count in shape)
        at = [np.arange(count, dtype=np.float64) for count in (x, y, z)]
        return cls((x, y, z), (0, 1, 2), (False, False, False), (at[0], at[1], at[2]))

    @classmethod
    def of(
        cls,
        shape: Sequence[int],
        affine_ras_mm: npt.ArrayLike,
        *,
        network_affine_ras_mm: npt.ArrayLike,
        network_shape: Sequence[int],
        crop_start: Sequence[int] = (0, 0, 0),
        uncropped_shape: Sequence[int] | None = None,
    ) -> NativeGrid:
        """The grid from the affines: MONAI's `Invertd` of Orientation, Spacing and CropForeground.

        Beyond the last voxel of the network's grid the scores stay what they are there; where the grid was cropped,
        they are 0 outside it.

        Args:
            shape: Voxels of the scan as it was read.
            affine_ras_mm: Its affine, 4 x 4.
            network_affine_ras_mm: The affine of the network's input.
            network_shape: Its voxels.
            crop_start: First voxel of that input in the grid before it was cropped.
            uncropped_shape: Voxels of that grid; none were cropped when not given.

        Raises:
            DataError: The grids are turned against each other.

        Example:
            >>> grid = NativeGrid.of(
            ...     (3, 1, 1),
            ...     np.diag([-1.0, 1, 1, 1]),
            ...     network_affine_ras_mm=[[2, 0, 0, -2], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
            ...     network_shape=(2, 1, 1),
            ... )
            >>> grid.flips, grid.positions[0].tolist()
            ((True, False, False), [0.0, 0.5, 1.0])
        """
        steps = np.linalg.inv(np.asarray(network_affine_ras_mm, np.float64)) @ np.asarray(affine_ras_mm, np.float64)
        axes = np.abs(steps[:3, :3]).argmax(axis=1)
        rest = steps[:3, :3].copy()
        rest[np.arange(3), axes] = 0
        if sorted(axes) != [0, 1, 2] or np.abs(rest).max() > _OBLIQUE * np.abs(steps[:3, :3]).max():
            msg = "native grid: it is turned against the network's, not only permuted and scaled. Use Invertd."
            raise DataError(msg)
        whole = uncropped_shape or network_shape
        found, flips = [], []
        for axis in range(3):
            step = steps[axis, axes[axis]]
            at = _snapped(steps[axis, 3] + step * np.arange(shape[axes[axis]]))
            first, last = -crop_start[axis], whole[axis] - 1 - crop_start[axis]
            found.append(np.clip(at if step > 0 else at[::-1], first, last))
            flips.append(bool(step < 0))
        x, y, z = (int(count) for count in shape)
        a, b, c = (int(axis) for axis in axes)
        return cls((x, y, z), (a, b, c), (flips[0], flips[1], flips[2]), (found[0], found[1], found[2]))

    def moved(self, start: Sequence[float]) -> NativeGrid:
        """The same grid, for a network grid that begins at this voxel of the old one."""
        x, y, z = (at - first for at, first in zip(self.positions, start, strict=True))
        return NativeGrid(self.shape, self.axes, self.flips, (x, y, z))

    def empty_labels(self, channels: int | None, *, dtype: npt.DTypeLike, fill: int = 0) -> npt.NDArray[np.integer]:
        """Labels on the grid `(X, Y, Z)`, or `(channels, X, Y, Z)`, stored so that `along_network` is contiguous."""
        lead = () if channels is None else (channels,)
        sizes = tuple(self.shape[axis] for axis in self.axes)
        stored = np.full(lead + sizes, fill, dtype=dtype) if fill else np.zeros(lead + sizes, dtype=dtype)
        back = [self.axes.index(axis) for axis in range(3)]
        return self._swapped(stored, back, flips=[self.flips[axis] for axis in back])

    def along_network(self, labels: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
        """A view of labels on the grid, along the axes of the network's."""
        return self._swapped(labels, self.axes, flips=self.flips)

    @staticmethod
    def _swapped(
        labels: npt.NDArray[np.integer], axes: Sequence[int], *, flips: Sequence[bool]
    ) -> npt.NDArray[np.integer]:
        lead = labels.ndim - 3
        moved = labels.transpose(*range(lead), *(int(axis) + lead for axis in axes))
        x, y, z = (slice(None, None, -1 if flip else 1) for flip in flips)
        return moved[..., x, y, z]

    def part(self, first: Shape, size: Shape, *, last: Sequence[bool]) -> tuple[tuple[slice, slice, slice], AxisTaps]:
        """The voxels whose upper neighbour is in this box of the network's grid, and where they lie.

        Args:
            first: First voxel of the box.
            size: Its voxels.
            last: Whether the network's grid ends with the box along each axis; then those one voxel beyond belong too.

        Returns:
            Slices of `along_network`, and the places in voxels of the box with one more before it.
        """
        slices, taps = list[slice](), list[Taps]()
        for at, begin, count, ends in zip(self.positions, first, size, last, strict=True):
            upper = np.ceil(at)
            here = slice(*np.searchsorted(upper, [begin, begin + count + ends]).tolist())
            slices.append(here)
            taps.append(taps_at(at[here] - (begin - 1)))
        return (slices[0], slices[1], slices[2]), (taps[0], taps[1], taps[2])


def empty_class_map(grid: NativeGrid, channels: int) -> npt.NDArray[np.integer]:
    """A label map on a grid of as many classes, all 0: uint8, or uint16 above 256 of them."""
    return grid.empty_labels(None, dtype=np.uint8 if channels <= 256 else np.uint16)


def _snapped(positions: Positions) -> Positions:
    """Whole numbers where they are nearly that."""
    whole = np.rint(positions)
    return np.where(np.abs(positions - whole) < _SNAP, whole, positions)
