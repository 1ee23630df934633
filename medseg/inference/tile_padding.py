"""Complete tiles made ready to be interpolated: mean scores, and one more voxel before them from their neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from medseg.inference.tile_merge import Activation, LastVisit, check_finite, place
from medseg.inference.tile_store import TileStore
from medseg.inference.tiling import Tile, Tiling
from medseg.inference.windows import Shape
from medseg.kernels.merge import divide
from medseg.kernels.slabs import run_slabs

_FLOAT = 4


class Merged(NamedTuple):
    """A complete part of the scan."""

    scores: torch.Tensor  # (C, x + 1, y + 1, z + 1): one voxel more before it, and one of zeros where the scan ends
    first: Shape  # its first voxel in the scan
    size: Shape  # its voxels (x, y, z)
    last: tuple[bool, bool, bool]  # whether the scan ends with it


class TilePadding:
    """Tiles of a merge with a margin of 1, which come after their lower neighbours.

    Args:
        tiling: The windows.
        store: Where the sums are; the planes that are kept count as held there.
        activation: Applied to the mean scores of each voxel.
        threads: Threads to share the work.
        inside: First voxel of the scan along each axis, and the one after its last, where it was padded for the
            windows; what lies outside is 0 after the activation.
    """

    def __init__(
        self,
        tiling: Tiling,
        store: TileStore,
        *,
        activation: Activation = "none",
        threads: int = 1,
        inside: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        self.tiling, self.store = tiling, store
        self.activation, self.threads = activation, threads
        self.inside = [(0, count) for count in tiling.image_size] if inside is None else inside
        self._faces: dict[tuple[int, Tile], torch.Tensor] = {}

    def merged(self, visit: LastVisit) -> Merged:
        """The mean scores of a tile, in the memory of its sums; `keep` it before that is used again.

        Raises:
            NumericError: A mean score is not finite.
        """
        scores, size = _mean(visit, self.threads), visit.size
        _activate(scores[(slice(None), *place((1, 1, 1), size))], self.activation)
        for axis, (start, stop) in enumerate(self.inside):
            begin, side = visit.first[axis], size[axis]
            ahead, behind = min(max(start - begin, 0), side), min(max(begin + side - stop, 0), side)
            scores.narrow(axis + 1, 1, ahead).zero_()
            scores.narrow(axis + 1, 1 + side - behind, behind).zero_()
        for axis in range(3):
            before = self._faces.pop((axis, visit.tile), None)
            if before is None:
                scores.select(axis + 1, 0).zero_()
            else:
                scores.select(axis + 1, 0).copy_(before)
            if self.tiling.is_last(visit.tile, axis):
                scores.select(axis + 1, size[axis] + 1).zero_()
        last = tuple(self.tiling.is_last(visit.tile, axis) for axis in range(3))
        return Merged(scores, visit.first, size, (last[0], last[1], last[2]))

    def keep(self, tile: Tile, scores: torch.Tensor | None) -> None:
        """Keep the last plane along each axis for the tile behind it, with what lies before it on the other axes.

        Args:
            tile: It, once its labels are written.
            scores: As they were merged; None where memory is only counted.
        """
        size, held = self.tiling.box(tile)[1], self.tiling.held_size(tile, 1)
        for axis in range(3):
            if tile[axis]:  # the plane from before it has served
                self.store.hold(-self._face_bytes(axis, held))
            if self.tiling.is_last(tile, axis):
                continue
            behind = (*tile[:axis], tile[axis] + 1, *tile[axis + 1 :])
            self.store.hold(self._face_bytes(axis, held))
            if scores is not None:
                self._faces[axis, (behind[0], behind[1], behind[2])] = scores.select(axis + 1, size[axis]).clone()

    def _face_bytes(self, axis: int, held: Shape) -> int:
        return self.store.channels * math.prod(side for place, side in enumerate(held) if place != axis) * _FLOAT


def _mean(visit: LastVisit, threads: int) -> torch.Tensor:
    """The mean scores, in the memory of the sums."""
    if visit.sums is None:
        msg = "tile padding: the merge has no margin."
        raise RuntimeError(msg)
    if visit.sums.device.type == "cpu":
        sums, count, finite = visit.sums.numpy(), visit.weight_sum.numpy(), list[bool]()
        run_slabs(
            lambda a, b: finite.append(divide(sums, count, start=(1, 1, 1), channels=(a, b))),
            len(sums),
            threads=threads,
        )
        check_finite(all(finite))
    else:
        core = visit.sums[(slice(None), *place((1, 1, 1), visit.size))]
        check_finite(bool(torch.isfinite(core.div_(visit.weight_sum).sum(dtype=torch.float64))))
    return visit.sums


def _activate(scores: torch.Tensor, activation: Activation) -> None:
    if activation == "sigmoid":
        scores.sigmoid_()
    elif activation == "softmax":
        for plane in scores.unbind(1):  # so that the copy is small
            plane.copy_(plane.softmax(0))
