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
from medseg.inference.scan_windows import ScanWindows
from medseg.inference.tile_merge import Activation, Merged, TileMerge, weighted
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
    """

    scan: ScanWindows
    network: Callable[[torch.Tensor], Any]
    batch_size: int = 1
    max_memory_mb: float | None = None

    def plan(self, grid: NativeGrid, *, threshold: float | None = None) -> WindowPlan:
        """How the scan is to be predicted; runs one window to see what the network gives and takes.

        Raises:
            ConfigError: The network gives no scores of the window's voxels, or the budget is too small.
        """
        device = self.scan.device
        with torch.inference_mode():
            self._probe()  # what stays after a first pass (compiled code, scratch memory) belongs to the base
            warm_up(threshold)
            channels, window_mb = measured(self._probe, device)
        budget = room_mb(device) if self.max_memory_mb is None else self.max_memory_mb
        on_cpu = device.type == "cpu"
        masks = 1 if threshold is None else channels
        bytes_each = 2 if threshold is None and channels > 256 else 1
        needs = Needs(
            channels=channels,
            base_mb=held_mb(device),
            window_mb=window_mb,
            labels_mb=masks * bytes_each * math.prod(grid.shape) / _MB if on_cpu else 0.0,
        )
        return make_plan(self.scan.tiling, needs, batch_size=self.batch_size, budget_mb=budget)

    def labels(self, grid: NativeGrid, *, activation: Activation, threshold: float | None) -> Prediction:
        """Run; see `SlidingWindow.predict_labels`."""
        plan = self.plan(grid, threshold=threshold)
        started = held_mb(self.scan.device)
        with torch.inference_mode():
            labels, above = measured(
                lambda: self._run(plan, grid, activation=activation, threshold=threshold), self.scan.device
            )
        return Prediction(labels=labels, plan=plan, peak_mb=started + above)

    def _run(
        self, plan: WindowPlan, grid: NativeGrid, *, activation: Activation, threshold: float | None
    ) -> npt.NDArray[np.integer]:
        threads = torch.get_num_threads()
        inner = grid.moved([-before for before in self.scan.padding])
        result = NativeLabels(inner, channels=plan.channels, threshold=threshold, threads=threads)
        store = TileStore(plan.channels + 1, self.scan.device, limit_mb=min(plan.sums_limit_mb, plan.sums_mb))
        merge = TileMerge(self.scan.tiling, store, self.scan.weights, activation=activation, threads=threads)
        try:
            for part in self._parts(merge, plan.batch_size):
                result.write(part)
                del part  # likewise the merge
        finally:
            store.end()
        return result.labels

    def _parts(self, merge: TileMerge, batch_size: int) -> Iterator[Merged]:
        windows = self.scan.tiling.windows
        for first in range(0, len(windows), batch_size):
            starts = windows[first : first + batch_size]
            scores = self.scan.scores(starts, self.network).to(self.scan.device)
            for place in range(len(starts)):
                yield from merge.add(first + place, scores[place])
            del scores  # before the next ones come

    def _probe(self) -> int:
        """Channels of the scores of the first window, made ready to be merged."""
        scores = self.scan.scores(self.scan.tiling.windows[:1], self.network)
        if not self.scan.is_plain(scores, 1):
            shape = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
            msg = (
                f"sliding window: the network gives {shape} for a window of {self.scan.tiling.size} voxels, wanted one "
                "tensor (1, classes, x, y, z) of as many. Call the inferer instead of predict_labels."
            )
            raise ConfigError(msg)
        weighted(scores.to(self.scan.device)[0], self.scan.weights)
        return int(scores.shape[1])
