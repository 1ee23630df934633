"""Labels of a scan in one stream: windows, merge, resampling to the scan's own grid, decision."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medseg.errors import ConfigError
from medseg.inference.memory import held_mb, measured, room_mb
from medseg.inference.native_grid import NativeGrid
from medseg.inference.native_labels import NativeLabels, warm_up
from medseg.inference.same_grid import SameGridLabels
from medseg.inference.scan_windows import ScanWindows
from medseg.inference.tile_merge import Activation, LastVisit, TileMerge, weighted
from medseg.inference.tile_padding import TilePadding
from medseg.inference.tile_store import TileStore
from medseg.inference.window_plan import Needs, WindowPlan, make_plan

_MB = 2**20


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A scan's labels, and what they took.

    Attributes:
        labels: On the scan's own grid: `(X, Y, Z)`, or masks `(classes, X, Y, Z)`.
        plan: What was planned.
        peak_mb: What was held at most while it ran, to be compared with `plan.predicted_mb`.
    """

    labels: npt.NDArray[np.integer]
    plan: WindowPlan
    peak_mb: float


@dataclass(frozen=True)
class StreamingPrediction:
    """One network over one scan, whose scores are never held as a whole.

    Attributes:
        scan: The scan and its windows.
        network: Gives scores `(B, classes, x, y, z)` of windows `(B, C, x, y, z)`.
        batch_size: Windows in one forward pass, at most.
        max_memory_mb: What may be held, in MiB; what the machine has when None.
        beside_mb: What other work of this process may come to hold meanwhile, in MiB.
    """

    scan: ScanWindows
    network: Callable[[torch.Tensor], Any]
    batch_size: int = 1
    max_memory_mb: float | None = None
    beside_mb: float = 0.0

    def plan(
        self, grid: NativeGrid, *, activation: Activation, threshold: float | None, exclusive: bool = False
    ) -> tuple[WindowPlan, torch.Tensor]:
        """How the scan is to be predicted, and the scores of its first window, which say what the network takes.

        Raises:
            ConfigError: The network gives no scores of the window's voxels, or the budget is too small.
        """
        device = self.scan.device
        with torch.inference_mode():
            warm_up(threshold, exclusive=exclusive)
            base_mb = held_mb(device) + self.beside_mb
            # A first pass also takes what stays (compiled code, scratch memory): so much more is planned for.
            scores, window_mb = measured(self._probe, device)
        channels = int(scores.shape[1])
        budget = room_mb(device) if self.max_memory_mb is None else self.max_memory_mb
        on_cpu = device.type == "cpu"
        masks = 1 if threshold is None else channels
        bytes_each = 2 if threshold is None and channels > 256 else 1
        needs = Needs(
            channels=channels,
            margin=0 if _needs_no_means(grid, activation=activation, threshold=threshold) else 1,
            base_mb=base_mb,
            window_mb=window_mb,
            labels_mb=masks * bytes_each * math.prod(grid.shape) / _MB if on_cpu else 0.0,
        )
        return make_plan(self.scan.tiling, needs, batch_size=self.batch_size, budget_mb=budget), scores

    def labels(
        self, grid: NativeGrid, *, activation: Activation, threshold: float | None, exclusive: bool = False
    ) -> Prediction:
        """Run; see `SlidingWindow.predict_labels`."""
        plan, scores = self.plan(grid, activation=activation, threshold=threshold, exclusive=exclusive)
        first = [scores]
        del scores  # the run takes it out of the list, and lets it go
        started = held_mb(self.scan.device)
        with torch.inference_mode():
            labels, above = measured(
                lambda: self._run(plan, first, grid, activation=activation, threshold=threshold, exclusive=exclusive),
                self.scan.device,
            )
        return Prediction(labels=labels, plan=plan, peak_mb=started + above)

    def _run(
        self,
        plan: WindowPlan,
        first: list[torch.Tensor],
        grid: NativeGrid,
        *,
        activation: Activation,
        threshold: float | None,
        exclusive: bool,
    ) -> npt.NDArray[np.integer]:
        threads = torch.get_num_threads()
        grid = grid.moved([-before for before in self.scan.padding])
        inside = [(start, start + count) for start, count in zip(self.scan.padding, self.scan.inner, strict=True)]
        store = TileStore(plan.channels, self.scan.device, limit_mb=min(plan.sums_limit_mb, plan.sums_mb))
        direct = _needs_no_means(grid, activation=activation, threshold=threshold)
        merge = TileMerge(self.scan.tiling, store, self.scan.weights, margin=0 if direct else 1, threads=threads)
        result: SameGridLabels | NativeLabels
        if direct:
            result = SameGridLabels(grid, channels=plan.channels, inside=inside, threads=threads)
        else:
            padding = TilePadding(self.scan.tiling, store, activation=activation, threads=threads, inside=inside)
            result = NativeLabels(
                grid, padding, channels=plan.channels, threshold=threshold, threads=threads, exclusive=exclusive
            )
        try:
            for visit in self._visits(merge, first, plan.batch_size):
                result.write(visit)
                del visit  # likewise the merge
        finally:
            store.end()
        return result.labels

    def _visits(self, merge: TileMerge, first: list[torch.Tensor], batch_size: int) -> Iterator[LastVisit]:
        """The complete tiles of the scan, in the order of its windows; the first window's scores are there already."""
        scores = first.pop()
        yield from merge.add(0, scores[0])
        del scores  # before the next ones come
        windows = self.scan.tiling.windows
        for number in range(1, len(windows), batch_size):
            starts = windows[number : number + batch_size]
            scores = self.scan.scores(starts, self.network).to(self.scan.device)
            for place in range(len(starts)):
                yield from merge.add(number + place, scores[place])
            del scores

    def _probe(self) -> torch.Tensor:
        """The scores of the first window `(1, C, x, y, z)`, once made ready to be merged."""
        scores = self.scan.scores(self.scan.tiling.windows[:1], self.network)
        if not self.scan.is_plain(scores, 1):
            shape = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
            msg = (
                f"sliding window: the network gives {shape} for a window of {self.scan.tiling.size} voxels, wanted one "
                "tensor (1, classes, x, y, z) of as many. Call the inferer instead of predict_labels."
            )
            raise ConfigError(msg)
        scores = scores.to(self.scan.device)
        weighted(scores[0], self.scan.weights)
        return scores


def _needs_no_means(grid: NativeGrid, *, activation: Activation, threshold: float | None) -> bool:
    """Whether the best class of a voxel is that of the network's voxel in its place, whose mean nobody else needs.

    Softmax keeps the order of the classes. A sigmoid is 1 for all high scores, which are then alike.
    """
    return threshold is None and activation != "sigmoid" and grid.start is not None
