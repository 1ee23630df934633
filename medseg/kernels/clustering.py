"""Weighted box clustering: the boxes that several predictions give for one finding become one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medseg.errors import ConfigError, DataError
from medseg.kernels.bins import Bins, Floats, Indices, bins_of
from medseg.kernels.boxes import overlap
from medseg.kernels.jit import jit
from medseg.kernels.nms import ranked

Doubles = npt.NDArray[np.float64]


@jit
def _cluster_near(
    best: int, boxes: Floats, labels: Indices, bins: Bins, limit: np.float32, cluster: Indices, ious: Floats
) -> None:
    """Give the free boxes of the same class that overlap the best one by more than the limit to its cluster."""
    cluster[best], ious[best] = best, np.float32(1)
    x, y, z = bins.place[best]
    low, high = max(z - 1, 0), min(z + 2, bins.counts[2])
    for i in range(max(x - 1, 0), min(x + 2, bins.counts[0])):
        for j in range(max(y - 1, 0), min(y + 2, bins.counts[1])):
            row = (i * bins.counts[1] + j) * bins.counts[2]
            for member in range(bins.start[row + low], bins.start[row + high]):
                other = bins.members[member]
                if cluster[other] < 0 and labels[other] == labels[best]:
                    iou = overlap(boxes[best], boxes[other])
                    if iou > limit:
                        cluster[other], ious[other] = best, iou


@jit
def _cluster(boxes: Floats, labels: Indices, bins: Bins, limit: np.float32, cluster: Indices, ious: Floats) -> None:
    """The best box of each box's cluster, and the IoU with it; boxes come in falling order of score."""
    for box in range(len(boxes)):
        if cluster[box] < 0:
            _cluster_near(box, boxes, labels, bins, limit, cluster, ious)


def weighted_box_clustering(
    boxes: npt.ArrayLike,
    scores: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    *,
    expected: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    iou_threshold: float = 0.1,
    use_area: bool = True,
    missing_weight: float = 1.0,
) -> tuple[Floats, Floats, Indices]:
    """One box for each finding, from the boxes of several models, windows or mirrored scans.

    The best box and the free boxes of its class that overlap it by more than the threshold make a cluster, and so on.
    Member i has the weight `w_i = iou_i * volume_i * weights_i`, `iou_i` with the cluster's best box. Then

    - score: `sum(w_i * s_i) / (sum(w_i) + missing_weight * missing * mean(w_i))`, where `missing` is how many of the
      expected predictions did not come, 0 at least: a finding of one model in five scores a fifth;
    - box: `sum(w_i * s_i * box_i) / sum(w_i * s_i)`, the mean of the members weighted by `w_i * s_i`.

    Source: Jaeger et al. 2018, Retina U-Net, https://arxiv.org/abs/1811.08661; with the weights of nnDetection
    (Baumgartner et al. 2021, https://arxiv.org/abs/2106.00817).

    Args:
        boxes: All predictions, shape `(N, 6)`, any unit.
        scores: Shape `(N,)`, not negative.
        labels: Class of each box; all the same when not given.
        expected: Predictions expected at each box, one number for all or shape `(N,)`, at least 1; a cluster takes its
            members' mean. For models that each saw the whole scan it is their number, times the mirrored scans.
        weights: Trust in each box, shape `(N,)`, positive; 1 when not given.
        iou_threshold: IoU above which a box belongs to a cluster, 0 to 1.
        use_area: Whether the volume is part of the weight: a larger box has seen more of the scan.
        missing_weight: How much a missing prediction lowers the score: 0 not at all, 1 as a prediction with score 0.

    Returns:
        Boxes `(M, 6)`, scores `(M,)` and labels `(M,)`, best first. Empty without boxes.

    Raises:
        DataError: Not boxes, a score that is NaN or negative, arrays of different lengths, `expected` below 1 or a
            weight that is not positive.
        ConfigError: A threshold outside 0 to 1, or a negative `missing_weight`.

    Example:
        >>> boxes, scores, _ = weighted_box_clustering([[0, 0, 0, 4, 4, 4]] * 2, [0.9, 0.6], expected=3)
        >>> boxes.tolist(), scores.round(3).tolist()
        ([[0.0, 0.0, 0.0, 4.0, 4.0, 4.0]], [0.5])
    """
    if not 0 <= iou_threshold <= 1 or missing_weight < 0:
        msg = (
            f"weighted_box_clustering: iou_threshold {iou_threshold} (0 to 1), missing_weight {missing_weight} (>= 0)."
        )
        raise ConfigError(msg)
    rows, marks, classes, order = ranked(boxes, scores, labels, where="weighted_box_clustering")
    hoped = _per_box(expected, order, name="expected", least=1.0)
    trust = _per_box(1.0 if weights is None else weights, order, name="weights", least=np.finfo(np.float64).tiny)
    if not len(rows):
        return rows, marks, classes
    if marks[-1] < 0:
        msg = f"weighted_box_clustering: box {order[-1]} has the score {marks[-1]}; scores must not be negative."
        raise DataError(msg)
    cluster, ious = np.full(len(rows), -1, dtype=np.int64), np.empty(len(rows), dtype=np.float32)
    _cluster(rows, classes, bins_of(rows), np.float32(iou_threshold), cluster, ious)
    if use_area:
        trust = trust * np.prod(rows[:, 3:] - rows[:, :3], axis=1, dtype=np.float64)
    best, member = np.unique(cluster, return_inverse=True)
    merged, score = _merge(member, rows, marks, hoped, ious * trust, missing_weight=missing_weight)
    falling = np.argsort(-score, kind="stable")
    return merged[falling], score[falling], classes[best][falling]


def _per_box(values: npt.ArrayLike, order: Indices, *, name: str, least: float) -> Doubles:
    given = np.asarray(values, dtype=np.float64)
    if given.ndim and given.shape != order.shape:
        msg = f"weighted_box_clustering: {given.size} {name} for {order.size} boxes."
        raise DataError(msg)
    if not (np.isfinite(given) & (given >= least)).all():
        msg = f"weighted_box_clustering: {name} must be {'at least 1' if least == 1 else 'positive'}."
        raise DataError(msg)
    return np.broadcast_to(given, order.shape)[order]


def _merge(
    member: Indices, boxes: Floats, scores: Floats, expected: Doubles, weights: Doubles, *, missing_weight: float
) -> tuple[Floats, Floats]:
    """The box and score of each cluster; `member` is the cluster of each box."""
    # A cluster of boxes without a volume, or of scores 0, would divide by 0: there all members count alike.
    total = np.bincount(member, weights)
    weights = np.where(total[member] > 0, weights, 1.0)
    marked = weights * scores
    found, total, score = np.bincount(member), np.bincount(member, weights), np.bincount(member, marked)
    missing = np.maximum(np.bincount(member, expected) / found - found, 0)
    share = np.where(score[member] > 0, marked, weights)
    corners = np.stack([np.bincount(member, share * side) for side in boxes.T.astype(np.float64)], axis=1)
    merged = corners / np.bincount(member, share)[:, None]
    return merged.astype(np.float32), (score / (total + missing_weight * missing * total / found)).astype(np.float32)
