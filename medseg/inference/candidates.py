"""The anchors of a level whose score passes: found in its maps before any box is made."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from medseg.errors import NumericError
from medseg.kernels.anchors import AnchorLevel, anchor_boxes
from medseg.losses.box_coding import decode_boxes

Shape = tuple[int, int, int]


class Candidates:
    """The best anchors of one level, collected from one part of its maps after the other.

    What is held does not grow with the scan: after each part only the best `most` remain.

    Args:
        cells: Cells of the whole level, `(X, Y, Z)`.
        per_cell: Anchors of a cell.
        threshold: Scores must be above it.
        most: Candidates to keep.
    """

    def __init__(self, cells: Shape, *, per_cell: int, threshold: float, most: int) -> None:
        self.cells, self.per_cell, self.threshold, self.most = cells, per_cell, threshold, most
        self.classes = 1
        self._kept: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def add(
        self, logits: torch.Tensor, offsets: torch.Tensor, *, first: Shape, weights: torch.Tensor | None = None
    ) -> None:
        """Take in a part of the maps.

        Args:
            logits: Shape `(anchors * classes, x, y, z)`.
            offsets: Shape `(anchors * 6, x, y, z)`, multiplied by the weights where these are given.
            first: The part's first cell in the level.
            weights: Shape `(1, x, y, z)`.

        Raises:
            NumericError: A logit, or an offset of a candidate, is not finite.
        """
        if not torch.isfinite(logits.sum(dtype=torch.float64)):
            msg = "detection: the network's class map is not finite. Check the weights, or predict without autocast."
            raise NumericError(msg)
        self.classes = logits.shape[0] // self.per_cell
        channel, x, y, z = _above(logits, self.threshold)
        scores = torch.sigmoid(logits[channel, x, y, z])
        number = self._number(channel, x + first[0], y + first[1], z + first[2])
        best = self._best(scores, number)
        channel, x, y, z = (part[best] for part in (channel, x, y, z))
        anchor = offsets.reshape(self.per_cell, 6, *offsets.shape[1:])[channel // self.classes, :, x, y, z]
        if weights is not None:
            anchor = anchor / weights[0, x, y, z][:, None]
        if not torch.isfinite(anchor).all():
            msg = "detection: the network's box map is not finite. Check the weights, or predict without autocast."
            raise NumericError(msg)
        self._keep(scores[best], number[best], anchor.float())

    def _number(self, channel: torch.Tensor, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Number of anchor and class in MONAI's order: x, y, z, anchor, class."""
        return ((x * self.cells[1] + y) * self.cells[2] + z) * (self.per_cell * self.classes) + channel

    def _best(self, scores: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
        """Where the best scores above the threshold are, best first; of equals, the lowest number first."""
        where = (scores > self.threshold).nonzero()[:, 0]
        if len(where) > self.most:
            least = scores[where].topk(self.most).values[-1]
            where = where[scores[where] >= least]
        where = where[number[where].argsort()]
        return where[scores[where].sort(descending=True, stable=True).indices[: self.most]]

    def _keep(self, scores: torch.Tensor, number: torch.Tensor, offsets: torch.Tensor) -> None:
        if self._kept is not None:
            scores, number, offsets = (
                torch.cat(pair) for pair in zip(self._kept, (scores, number, offsets), strict=True)
            )
            best = self._best(scores, number)
            scores, number, offsets = scores[best], number[best], offsets[best]
        self._kept = scores, number, offsets

    def boxes(self, level: AnchorLevel, image_size: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Boxes (N, 6) in voxels, not clipped; scores (N,); labels (N,), int64. Best first."""
        if self._kept is None:
            return torch.zeros(0, 6), torch.zeros(0), torch.zeros(0, dtype=torch.int64)
        scores, number, offsets = self._kept
        anchor = anchor_boxes(image_size, [level], (number // self.classes).cpu().numpy())
        boxes = decode_boxes(offsets, torch.from_numpy(anchor).to(offsets.device))
        return boxes, scores, number % self.classes


def _above(logits: torch.Tensor, threshold: float) -> tuple[torch.Tensor, ...]:
    """Where scores may be above the threshold; a hair too many, since the sigmoid decides."""
    if threshold <= 0:
        return torch.ones_like(logits, dtype=torch.bool).nonzero(as_tuple=True)
    low = math.log(threshold) - math.log1p(-threshold) - 1e-3 if threshold < 1 else math.inf
    return (logits > low).nonzero(as_tuple=True)
