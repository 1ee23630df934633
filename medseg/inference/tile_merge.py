"""Windows merged tile by tile: a tile is handed on with the last window that touches it."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal, NamedTuple, cast

import torch

from medseg.errors import NumericError
from medseg.inference.tile_store import TileStore
from medseg.inference.tiling import Tile, Tiling
from medseg.inference.windows import Shape
from medseg.kernels.merge import add_window
from medseg.kernels.slabs import run_slabs

Activation = Literal["none", "sigmoid", "softmax"]


class LastVisit(NamedTuple):
    """A tile and its last window. With a margin its sums are complete; without one the window is still to be added."""

    tile: Tile
    first: Shape  # its first voxel in the scan
    size: Shape  # its voxels (x, y, z)
    sums: torch.Tensor | None  # (C, *held size), may be written; None where none are held
    weight_sum: torch.Tensor  # the sum of the weights of all windows in the tile
    scores: torch.Tensor  # the window's, (C, x, y, z)
    weights: torch.Tensor  # the window's, (x, y, z)
    read: Shape  # the first voxel that the window covers, in the window
    write: Shape  # the same voxel in the tile
    part: Shape  # voxels that the window covers


class TileMerge:
    """The weighted sums of the windows of a scan.

    Args:
        tiling: The windows.
        store: Where the sums are.
        weights: Of a window's voxels, `(x, y, z)`, float32.
        margin: Voxels that are held before a tile's own on each axis, and behind it where the scan ends: 0 or 1.
            With 0 a tile that a single window covers needs no sums.
        threads: Threads to share the work.
    """

    def __init__(
        self, tiling: Tiling, store: TileStore, weights: torch.Tensor, *, margin: Literal[0, 1], threads: int
    ) -> None:
        self.tiling, self.store, self.weights = tiling, store, weights
        self.margin, self.threads = margin, threads

    def add(self, number: int, scores: torch.Tensor) -> Iterator[LastVisit]:
        """Add a window; gives the tiles that are complete with it, good until the next one is asked for.

        Args:
            number: Of the window; windows come in their order.
            scores: Shape `(C, x, y, z)`.
        """
        scores, weights = weighted(scores, self.weights)
        window = self.tiling.windows[number]
        for tile, sums, fresh in opened(self.tiling, self.store, number, margin=self.margin):
            (first, size), (begin, part) = self.tiling.box(tile), self.tiling.part(tile, window)
            read, write = offset(begin, window), offset(begin, first)
            last = self.tiling.visits[tile][-1] == number
            if sums is not None and (self.margin or not last):
                self._sum(sums, scores, weights, read=read, write=write, size=part, fresh=fresh)
            if last:
                yield LastVisit(tile, first, size, sums, self._count(tile), scores, weights, read, write, part)
            del sums  # the store may let go of it to make room for the next one

    def _count(self, tile: Tile) -> torch.Tensor:
        first, size = self.tiling.box(tile)
        count = torch.zeros(size, device=self.weights.device)
        # By numpy on a CPU: after work by torch its threads keep their cores busy for a while.
        on_cpu = count.device.type == "cpu"
        total, weights = (cast("Any", part.numpy() if on_cpu else part) for part in (count, self.weights))
        for number in self.tiling.visits[tile]:
            window = self.tiling.windows[number]
            begin, part = self.tiling.part(tile, window)
            total[place(offset(begin, first), part)] += weights[place(offset(begin, window), part)]
        return count

    def _sum(
        self,
        sums: torch.Tensor,
        scores: torch.Tensor,
        weights: torch.Tensor,
        *,
        read: Shape,
        write: Shape,
        size: Shape,
        fresh: bool,
    ) -> None:
        x, y, z = (begin + self.margin for begin in write)
        if sums.device.type == "cpu":
            parts = (scores.numpy(), weights.numpy(), sums.numpy())
            run_slabs(
                lambda a, b: add_window(*parts, read=read, write=(x, y, z), size=size, fresh=fresh, channels=(a, b)),
                len(scores),
                threads=self.threads,
            )
            return
        if fresh:  # a window covers all of a tile but on the last axis
            sums[..., :z].zero_()
            sums[..., z + size[2] :].zero_()
        core, source = sums[(slice(None), *place((x, y, z), size))], place(read, size)
        add_on_device(scores[(slice(None), *source)], weights[source], core, fresh=fresh)


def opened(
    tiling: Tiling, store: TileStore, number: int, *, margin: int
) -> Iterator[tuple[Tile, torch.Tensor | None, bool]]:
    """A window's tiles, their sums and whether those are new, good until the next one is asked for.

    Those that are complete with it come first, so that their memory serves the tiles that it opens. A tile that a
    single window covers needs no sums without a margin. The store is without them too when it counts only.
    """

    def turn(tile: Tile) -> tuple[bool, Tile]:
        return tiling.visits[tile][-1] > number, tile

    def next_use(key: Tile, *, tile: Tile) -> int:
        visits = tiling.visits[key]
        return visits[bisect.bisect_left(visits, number + (turn(key) <= turn(tile)))]

    for tile in sorted(tiling.tiles_of(tiling.windows[number]), key=turn):
        if len(tiling.visits[tile]) == 1 and not margin:
            yield tile, None, True
            continue
        yield tile, *store.open(tile, tiling.held_size(tile, margin), next_use=partial(next_use, tile=tile))
        if tiling.visits[tile][-1] == number:
            store.close(tile)


def add_on_device(scores: torch.Tensor, weights: torch.Tensor, sums: torch.Tensor, *, fresh: bool) -> None:
    """The torch twin of `add_window`, for a tile's part of each."""
    if fresh:
        torch.mul(scores, weights, out=sums)
    else:
        sums.addcmul_(scores, weights.expand_as(scores))


def check_finite(finite: bool) -> None:
    """Refuse a mean score that is not finite.

    Raises:
        NumericError: It is not.
    """
    if not finite:
        msg = "sliding window: the network's scores are not finite. Check the weights, or predict without autocast."
        raise NumericError(msg)


def offset(voxel: Shape, first: Shape) -> Shape:
    """Where a voxel of the scan is in a box that begins here."""
    return voxel[0] - first[0], voxel[1] - first[1], voxel[2] - first[2]


def place(first: Shape, size: Shape) -> tuple[slice, slice, slice]:
    """A box as slices."""
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
