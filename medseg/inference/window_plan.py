"""What a whole-scan prediction will hold in memory, known before it runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from medseg.errors import ConfigError
from medseg.inference.tile_merge import opened
from medseg.inference.tile_padding import TilePadding
from medseg.inference.tile_store import TileStore
from medseg.inference.tiling import Tiling

_FLOAT, _MB = 4, 2**20
_RESERVE = 0.95  # of a budget is planned with; the rest is for what no plan knows


@dataclass(frozen=True, kw_only=True)
class WindowPlan:
    """How a scan is predicted, and what that takes. None of it changes a result.

    Attributes:
        windows: Windows of the scan.
        channels: Channels of the scores.
        batch_size: Windows in one forward pass.
        base_mb: What the process held when it planned, image and network included.
        network_mb: What one forward pass takes beside that, as measured on one window.
        sums_mb: What the merge holds at most.
        sums_limit_mb: What it may hold; infinite where nothing has to give way.
        spilled_mb: What it writes elsewhere, in all.
        labels_mb: The result.
    """

    windows: int
    channels: int
    batch_size: int
    base_mb: float
    network_mb: float
    sums_mb: float
    sums_limit_mb: float
    spilled_mb: float
    labels_mb: float

    @property
    def predicted_mb(self) -> float:
        """The most that will be held at once."""
        return self.base_mb + self.network_mb + self.sums_mb + self.labels_mb


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What is known when a plan is made, in MiB: see `WindowPlan`; `window_mb` is one window's forward pass.

    `margin` is 1 where scores are interpolated between tiles, else 0: see `TileMerge`.
    """

    channels: int
    margin: Literal[0, 1]
    base_mb: float
    window_mb: float
    labels_mb: float


def make_plan(tiling: Tiling, needs: Needs, *, batch_size: int, budget_mb: float) -> WindowPlan:
    """The largest batch that fits the budget, else one window at a time with a part of the sums written elsewhere.

    Raises:
        ConfigError: Not even that fits.
    """
    sums_mb, _ = _counted(tiling, needs, limit_mb=math.inf)
    room = budget_mb * _RESERVE - needs.base_mb - needs.labels_mb
    batch = min(batch_size, len(tiling.windows))
    while batch > 1 and batch * needs.window_mb + sums_mb > room:
        batch = (batch + 1) // 2
    limit, spilled = math.inf, 0.0
    if batch * needs.window_mb + sums_mb > room:
        limit = room - batch * needs.window_mb
        try:
            sums_mb, spilled = _counted(tiling, needs, limit_mb=limit)
        except ConfigError as error:
            least = (budget_mb * _RESERVE - limit + _least_mb(tiling, needs)) / _RESERVE
            msg = (
                f"sliding window: max_memory_mb {budget_mb:.0f} is too little: {needs.base_mb:.0f} are held, one "
                f"window takes {needs.window_mb:.0f}, the sums of {needs.channels} channels the rest. "
                f"Give at least {least:.0f}, or take smaller windows."
            )
            raise ConfigError(msg) from error
    return WindowPlan(
        windows=len(tiling.windows),
        channels=needs.channels,
        batch_size=batch,
        base_mb=needs.base_mb,
        network_mb=batch * needs.window_mb,
        sums_mb=sums_mb,
        sums_limit_mb=limit,
        spilled_mb=spilled,
        labels_mb=needs.labels_mb,
    )


def _counted(tiling: Tiling, needs: Needs, *, limit_mb: float) -> tuple[float, float]:
    """The peak of the sums under this limit, and what is written elsewhere in all, in MiB."""
    store = TileStore(needs.channels, None, limit_mb=limit_mb)
    padding = TilePadding(tiling, store)
    for number in range(len(tiling.windows)):
        for tile, _, _ in opened(tiling, store, number, margin=needs.margin):
            if needs.margin and tiling.visits[tile][-1] == number:
                padding.keep(tile, None)
    return store.peak_bytes / _MB, store.spilled_bytes / _MB


def _least_mb(tiling: Tiling, needs: Needs) -> float:
    """About what the merge needs with all but one tile written elsewhere: that tile, and the planes between tiles."""
    tile = max(math.prod(tiling.held_size(tile, needs.margin)) for tile in tiling.visits)
    if not needs.margin:
        return needs.channels * tile * _FLOAT / _MB
    sides = sorted(size + len(cuts) for size, cuts in zip(tiling.image_size, tiling.cuts, strict=True))
    planes = 2 * sides[0] * sides[1] + max(tiling.size) ** 2 * 2
    return needs.channels * (tile + planes) * _FLOAT / _MB
