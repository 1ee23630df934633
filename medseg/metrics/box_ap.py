"""Average precision and recall of boxes: COCO's rules at LUNA16's overlaps, in 3D. No torch.

The rules are those of Lin et al. 2014 (https://arxiv.org/abs/1405.0312) as pycocotools computes them
(https://github.com/cocodataset/cocoapi); the thresholds 0.1 to 0.5 are nnDetection's (Baumgartner et al. 2021,
https://arxiv.org/abs/2106.00817), for small things in coarse voxels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

IOU_THRESHOLDS = (0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50)
MOST_BOXES = 100  # of one class in one case that count
RECALLS = np.linspace(0.0, 1.0, 101)  # where COCO reads the precision


@dataclass(frozen=True, kw_only=True)
class CaseBoxes:
    """The boxes of one case, found and true. Corners `(N, 6)` in any unit.

    Attributes:
        box: Found boxes `(N, 6)`.
        score: Their scores `(N,)`, finite.
        label: Their classes `(N,)`.
        true_box: True boxes `(M, 6)`.
        true_label: Their classes `(M,)`.
    """

    box: Floats
    score: Floats
    label: Ints
    true_box: Floats
    true_label: Ints


@dataclass(frozen=True, kw_only=True)
class ClassMatches:
    """The found boxes of one class over all cases, highest score first.

    Attributes:
        score: Scores `(D,)`.
        case: Index of each one's case, `(D,)`.
        found: By overlap threshold, whether each is a true positive, `(T, D)`.
        n_true: True boxes.
    """

    score: Floats
    case: Ints
    found: npt.NDArray[np.bool_]
    n_true: int


def match_class(
    cases: Iterable[CaseBoxes],
    label: int,
    *,
    iou_thresholds: tuple[float, ...] = IOU_THRESHOLDS,
    most_boxes: int = MOST_BOXES,
) -> ClassMatches:
    """Match found boxes to true ones, case by case and threshold by threshold, as COCO does.

    In the order of falling scores each found box takes the true box it overlaps most, of those not taken yet, if
    their IoU reaches the threshold; else it is a false positive. COCO settles what is equal by the order of rows; here
    it is the order of corners within a case, so that rows may stand in any order, and that of the cases between them.

    Args:
        cases: All cases, those without boxes too.
        label: The class.
        iou_thresholds: Least IoU of a match.
        most_boxes: Found boxes of a case that count, best first.
    """
    scores, owners, found = [np.zeros(0)], [np.zeros(0, dtype=np.int64)], [np.zeros((len(iou_thresholds), 0), bool)]
    n_true = 0
    for number, case in enumerate(cases):
        its = np.flatnonzero(case.label == label)
        its = its[np.lexsort((*case.box[its].T, -case.score[its]))[:most_boxes]]
        true = case.true_box[case.true_label == label]
        true = true[np.lexsort(true.T)]
        n_true += len(true)
        scores.append(case.score[its])
        owners.append(np.full(len(its), number, dtype=np.int64))
        found.append(_greedy(_iou(case.box[its], true), iou_thresholds))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return ClassMatches(
        score=np.concatenate(scores)[order],
        case=np.concatenate(owners)[order],
        found=np.concatenate(found, axis=1)[:, order],
        n_true=n_true,
    )


def average_precision(matches: ClassMatches) -> Floats:
    """COCO's 101-point AP at each threshold, `(T,)`.

    The precision at a recall is the highest at that recall or a greater one, 0 where no score reaches it.

    Raises:
        DataError: When the class has no true box: it has no recall then.
    """
    _check(matches)
    true = np.cumsum(matches.found, axis=1, dtype=np.float64)
    recall = true / matches.n_true
    precision = true / np.arange(1, matches.found.shape[1] + 1, dtype=np.float64)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
    rows = [values[np.searchsorted(reached, RECALLS)].mean() for values, reached in zip(best, recall, strict=True)]
    return np.array(rows)


def average_recall(matches: ClassMatches) -> Floats:
    """The recall of all boxes that count, at each threshold, `(T,)`; their mean is COCO's AR.

    Raises:
        DataError: When the class has no true box.
    """
    _check(matches)
    return np.asarray(matches.found.sum(axis=1) / matches.n_true)


def _check(matches: ClassMatches) -> None:
    if not matches.n_true:
        msg = "box_ap: a class without a true box has no recall. Leave the class out of the mean."
        raise DataError(msg)


def _iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union `(N, M)`, in float64: the kernel's float32 is too coarse for world mm and thresholds."""
    low = np.maximum(a[:, None, :3], b[None, :, :3])
    high = np.minimum(a[:, None, 3:], b[None, :, 3:])
    shared = np.maximum(high - low, 0.0).prod(axis=2)
    own, other = ((boxes[:, 3:] - boxes[:, :3]).prod(axis=1) for boxes in (a, b))
    union = own[:, None] + other[None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def _greedy(iou: Floats, thresholds: tuple[float, ...]) -> npt.NDArray[np.bool_]:
    """Which rows (found boxes, best first) take a column (true box), by threshold."""
    found = np.zeros((len(thresholds), len(iou)), dtype=np.bool_)
    if not iou.size:
        return found
    for level, threshold in enumerate(thresholds):
        free = iou.copy()
        for row in np.flatnonzero((iou >= threshold).any(axis=1)):
            # Of equal overlaps COCO takes the last.
            column = free.shape[1] - 1 - int(np.argmax(free[row, ::-1]))
            if free[row, column] >= threshold:
                found[level, row] = True
                free[:, column] = -1.0
    return found
