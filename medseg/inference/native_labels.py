"""Labels on the scan's own grid, written part by part while the scores come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medseg.inference.native_grid import NativeGrid
from medseg.inference.tile_merge import Merged
from medseg.kernels.merge import add_window, divide
from medseg.kernels.native_labels import AxisTaps, resampled_argmax, resampled_threshold
from medseg.kernels.resample import Taps

_AT_ONCE = 1 << 26  # interpolated scores that the twin holds at a time


class NativeLabels:
    """The label map, or with a threshold one mask a channel, of a scan.

    Args:
        grid: The scan's own grid.
        channels: Channels of the scores.
        threshold: Masks of the scores that are at least this; the best class when None.
        threads: Threads to share the work.

    Attributes:
        labels: Shape `(X, Y, Z)`, or with a threshold `(channels, X, Y, Z)`; uint8, or uint16 above 256 classes.
    """

    def __init__(self, grid: NativeGrid, *, channels: int, threshold: float | None, threads: int) -> None:
        self.grid, self.threshold, self.threads = grid, threshold, threads
        dtype = np.uint8 if threshold is not None or channels <= 256 else np.uint16
        beyond = threshold is not None and threshold <= 0  # where there are no scores, they are 0
        self.labels = grid.empty_labels(None if threshold is None else channels, dtype=dtype, fill=int(beyond))

    def write(self, part: Merged) -> None:
        """Write the voxels that lie in this part."""
        places, taps = self.grid.part(part.first, part.size, last=part.last)
        out = self.grid.along_network(self.labels)[(..., *places)]
        if not out.size:
            return
        if part.scores.device.type != "cpu":
            out[...] = labels_on_device(part.scores, taps, threshold=self.threshold)
        elif self.threshold is None:
            resampled_argmax(part.scores.numpy(), taps, out, threads=self.threads)
        else:
            resampled_threshold(part.scores.numpy(), taps, out, threshold=self.threshold, threads=self.threads)


def warm_up(threshold: float | None) -> None:
    """Compile the kernels or load them from their cache, so that this is not taken for memory that a scan needs."""
    scores, weights = np.ones((2, 2, 2, 2), np.float32), np.ones((2, 2, 2), np.float32)
    for fresh in (True, False):
        add_window(scores, weights, scores.copy(), read=(0, 0, 0), write=(0, 0, 0), size=(1, 1, 1), fresh=fresh)
    divide(scores, weights, start=(0, 0, 0), size=(2, 2, 2))
    grid = NativeGrid.same((1, 1, 1))
    labels = NativeLabels(grid, channels=2, threshold=threshold, threads=1)
    labels.write(Merged(torch.from_numpy(scores), (0, 0, 0), (1, 1, 1), (False, False, False)))


def labels_on_device(scores: torch.Tensor, taps: AxisTaps, *, threshold: float | None) -> npt.NDArray[Any]:
    """The torch twin of `resampled_argmax` and `resampled_threshold`, for scores `(C, X, Y, Z)` on another device.

    A few planes at a time, so that the interpolated scores stay small.
    """
    planes = max(_AT_ONCE // (len(scores) * len(taps[1].low) * len(taps[2].low)), 1)
    found = []
    for first in range(0, len(taps[0].low), planes):
        here = slice(first, first + planes)
        some = Taps(taps[0].low[here], taps[0].high[here], taps[0].weight[here])
        values = scores
        for axis, axis_taps in enumerate((some, taps[1], taps[2]), 1):
            values = _blended(values, axis_taps, axis)
        labels = values.argmax(0).to(torch.int32) if threshold is None else values >= threshold
        found.append(labels.cpu().numpy())
    return np.concatenate(found, axis=0 if threshold is None else 1)


def _blended(scores: torch.Tensor, taps: Taps, axis: int) -> torch.Tensor:
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    weight = torch.from_numpy(taps.weight).to(scores.device).reshape(shape)
    low, high = (
        scores.index_select(axis, torch.from_numpy(index.astype(np.int64)).to(scores.device))
        for index in (taps.low, taps.high)
    )
    return low + weight * (high - low)
