"""The parts of a scan that the same windows cover, and when each is complete."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from medseg.inference.windows import Shape, axis_starts

Tile = tuple[int, int, int]  # number along each axis


@dataclass(frozen=True)
class Tiling:
    """A scan cut wherever a window begins or ends, so that tiles are complete as early as they can be.

    Attributes:
        image_size: Voxels of the scan, no axis shorter than a window.
        size: Voxels of a window.
        starts: First voxels of the windows, for each axis.
        order: The axes as windows are walked, slowest first.
    """

    image_size: Shape
    size: Shape
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    order: tuple[int, int, int]

    @classmethod
    def over(cls, image_size: Sequence[int], size: Sequence[int], *, overlap: Sequence[float]) -> Tiling:
        """The windows of MONAI's `sliding_window_inference`, walked along the longest axis last.

        So the fewest sums are open at any time: about half a window times the two shorter axes.

        >>> Tiling.over((10, 4, 20), (4, 4, 8), overlap=(0.5, 0.5, 0.5)).starts
        ((0, 2, 4, 6), (0,), (0, 4, 8, 12))
        """
        starts = [axis_starts(n, side, overlap=o) for n, side, o in zip(image_size, size, overlap, strict=True)]
        first, second, third = sorted(range(3), key=lambda axis: -image_size[axis])
        x, y, z = (int(n) for n in image_size)
        a, b, c = (int(n) for n in size)
        return cls((x, y, z), (a, b, c), (starts[0], starts[1], starts[2]), (first, second, third))

    @cached_property
    def cuts(self) -> tuple[list[int], list[int], list[int]]:
        """Where tiles begin along each axis, and where the last one ends.

        Where the last axis is walked fastest, it is not cut: rows are read whole, as they lie in memory.
        """
        x, y, z = (
            sorted({*starts, *(start + side for start in starts)})
            for starts, side in zip(self.starts, self.size, strict=True)
        )
        return x, y, [0, self.image_size[2]] if self.order[2] == 2 else z

    @cached_property
    def windows(self) -> list[Shape]:
        """First voxels of all windows, in the order in which they are walked."""
        found = []
        for numbers in product(*(self.starts[axis] for axis in self.order)):
            place = [0, 0, 0]
            for axis, start in zip(self.order, numbers, strict=True):
                place[axis] = start
            found.append((place[0], place[1], place[2]))
        return found

    def tiles_of(self, window: Shape) -> Iterator[Tile]:
        """The tiles in a window, in an order in which a tile comes after its lower neighbours."""
        ranges = [
            range(bisect.bisect_right(cuts, start) - 1, bisect.bisect_left(cuts, start + side))
            for cuts, start, side in zip(self.cuts, window, self.size, strict=True)
        ]
        yield from product(*ranges)

    @cached_property
    def visits(self) -> dict[Tile, list[int]]:
        """Numbers of the windows that cover each tile, ascending."""
        found: dict[Tile, list[int]] = {}
        for number, window in enumerate(self.windows):
            for tile in self.tiles_of(window):
                found.setdefault(tile, []).append(number)
        return found

    def box(self, tile: Tile) -> tuple[Shape, Shape]:
        """First voxel of a tile, and its voxels."""
        first = [cuts[number] for cuts, number in zip(self.cuts, tile, strict=True)]
        last = [cuts[number + 1] for cuts, number in zip(self.cuts, tile, strict=True)]
        return (first[0], first[1], first[2]), (last[0] - first[0], last[1] - first[1], last[2] - first[2])

    def part(self, tile: Tile, window: Shape) -> tuple[Shape, Shape]:
        """The first voxel of what a window covers of a tile, and its voxels."""
        low, size = self.box(tile)
        x, y, z = (max(begin, start) for begin, start in zip(low, window, strict=True))
        ends = (min(a + n, b + side) for a, n, b, side in zip(low, size, window, self.size, strict=True))
        nx, ny, nz = (end - begin for begin, end in zip((x, y, z), ends, strict=True))
        return (x, y, z), (nx, ny, nz)

    def is_last(self, tile: Tile, axis: int) -> bool:
        """Whether the scan ends with this tile along the axis."""
        return tile[axis] == len(self.cuts[axis]) - 2

    def held_size(self, tile: Tile, margin: int) -> Shape:
        """Voxels of a tile with so many more before it on each axis, and behind it where the scan ends."""
        x, y, z = (side + margin * (1 + self.is_last(tile, axis)) for axis, side in enumerate(self.box(tile)[1]))
        return x, y, z
