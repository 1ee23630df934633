"""The maps of a detection network over a whole scan, a slab of merged windows after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from medseg.errors import ConfigError
from medseg.inference.merging import LevelSum, Slab
from medseg.inference.windows import Blend, Shape, Windows, importance, read_window

Network = Callable[[torch.Tensor], Any]
Pair = tuple[torch.Tensor, torch.Tensor]  # logits and offsets, or their weights


@dataclass(frozen=True)
class ScanMaps:
    """One network over a scan mirrored along some axes.

    Attributes:
        network: Gives class and box maps, see `BoxDetector`.
        windows: Where it looks.
        per_cell: Anchors of a cell.
        flips: Axes (0, 1, 2) along which the scan is mirrored; so are the maps.
        blend: How windows are weighted.
        batch_size: Windows in one forward pass.
        network_device: Where the network runs.
        device: Where maps are merged.
    """

    network: Network
    windows: Windows
    per_cell: int = field(kw_only=True)
    flips: tuple[int, ...] = field(kw_only=True)
    blend: Blend = field(kw_only=True)
    batch_size: int = field(kw_only=True)
    network_device: torch.device | str = field(kw_only=True)
    device: torch.device | str = field(kw_only=True)

    def slabs(self, image: torch.Tensor) -> Iterator[list[Slab]]:
        """The merged maps of a scan (C, X, Y, Z): of each level a part that no other window touches, then the next.

        Raises:
            ConfigError: The network's output is not what the anchors and the windows want.
        """
        sums: list[LevelSum] = []
        weights: list[Pair] = []
        rows, axis = self.windows.rows(), self.windows.axis
        ends = [row[0][axis] for row in rows[1:]] + [self.windows.image_size[axis]]
        for row, end in zip(rows, ends, strict=True):
            for start, maps in self._row(image, row):
                if self.windows.count == 1:
                    yield [Slab.whole(*pair) for pair in maps]
                    return
                sums = sums or [LevelSum.over(self.windows, logits.shape[1:]) for logits, _ in maps]
                weights = weights or self._weights(maps)
                for level, pair, shares in zip(sums, maps, weights, strict=True):
                    level.add(pair, shares, start=start)
            yield [level.ready(end) for level in sums]
            for level in sums:
                level.drop(end)

    def _weights(self, maps: Sequence[Pair]) -> list[Pair]:
        """The weights of the cells of each level's maps; all class maps come before all box maps, as in MONAI."""
        shapes = [logits.shape[1:] for logits, _ in maps]
        weights = importance(self.windows.size, shapes * 2, blend=self.blend, device=maps[0][0].device)
        return list(zip(weights[: len(maps)], weights[len(maps) :], strict=True))

    def _row(self, image: torch.Tensor, row: Sequence[Shape]) -> Iterator[tuple[Shape, list[Pair]]]:
        """The maps of each window of a row, where they are to be merged."""
        for first in range(0, len(row), self.batch_size):
            starts = row[first : first + self.batch_size]
            parts = [read_window(image, start, self.windows.size, flips=self.flips) for start in starts]
            batch = torch.stack(parts) if len(parts) > 1 else parts[0][None]  # one window needs no copy
            pairs = self._pairs(self.network(batch.to(self.network_device)))
            for place, start in enumerate(starts):
                yield start, [(self._moved(logits[place]), self._moved(offsets[place])) for logits, offsets in pairs]

    def _moved(self, part: torch.Tensor) -> torch.Tensor:
        return part.to(self.device, torch.float32)

    def _pairs(self, output: Any) -> list[Pair]:
        """The network's output as one pair (logits, offsets) a level."""
        if isinstance(output, Mapping):
            classes, boxes = output.get("classification"), output.get("box_regression")
        else:
            classes, boxes = output[: len(output) // 2], output[len(output) // 2 :]
        if not classes or not boxes or len(classes) != len(boxes):
            msg = "detection: the network must give classification and box_regression, a map of each for every level."
            raise ConfigError(msg)
        if classes[0].shape[1] % self.per_cell or boxes[0].shape[1] != self.per_cell * 6:
            msg = (
                f"detection: maps of {classes[0].shape[1]} and {boxes[0].shape[1]} channels do not belong to "
                f"{self.per_cell} anchors a cell: wanted a multiple of {self.per_cell}, and {self.per_cell * 6}."
            )
            raise ConfigError(msg)
        return list(zip(classes, boxes, strict=True))
