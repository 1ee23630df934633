"""Labels on the scan's own grid, written part by part while the scores come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medseg.inference.native_grid import NativeGrid, empty_class_map
from medseg.inference.tile_merge import LastVisit
from medseg.inference.tile_padding import Merged, TilePadding
from medseg.kernels.merge import add_window, best_class, divide
from medseg.kernels.native_labels import AxisTaps, resampled_argmax, resampled_threshold, taps_at
from medseg.kernels.resample import Taps

_AT_ONCE = 1 << 26  # interpolated scores that the twin holds at a time


class NativeLabels:
    """The label map, or with a threshold one mask a channel, of a scan.

    Args:
        grid: The scan's own grid.
        padding: Gives the mean scores of complete tiles.
        channels: Channels of the scores.
        threshold: Masks of the scores that are at least this; the best class when None.
        threads: Threads to share the work.
        exclusive: Whether, with a threshold above 0, a voxel is in no mask but that of its best channel.

    Attributes:
        labels: Shape `(X, Y, Z)`, or with a threshold `(channels, X, Y, Z)`; uint8, or uint16 above 256 classes.
    """

    def __init__(
        self,
        grid: NativeGrid,
        padding: TilePadding,
        *,
        channels: int,
        threshold: float | None,
        threads: int,
        exclusive: bool = False,
    ) -> None:
        self.grid, self.padding = grid, padding
        self.threshold, self.threads, self.exclusive = threshold, threads, exclusive
        if threshold is None:
            self.labels = empty_class_map(grid, channels)
        else:  # where there are no scores, they are 0
            self.labels = grid.empty_labels(channels, dtype=np.uint8, fill=int(threshold <= 0))

    def write(self, visit: LastVisit) -> None:
        """Write the voxels that lie in this tile.

        Raises:
            NumericError: A mean score is not finite.
        """
        part = self.padding.merged(visit)
        self._write(part)
        self.padding.keep(visit.tile, part.scores)

    def _write(self, part: Merged) -> None:
        places, taps = self.grid.part(part.first, part.size, last=part.last)
        out = self.grid.along_network(self.labels)[(..., *places)]
        if not out.size:
            return
        self._decide(part.scores, taps, out, threshold=self.threshold)
        if self.threshold is not None and self.exclusive and len(out) > 1:
            best = np.empty(out.shape[1:], np.uint8 if len(out) <= 256 else np.uint16)
            self._decide(part.scores, taps, best, threshold=None)
            for channel, mask in enumerate(out):
                mask &= best == channel

    def _decide(self, scores: torch.Tensor, taps: AxisTaps, out: npt.NDArray[Any], *, threshold: float | None) -> None:
        if scores.device.type != "cpu":
            out[...] = labels_on_device(scores, taps, threshold=threshold)
        elif threshold is None:
            resampled_argmax(scores.numpy(), taps, out, threads=self.threads)
        else:
            resampled_threshold(scores.numpy(), taps, out, threshold=threshold, threads=self.threads)


def warm_up(threshold: float | None, *, exclusive: bool = False) -> None:
    """Compile the kernels or load them from their cache, so that this is not taken for memory that a scan needs."""
    scores, weights, at = np.ones((2, 2, 2, 2), np.float32), np.ones((2, 2, 2), np.float32), (0, 0, 0)
    for fresh in (True, False):
        add_window(scores, weights, scores.copy(), read=at, write=at, size=(1, 1, 1), fresh=fresh)
    divide(scores.copy(), weights)
    best_class(scores, weights, None, weights, np.empty((2, 2, 2), np.uint8), read=at, size=(2, 2, 2))
    taps, stored = (taps_at(np.arange(2.0)),) * 3, np.empty((2, 3, 3, 3), np.uint8)
    for labels in (stored[:, :2, :2, :2], stored.ravel()[:16].reshape(2, 2, 2, 2)):  # parts of a map, and whole ones
        if threshold is None or exclusive:
            resampled_argmax(scores, taps, labels[0])
        if threshold is not None:
            resampled_threshold(scores, taps, labels, threshold=threshold)


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
