"""Non-maximum suppression of 3D boxes: of those that overlap, the best stays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medseg.errors import ConfigError, DataError
from medseg.kernels.bins import Bins, Floats, Indices, bins_of
from medseg.kernels.boxes import checked_boxes, overlap
from medseg.kernels.jit import jit


@jit
def _suppress_near(
    best: int, boxes: Floats, labels: Indices, bins: Bins, limit: np.float32, alive: npt.NDArray[np.bool_]
) -> None:
    """Drop the later boxes of the same class that overlap one by more than the limit."""
    x, y, z = bins.place[best]
    low, high = max(z - 1, 0), min(z + 2, bins.counts[2])
    for i in range(max(x - 1, 0), min(x + 2, bins.counts[0])):
        for j in range(max(y - 1, 0), min(y + 2, bins.counts[1])):
            row = (i * bins.counts[1] + j) * bins.counts[2]
            for member in range(bins.start[row + low], bins.start[row + high]):
                other = bins.members[member]
                if other > best and alive[other] and labels[other] == labels[best]:
                    alive[other] = overlap(boxes[other], boxes[best]) <= limit


@jit
def _suppress(boxes: Floats, labels: Indices, bins: Bins, limit: np.float32, kept: Indices) -> int:
    """Fill `kept` with the boxes that stay, from boxes in falling order of score. Returns how many."""
    alive = np.ones(len(boxes), dtype=np.bool_)
    count = 0
    for box in range(len(boxes)):
        if alive[box]:
            kept[count] = box
            count += 1
            if count == len(kept):
                break
            _suppress_near(box, boxes, labels, bins, limit, alive)
    return count


def ranked(
    boxes: npt.ArrayLike, scores: npt.ArrayLike, labels: npt.ArrayLike | None, *, where: str
) -> tuple[Floats, Floats, Indices, Indices]:
    """Boxes, scores and labels in falling order of score, equals in the order given, and that order.

    Raises:
        DataError: Not boxes, a score that is NaN, or arrays of different lengths.
    """
    rows = checked_boxes(boxes, where=where)
    marks = np.asarray(scores, dtype=np.float32).reshape(-1)
    classes = np.zeros(len(rows), np.int64) if labels is None else np.asarray(labels, dtype=np.int64).reshape(-1)
    if not len(rows) == len(marks) == len(classes):
        msg = f"{where}: {len(rows)} boxes, {len(marks)} scores and {len(classes)} labels; give one of each a box."
        raise DataError(msg)
    if np.isnan(marks).any():
        msg = f"{where}: the score of box {int(np.flatnonzero(np.isnan(marks))[0])} is NaN."
        raise DataError(msg)
    order = np.argsort(-marks, kind="stable")
    return rows[order], marks[order], classes[order], order


def nms(
    boxes: npt.ArrayLike,
    scores: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    *,
    iou_threshold: float,
    max_kept: int | None = None,
) -> Indices:
    """The boxes that no better box of their class overlaps by more than the threshold.

    Greedy: the best box stays, those of its class that overlap it go, and so on. MONAI's `batched_nms` keeps the same
    boxes.

    Args:
        boxes: Shape `(N, 6)`, any unit.
        scores: Shape `(N,)`; of equal scores the earlier box is the better one.
        labels: Class of each box; all the same when not given.
        iou_threshold: IoU above which the worse box goes, 0 to 1.
        max_kept: Boxes to keep at most, the best ones.

    Returns:
        Indices of the boxes that stay, best first. Empty without boxes.

    Raises:
        DataError: See `ranked`.
        ConfigError: A threshold outside 0 to 1, or `max_kept` below 1.

    Example:
        >>> nms([[0, 0, 0, 4, 4, 4], [0, 0, 0, 4, 4, 5], [9, 9, 9, 12, 12, 12]], [0.5, 0.9, 0.1], iou_threshold=0.3)
        array([1, 2])
    """
    if not 0 <= iou_threshold <= 1 or (max_kept is not None and max_kept < 1):
        msg = f"nms: iou_threshold {iou_threshold} must be 0 to 1, and max_kept {max_kept} at least 1."
        raise ConfigError(msg)
    rows, _, classes, order = ranked(boxes, scores, labels, where="nms")
    if not len(rows):
        return np.empty(0, dtype=np.int64)
    kept = np.empty(min(len(rows), max_kept or len(rows)), dtype=np.int64)
    count = _suppress(rows, classes, bins_of(rows), np.float32(iou_threshold), kept)
    return order[kept[:count]]
