"""Windows' maps merged into those of the scan, a slab at a time: what no later window touches is handed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from medseg.errors import ConfigError
from medseg.inference.windows import Shape, Windows


class Slab(NamedTuple):
    """Cells of one level whose maps are complete."""

    logits: torch.Tensor  # (anchors * classes, x, y, z)
    offsets: torch.Tensor  # (anchors * 6, x, y, z), to be divided by the weights where there are any
    weights: torch.Tensor | None  # (1, x, y, z)
    first: Shape  # the first cell in the level
    cells: Shape  # cells of the whole level

    @classmethod
    def whole(cls, logits: torch.Tensor, offsets: torch.Tensor) -> Slab:
        """All of a level that one window covers."""
        x, y, z = logits.shape[1:]
        return cls(logits, offsets, None, (0, 0, 0), (x, y, z))


@dataclass
class LevelSum:
    """Weighted sums of one level's maps, over the length of a window along the axis that is walked.

    Attributes:
        cells: Cells of the whole level.
        stride: Voxels from one cell to the next.
        axis: The axis that is walked.
        done: Cells along it that have been handed on.
    """

    cells: Shape
    stride: Shape
    axis: int
    done: int = 0
    _sums: list[torch.Tensor] | None = None

    @classmethod
    def over(cls, windows: Windows, cells: Sequence[int]) -> LevelSum:
        """The level whose map of a window has these cells.

        Raises:
            ConfigError: The scan's cells and the window's do not coincide.
        """
        stride, whole = [], []
        for size, side, count, starts in zip(windows.image_size, windows.size, cells, windows.starts, strict=True):
            step = side // count if count else 0
            if len(starts) > 1 and (not step or side % count or any(start % step for start in starts)):
                msg = (
                    f"detection: windows of {windows.size} voxels give maps of {tuple(cells)} cells, which do not line "
                    "up over the scan. Set size_divisible to the network's coarsest stride."
                )
                raise ConfigError(msg)
            stride.append(step)
            whole.append(size // step if len(starts) > 1 else count)
        return cls((whole[0], whole[1], whole[2]), (stride[0], stride[1], stride[2]), windows.axis)

    def add(self, maps: Sequence[torch.Tensor], weights: Sequence[torch.Tensor], *, start: Shape) -> None:
        """Add the maps (logits, offsets) of the window that starts at this voxel, multiplied by their weights."""
        if self._sums is None:
            parts = (maps[0], maps[1], weights[0], weights[1])
            self._sums = [self._empty(part) for part in parts]
        place: list[slice] = [slice(None)]
        for axis, (voxel, step) in enumerate(zip(start, self.stride, strict=True)):
            cell = voxel // step - (self.done if axis == self.axis else 0)
            place.append(slice(cell, cell + maps[0].shape[axis + 1]))
        for part, weight, total in zip(maps, weights, self._sums[:2], strict=True):
            view = total[tuple(place)]
            view.addcmul_(part.to(total), weight.expand_as(part))
        for weight, total in zip(weights, self._sums[2:], strict=True):
            total[tuple(place)] += weight

    def _empty(self, part: torch.Tensor) -> torch.Tensor:
        shape = [part.shape[0], *self.cells]
        shape[self.axis + 1] = part.shape[self.axis + 1]
        return torch.zeros(shape, dtype=torch.float32, device=part.device)

    def ready(self, until: int) -> Slab:
        """The cells before this voxel of the axis that have not been handed on; views, good until `drop`."""
        count = self._count(until)
        logits, offsets, weights, offset_weights = (part.narrow(self.axis + 1, 0, count) for part in self._held())
        first = [0, 0, 0]
        first[self.axis] = self.done
        # Offsets are divided where they are candidates only; they are most of the maps.
        return Slab(logits / weights, offsets, offset_weights, (first[0], first[1], first[2]), self.cells)

    def drop(self, until: int) -> None:
        """Make room for as many cells as are complete before this voxel of the axis."""
        count = self._count(until)
        for part in self._held():
            _shift(part, self.axis + 1, count)
        self.done += count

    def _count(self, until: int) -> int:
        return min(until // self.stride[self.axis], self.cells[self.axis]) - self.done

    def _held(self) -> list[torch.Tensor]:
        if self._sums is None:
            msg = "LevelSum: no window has been added."
            raise RuntimeError(msg)
        return self._sums


def _shift(part: torch.Tensor, dim: int, count: int) -> None:
    """Move everything `count` places to the front; the end becomes 0."""
    rest = part.shape[dim] - count
    for place in range(0, rest, count):  # piece by piece, so that none overlaps where it goes
        length = min(count, rest - place)
        part.narrow(dim, place, length).copy_(part.narrow(dim, place + count, length))
    part.narrow(dim, rest, count).zero_()
