"""Windows merged tile by tile: a tile's mean scores come out as soon as no later window touches it."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch

from medseg.errors import NumericError
from medseg.inference.tile_store import TileStore
from medseg.inference.tiling import Tile, Tiling
from medseg.inference.windows import Shape
from medseg.kernels.merge import add_window, divide
from medseg.kernels.resample import run_slabs

Activation = Literal["none", "sigmoid", "softmax"]
_FLOAT = 4


class Merged(NamedTuple):
    """A complete part of the scan."""

    scores: torch.Tensor  # (C, x + 1, y + 1, z + 1): one voxel more before it, and one of zeros where the scan ends
    first: Shape  # its first voxel in the scan
    size: Shape  # its voxels (x, y, z)
    last: tuple[bool, bool, bool]  # whether the scan ends with it


class TileMerge:
    """The weighted mean of the windows of a scan.

    Args:
        tiling: The windows.
        store: Where the sums are; it has one channel more than the scores, for the weights. One without a device
            counts memory only.
        weights: Of a window's voxels, `(x, y, z)`, float32.
        activation: Applied to the mean scores of each voxel.
        threads: Threads to share the work.
        inside: First voxel of the scan along each axis, and the one after its last, where it was padded for the
            windows; what lies outside is 0 after the activation.
    """

    def __init__(
        self,
        tiling: Tiling,
        store: TileStore,
        weights: torch.Tensor,
        *,
        activation: Activation,
        threads: int,
        inside: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        self.tiling, self.store, self.weights = tiling, store, weights
        self.activation, self.threads = activation, threads
        self.inside = [(0, count) for count in tiling.image_size] if inside is None else inside
        self._faces: dict[tuple[int, Tile], torch.Tensor | None] = {}

    def add(self, number: int, scores: torch.Tensor | None) -> Iterator[Merged]:
        """Add a window; gives the tiles that are complete with it, good until the next one is asked for.

        Args:
            number: Of the window; windows come in their order.
            scores: Shape `(C, x, y, z)`; None where memory is only counted.

        Raises:
            NumericError: A mean score is not finite.
        """
        weights = self.weights
        if scores is not None:
            scores, weights = weighted(scores, weights)
        window = self.tiling.windows[number]
        for tile in self.tiling.tiles_of(window):
            next_use = partial(self._next_use, number=number, tile=tile)
            buffer, fresh = self.store.open(tile, self.tiling.held_size(tile), next_use=next_use)
            if scores is not None and buffer is not None:
                self._sum(tile, buffer, scores, weights, window=window, fresh=fresh)
            if self.tiling.visits[tile][-1] == number:
                if buffer is not None:
                    yield self._finished(tile, buffer)
                self._keep_faces(tile, buffer)
                self.store.close(tile)
            del buffer  # the store may let go of it to make room for the next one

    def _next_use(self, key: Tile, *, number: int, tile: Tile) -> int:
        visits = self.tiling.visits[key]
        return visits[bisect.bisect_left(visits, number + (key <= tile))]

    def _sum(
        self,
        tile: Tile,
        buffer: torch.Tensor,
        scores: torch.Tensor,
        weights: torch.Tensor,
        *,
        window: Shape,
        fresh: bool,
    ) -> None:
        first, size = self.tiling.box(tile)
        read = (first[0] - window[0], first[1] - window[1], first[2] - window[2])
        source, core = _place(read, size), _place((1, 1, 1), size)
        share = self.weights[source]
        total = buffer[(slice(-1, None), *core)][0]
        total.copy_(share) if fresh else total.add_(share)
        if buffer.device.type == "cpu":
            parts = (scores.numpy(), weights.numpy(), buffer.numpy())
            run_slabs(
                lambda a, b: add_window(*parts, read=read, write=(1, 1, 1), size=size, fresh=fresh, channels=(a, b)),
                len(scores),
                threads=self.threads,
            )
            return
        sums, part = buffer[(slice(-1), *core)], scores[(slice(None), *source)]
        torch.mul(part, weights[source], out=sums) if fresh else sums.addcmul_(part, weights[source].expand_as(part))

    def _finished(self, tile: Tile, buffer: torch.Tensor) -> Merged:
        first, size = self.tiling.box(tile)
        core = _place((1, 1, 1), size)
        if not self._divided(buffer, size):
            msg = "sliding window: the network's scores are not finite. Check the weights, or predict without autocast."
            raise NumericError(msg)
        scores = buffer[:-1]
        _activate(scores[(slice(None), *core)], self.activation)
        for axis, (start, stop) in enumerate(self.inside):
            side = size[axis]
            ahead, behind = min(max(start - first[axis], 0), side), min(max(first[axis] + side - stop, 0), side)
            scores.narrow(axis + 1, 1, ahead).zero_()
            scores.narrow(axis + 1, 1 + side - behind, behind).zero_()
        for axis in range(3):
            before = self._faces.pop((axis, tile), None)
            if before is None:
                scores.select(axis + 1, 0).zero_()
            else:
                scores.select(axis + 1, 0).copy_(before)
                self.store.hold(-before.numel() * _FLOAT)
            if self.tiling.is_last(tile, axis):
                scores.select(axis + 1, size[axis] + 1).zero_()
        last = tuple(self.tiling.is_last(tile, axis) for axis in range(3))
        return Merged(scores, first, size, (last[0], last[1], last[2]))

    def _divided(self, buffer: torch.Tensor, size: Shape) -> bool:
        if buffer.device.type == "cpu":
            scores, weights, finite = buffer[:-1].numpy(), buffer[-1].numpy(), list[bool]()
            run_slabs(
                lambda a, b: finite.append(divide(scores, weights, start=(1, 1, 1), size=size, channels=(a, b))),
                len(scores),
                threads=self.threads,
            )
            return all(finite)
        core = _place((1, 1, 1), size)
        sums = buffer[(slice(-1), *core)]
        sums.div_(buffer[(slice(-1, None), *core)])
        return bool(torch.isfinite(sums.sum(dtype=torch.float64)))

    def _keep_faces(self, tile: Tile, buffer: torch.Tensor | None) -> None:
        """Keep the last plane along each axis for the tile behind it, with what lies before it on the other axes."""
        size, held = self.tiling.box(tile)[1], self.tiling.held_size(tile)
        for axis in range(3):
            if buffer is None and tile[axis]:
                self.store.hold(-self._face_bytes(axis, held))
            if self.tiling.is_last(tile, axis):
                continue
            behind = (*tile[:axis], tile[axis] + 1, *tile[axis + 1 :])
            self.store.hold(self._face_bytes(axis, held))
            if buffer is not None:
                self._faces[axis, (behind[0], behind[1], behind[2])] = buffer[:-1].select(axis + 1, size[axis]).clone()

    def _face_bytes(self, axis: int, held: Shape) -> int:
        others = math.prod(side for place, side in enumerate(held) if place != axis)
        return (self.store.channels - 1) * others * _FLOAT


def _place(first: Shape, size: Shape) -> tuple[slice, slice, slice]:
    x, y, z = (slice(begin, begin + count) for begin, count in zip(first, size, strict=True))
    return x, y, z


def weighted(scores: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Contiguous float32 scores `(C, x, y, z)`, and the weights that they are still to be multiplied by.

    The products of scores in half precision are rounded as MONAI rounds them: to the scores' own type.
    """
    if scores.dtype == torch.float32:
        return scores.contiguous(), weights
    out = torch.empty(scores.shape, dtype=torch.float32, device=scores.device)
    for channel, part in zip(out, scores, strict=True):
        channel.copy_((part * weights).to(scores.dtype))
    return out, torch.ones_like(weights)


def _activate(scores: torch.Tensor, activation: Activation) -> None:
    if activation == "sigmoid":
        scores.sigmoid_()
    elif activation == "softmax":
        for plane in scores.unbind(1):  # so that the copy is small
            plane.copy_(plane.softmax(0))
