"""Which mark finds which nodule, by the rules of LUNA16: points against balls, scan by scan. No torch.

The rules are those of the challenge (Setio et al. 2017, https://doi.org/10.1016/j.media.2017.06.015) in the detail that
its evaluation script gives them, https://luna16.grand-challenge.org/Evaluation/. docs/metrics.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MOST_MARKS = 100  # of one scan that count
UNKNOWN_DIAMETER_MM = 10.0  # stands for a negative diameter


class Fate(IntEnum):
    """What becomes of a mark."""

    FALSE_POSITIVE = 0
    TRUE_POSITIVE = 1  # the best mark of at least one nodule
    DOUBLE = 2  # hits nodules, each of which has a better mark
    IGNORED = 3  # on an excluded finding
    OVER_CAP = 4  # not among the best of its scan


@dataclass(frozen=True, kw_only=True)
class Points:
    """Points with a score, in any order.

    Attributes:
        scan: Index of each mark's scan, `(N,)`.
        centre_mm: World positions `(N, 3)`, in the frame of the findings.
        score: Finite scores of any scale, higher for the likelier nodule, `(N,)`.
    """

    scan: Ints
    centre_mm: Floats
    score: Floats


@dataclass(frozen=True, kw_only=True)
class Balls:
    """Findings: nodules, or what is excluded from scoring.

    Attributes:
        scan: Index of each finding's scan, `(M,)`.
        centre_mm: World positions `(M, 3)`.
        diameter_mm: Diameters `(M,)`; a negative one is unknown and counts as 10 mm.
    """

    scan: Ints
    centre_mm: Floats
    diameter_mm: Floats

    @property
    def squared_radius_mm2(self) -> Floats:
        """What the squared distance of a hit stays below."""
        known = np.where(self.diameter_mm < 0, UNKNOWN_DIAMETER_MM, self.diameter_mm)
        return np.asarray((known / 2.0) ** 2)


@dataclass(frozen=True, kw_only=True)
class NoduleHits:
    """The outcome of matching.

    Attributes:
        best_mark: Index of the best mark of each nodule, -1 for a missed one, `(M,)`.
        n_hits: Marks that hit each nodule, `(M,)`. A mark that hits several nodules counts for each.
        fate: `Fate` of each mark, `(N,)`.
    """

    best_mark: Ints
    n_hits: Ints
    fate: npt.NDArray[np.int8]

    @property
    def n_double(self) -> int:
        """Hits beyond the first, summed over nodules: the official count."""
        return int(np.maximum(self.n_hits - 1, 0).sum())

    def count(self, fate: Fate) -> int:
        """Number of marks with this fate."""
        return int(np.count_nonzero(self.fate == fate))


def hit_nodules(
    marks: Points, nodules: Balls, excluded: Balls, *, n_scans: int, most_marks: int = MOST_MARKS
) -> NoduleHits:
    """Decide every mark and every nodule.

    A mark hits a finding when the squared distance of the centres is below the squared radius. A nodule's best mark is
    the hit of highest score; of equal ones the nearest, then the one of lower coordinates, which changes no score.
    A mark that hits nodules and excluded findings has hit the nodules.

    Args:
        marks: All marks.
        nodules: What there is to find.
        excluded: Findings whose marks count for nothing.
        n_scans: Number of scans.
        most_marks: Marks of a scan that count. Where a scan has more, those stay whose score is ABOVE the first one
            that is too many, so that fewer may stay among equal scores.
    """
    best_mark = np.full(len(nodules.scan), -1, dtype=np.int64)
    fate = np.full(len(marks.scan), Fate.FALSE_POSITIVE, dtype=np.int8)
    n_hits = np.zeros(len(nodules.scan), dtype=np.int64)
    groups = (_by_scan(scans, n_scans) for scans in (marks.scan, nodules.scan, excluded.scan))
    for its_marks, its_nodules, its_excluded in zip(*groups, strict=True):
        if not its_marks.size:
            continue
        read = _within_cap(marks.score[its_marks], most_marks)
        fate[its_marks[~read]] = Fate.OVER_CAP
        its_marks = its_marks[read]
        fate[its_marks[_distances_mm2(excluded, its_excluded, marks, its_marks)[1].any(axis=0)]] = Fate.IGNORED
        distance, hits = _distances_mm2(nodules, its_nodules, marks, its_marks)
        fate[its_marks[hits.any(axis=0)]] = Fate.DOUBLE
        n_hits[its_nodules] = hits.sum(axis=1)
        for row in np.flatnonzero(hits.any(axis=1)):
            best_mark[its_nodules[row]] = _best(marks, its_marks[hits[row]], distance[row, hits[row]])
    fate[best_mark[best_mark >= 0]] = Fate.TRUE_POSITIVE
    return NoduleHits(best_mark=best_mark, n_hits=n_hits, fate=fate)


def _by_scan(scans: Ints, n_scans: int) -> Iterator[Ints]:
    """The indices of each scan's rows, in their order."""
    order = np.argsort(scans, kind="stable").astype(np.int64)
    ends = np.cumsum(np.bincount(scans, minlength=n_scans))
    start = 0
    for end in ends.tolist():
        yield order[start:end]
        start = end


def _within_cap(scores: Floats, most: int) -> Bools:
    if len(scores) <= most:
        return np.ones(len(scores), dtype=np.bool_)
    first_too_many = -np.partition(-scores, most)[most]
    return np.asarray(scores > first_too_many)


def _distances_mm2(balls: Balls, which: Ints, marks: Points, its_marks: Ints) -> tuple[Floats, Bools]:
    """Squared distances of findings (rows) to marks (columns), and which are hits."""
    apart = balls.centre_mm[which][:, None, :] - marks.centre_mm[its_marks][None, :, :]
    squared = apart[..., 0] ** 2 + apart[..., 1] ** 2 + apart[..., 2] ** 2
    return squared, squared < balls.squared_radius_mm2[which][:, None]


def _best(marks: Points, candidates: Ints, distance_mm2: Floats) -> int:
    x, y, z = marks.centre_mm[candidates].T
    return int(candidates[np.lexsort((z, y, x, distance_mm2, -marks.score[candidates]))[0]])
