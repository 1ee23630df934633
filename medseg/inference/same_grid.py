"""The best classes of a scan whose own grid is the network's, straight from the sums and the last window's scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from medseg.errors import ConfigError
from medseg.inference.native_grid import NativeGrid, empty_class_map
from medseg.inference.tile_merge import LastVisit, add_on_device, check_finite, place
from medseg.kernels.merge import best_class
from medseg.kernels.resample import run_slabs


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
        x, y, z = (a - first for a, first in zip(low, visit.first, strict=True))
        out = self._along[tuple(slice(a - s, b - s) for a, b, s in zip(low, high, self._start, strict=True))]
        if visit.scores.device.type != "cpu":
            labels = best_class_on_device(visit)
            out[...] = labels[place((x, y, z), (out.shape[0], out.shape[1], out.shape[2]))].cpu().numpy()
            return
        sums = None if visit.fresh or visit.sums is None else visit.sums.numpy()
        parts, finite = (visit.scores.numpy(), visit.weights.numpy(), sums, visit.count.numpy(), out), list[bool]()
        read = (visit.read[0] + x, visit.read[1] + y, visit.read[2] + z)

        def decide(first: int, last: int) -> None:
            finite.append(best_class(*parts, read=read, skip=(x, y, z), planes=(first, last)))

        run_slabs(decide, len(out), threads=self.threads)
        check_finite(all(finite))


def best_class_on_device(visit: LastVisit) -> torch.Tensor:
    """The torch twin of `best_class`: the labels of a tile `(x, y, z)`, int32.

    Raises:
        NumericError: A mean score is not finite.
    """
    source = place(visit.read, visit.size)
    part, weights = visit.scores[(slice(None), *source)], visit.weights[source]
    sums = torch.empty_like(part) if visit.sums is None else visit.sums
    add_on_device(part, weights, sums, fresh=visit.fresh)
    sums.div_(visit.count)
    check_finite(bool(torch.isfinite(sums.sum(dtype=torch.float64))))
    return sums.argmax(0).to(torch.int32)
