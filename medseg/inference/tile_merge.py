"""Windows merged tile by tile: a tile is handed on with the last window that touches it."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from functools import partial
from typing import Literal, NamedTuple

import torch

from medseg.errors import NumericError
from medseg.inference.tile_store import TileStore
from medseg.inference.tiling import Tile, Tiling
from medseg.inference.windows import Shape
from medseg.kernels.merge import add_window
from medseg.kernels.resample import run_slabs

Activation = Literal["none", "sigmoid", "softmax"]


class LastVisit(NamedTuple):
    """A tile and the last window that touches it: its mean is `(sums + scores * weights) / count`."""

    tile: Tile
    first: Shape  # its first voxel in the scan
    size: Shape  # its voxels (x, y, z)
    sums: torch.Tensor | None  # (C, *held size) of the windows before; may be written; None where none are held
    fresh: bool  # whether no window came before, so that the sums have whatever values
    read: Shape  # the tile's first voxel in the window
    scores: torch.Tensor  # the window's, (C, x, y, z)
    weights: torch.Tensor  # the window's, (x, y, z)
    count: torch.Tensor  # the sum of the weights of all windows in the tile


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
            first, size = self.tiling.box(tile)
            read = read_of(first, window)
            if self.tiling.visits[tile][-1] == number:
                count = self._count(tile)
                yield LastVisit(tile, first, size, sums, fresh, read, scores, weights, count)
            elif sums is not None:
                self._sum(sums, scores, weights, read=read, size=size, fresh=fresh)
            del sums  # the store may let go of it to make room for the next one

    def _count(self, tile: Tile) -> torch.Tensor:
        first, size = self.tiling.box(tile)
        count = torch.zeros(size, device=self.weights.device)
        for number in self.tiling.visits[tile]:
            count += self.weights[place(read_of(first, self.tiling.windows[number]), size)]
        return count

    def _sum(
        self, sums: torch.Tensor, scores: torch.Tensor, weights: torch.Tensor, *, read: Shape, size: Shape, fresh: bool
    ) -> None:
        write = (self.margin,) * 3
        if sums.device.type == "cpu":
            parts = (scores.numpy(), weights.numpy(), sums.numpy())
            run_slabs(
                lambda a, b: add_window(*parts, read=read, write=write, size=size, fresh=fresh, channels=(a, b)),
                len(scores),
                threads=self.threads,
            )
            return
        core, source = sums[(slice(None), *place(write, size))], place(read, size)
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


def read_of(first: Shape, window: Shape) -> Shape:
    """Where a voxel of the scan is in the window that starts here."""
    return first[0] - window[0], first[1] - window[1], first[2] - window[2]


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
