"""Where the windows over a scan lie, and the voxels in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Literal

import torch
import torch.nn.functional as F
from monai.data.utils import compute_importance_map

Shape = tuple[int, int, int]
Blend = Literal["constant", "gaussian"]


@dataclass(frozen=True)
class Windows:
    """Windows of one size over a scan, in rows that end where the next one begins, along one axis.

    Attributes:
        image_size: Voxels of the scan, padded at its ends so that the network can take it.
        size: Voxels of a window; along no axis more than the scan.
        starts: First voxels of the windows, for each axis.
    """

    image_size: Shape
    size: Shape
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

    @property
    def axis(self) -> int:
        """The axis to walk along: the one with the most voxels beyond a window, so that least has to be held."""
        return max(range(3), key=lambda axis: self.image_size[axis] / self.size[axis])

    def rows(self) -> list[list[Shape]]:
        """The first voxels of all windows, those with the same place on the axis together."""
        others = [starts for axis, starts in enumerate(self.starts) if axis != self.axis]
        rows = []
        for start in self.starts[self.axis]:
            row = []
            for pair in product(*others):
                place = [*pair]
                place.insert(self.axis, start)
                row.append((place[0], place[1], place[2]))
            rows.append(row)
        return rows

    @property
    def count(self) -> int:
        """How many windows there are."""
        return prod(len(starts) for starts in self.starts)


def windows_over(
    image_size: Sequence[int], window: Sequence[int], *, overlap: float, divisible: Sequence[int]
) -> Windows:
    """The windows of MONAI's `SlidingWindowInferer`, except that none is larger than the scan.

    Args:
        image_size: Voxels of the scan.
        window: Voxels of a window.
        overlap: Share of a window that the next one covers, 0 to below 1.
        divisible: What the network's input must be divisible by, per axis; windows start at multiples of it.

    Example:
        >>> windows_over((100, 60, 32), (64, 64, 32), overlap=0.25, divisible=(16, 16, 8)).starts
        ((0, 48), (0,), (0,))
    """
    padded = [-(-size // unit) * unit for size, unit in zip(image_size, divisible, strict=True)]
    sizes = [min(side, whole) for side, whole in zip(window, padded, strict=True)]
    starts = [
        _starts(whole, side, step=max(int(side * (1 - overlap)) // unit, 1) * unit)
        for whole, side, unit in zip(padded, sizes, divisible, strict=True)
    ]
    return Windows(_triple(padded), _triple(sizes), (starts[0], starts[1], starts[2]))


def _triple(values: Sequence[int]) -> Shape:
    return int(values[0]), int(values[1]), int(values[2])


def _starts(whole: int, side: int, *, step: int) -> tuple[int, ...]:
    """Every step until the end is covered; the last window is moved back to end there."""
    count = -(-(whole - side) // step) + 1
    return tuple(min(index * step, whole - side) for index in range(count))


def axis_starts(whole: int, side: int, *, overlap: float) -> tuple[int, ...]:
    """First voxels of the windows along one axis, as MONAI's `sliding_window_inference` places them.

    >>> axis_starts(273, 128, overlap=0.5)
    (0, 64, 128, 145)
    """
    return _starts(whole, side, step=side if side == whole else max(int(side * (1 - overlap)), 1))


def read_window(image: torch.Tensor, start: Shape, size: Shape, *, flips: Sequence[int] = ()) -> torch.Tensor:
    """One window of the mirrored scan, zeros beyond its ends; neither the mirrored nor the padded scan is made.

    Args:
        image: Shape `(C, X, Y, Z)`.
        start: First voxel in the mirrored scan.
        size: Voxels of the window.
        flips: Axes (0, 1, 2) along which the scan is mirrored.

    Returns:
        Shape `(C, *size)`.

    Example:
        >>> read_window(torch.arange(3.0).reshape(1, 3, 1, 1), (1, 0, 0), (3, 1, 1), flips=(0,)).ravel().tolist()
        [1.0, 0.0, 0.0]
    """
    parts, padding = [slice(None)], list[int]()
    for axis in range(3):
        whole = image.shape[axis + 1]
        first, last = start[axis], min(start[axis] + size[axis], whole)
        parts.append(slice(whole - last, whole - first) if axis in flips else slice(first, last))
        padding = [0, size[axis] - (last - first), *padding]
    window = image[tuple(parts)]
    if flips:
        window = window.flip([axis + 1 for axis in flips])
    return F.pad(window, padding) if any(padding) else window


def importance(size: Shape, maps: Sequence[Sequence[int]], *, blend: Blend, device: torch.device) -> list[torch.Tensor]:
    """The weight of each cell of a window's maps, each `(1, x, y, z)`.

    As in MONAI's `sliding_window_inference`, each map takes its weights from those of the map before it by nearest
    neighbour, the first from the window's voxels; so the order of the maps matters.

    Args:
        size: Voxels of the window.
        maps: Cells of each map along each axis.
        blend: "constant": all cells alike; "gaussian": the centre of a window counts more.
        device: Where to put them.
    """
    weights = compute_importance_map(size, mode=blend, sigma_scale=0.125, device=device, dtype=torch.float32)[
        None, None
    ]
    found = []
    for cells in maps:
        if tuple(cells) != tuple(weights.shape[2:]):
            weights = F.interpolate(weights, tuple(cells), mode="nearest-exact")
        found.append(weights[0])
    return found
