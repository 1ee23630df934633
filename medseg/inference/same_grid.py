"""The best classes of a scan whose own grid is the network's, straight from the sums and the last window's scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from medseg.errors import ConfigError
from medseg.inference.native_grid import NativeGrid, empty_class_map
from medseg.inference.tile_merge import LastVisit, add_on_device, check_finite, place
from medseg.kernels.merge import best_class
from medseg.kernels.slabs import run_slabs


class SameGridLabels:
    """The label map of a scan, written tile by tile; the mean scores of a tile are never written on a CPU.

    Args:
        grid: The scan's own grid, which has a `start`.
        channels: Channels of the scores.
        inside: First voxel along each axis of the network's grid that has scores, and the one after the last.
        threads: Threads to share the work.

    Attributes:
        labels: Shape `(X, Y, Z)`, uint8, or uint16 above 256 classes; 0 where there are no scores.
    """

    def __init__(self, grid: NativeGrid, *, channels: int, inside: Sequence[tuple[int, int]], threads: int) -> None:
        start = grid.start
        if start is None:
            msg = "same grid: the scan's own grid is another than the network's. Take NativeLabels."
            raise ConfigError(msg)
        self.threads, self.labels = threads, empty_class_map(grid, channels)
        self._along, self._start = grid.along_network(self.labels), start
        self._bounds = [
            (max(low, first), min(high, first + count))
            for (low, high), first, count in zip(inside, start, self._along.shape, strict=True)
        ]

    def write(self, visit: LastVisit) -> None:
        """Write the voxels that lie in this tile.

        Raises:
            NumericError: A mean score is not finite.
        """
        low = [max(a, b) for a, (b, _) in zip(visit.first, self._bounds, strict=True)]
        high = [min(a + n, b) for a, n, (_, b) in zip(visit.first, visit.size, self._bounds, strict=True)]
        if any(b <= a for a, b in zip(low, high, strict=True)):
            return
        labels = self._labels_of(visit)
        source = tuple(slice(a - f, b - f) for a, b, f in zip(low, high, visit.first, strict=True))
        target = tuple(slice(a - f, b - f) for a, b, f in zip(low, high, self._start, strict=True))
        self._along[target] = labels[source]

    def _labels_of(self, visit: LastVisit) -> npt.NDArray[np.integer]:
        if visit.scores.device.type != "cpu":
            return best_class_on_device(visit).cpu().numpy()
        labels, finite = np.empty(visit.size, self.labels.dtype), list[bool]()
        sums = None if visit.sums is None else visit.sums.numpy()
        parts = (visit.scores.numpy(), visit.weights.numpy(), sums, visit.weight_sum.numpy(), labels)

        def decide(first: int, last: int) -> None:
            planes = (first, last)
            finite.append(best_class(*parts, read=visit.read, write=visit.write, size=visit.part, planes=planes))

        run_slabs(decide, len(labels), threads=self.threads)
        check_finite(all(finite))
        return labels


def best_class_on_device(visit: LastVisit) -> torch.Tensor:
    """The torch twin of `best_class`: the labels of a tile `(x, y, z)`, int32.

    Raises:
        NumericError: A mean score is not finite.
    """
    source = place(visit.read, visit.part)
    scores, weights = visit.scores[(slice(None), *source)], visit.weights[source]
    sums = torch.empty_like(scores) if visit.sums is None else visit.sums
    add_on_device(scores, weights, sums[(slice(None), *place(visit.write, visit.part))], fresh=visit.sums is None)
    check_finite(bool(torch.isfinite(sums.div_(visit.weight_sum).sum(dtype=torch.float64))))
    return sums.argmax(0).to(torch.int32)
