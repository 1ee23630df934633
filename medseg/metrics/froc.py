"""FROC curves as LUNA16 draws them: sensitivity against false positives per scan, its seven points and their mean.

CAMELYON's FROC, which MONAI has, is another one: see docs/metrics.md. No torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.metrics.nodule_hits import Balls, Fate, Floats, Ints, NoduleHits, Points

# False positives per scan of the competition performance metric (Niemeijer et al. 2011,
# https://doi.org/10.1109/TMI.2010.2072789), as LUNA16 takes them.
FP_POINTS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
RESAMPLES = 1000  # LUNA16's
_BAND = np.geomspace(FP_POINTS[0], FP_POINTS[-1], 97)  # where the band of the plot is computed: 16 to an octave


@dataclass(frozen=True, kw_only=True)
class FrocEntries:
    """What a FROC is made of: the best mark of each found nodule, and the false positives, highest score first.

    Attributes:
        scan: Index of each entry's scan, `(E,)`.
        score: Scores `(E,)`, falling.
        found: Whether the entry is a found nodule, `(E,)`.
        nodules_of: Nodules of each scan, found or not, `(n_scans,)`.
    """

    scan: Ints
    score: Floats
    found: npt.NDArray[np.bool_]
    nodules_of: Ints

    @property
    def n_scans(self) -> int:
        """All scans, those without nodules or marks too."""
        return len(self.nodules_of)


@dataclass(frozen=True, kw_only=True)
class FrocCurve:
    """A FROC, one point for each threshold and (0, 0) before them.

    Attributes:
        fp_per_scan: False positives per scan, not falling, `(P,)`.
        sensitivity: Share of the nodules found, not falling, `(P,)`.
        threshold: Least score of the marks that count at the point, `(P,)`; inf first.
    """

    fp_per_scan: Floats
    sensitivity: Floats
    threshold: Floats

    def at(self, fp_per_scan: npt.ArrayLike) -> Floats:
        """Sensitivities between the points, linearly; beyond the last point its own.

        Where several points share an abscissa the highest counts.
        """
        return np.asarray(np.interp(np.asarray(fp_per_scan, dtype=np.float64), self.fp_per_scan, self.sensitivity))

    @property
    def cpm(self) -> float:
        """Mean sensitivity at `FP_POINTS`, 0 to 1."""
        return float(self.at(FP_POINTS).mean())


@dataclass(frozen=True, kw_only=True)
class FrocBootstrap:
    """How sure a FROC is, by resampling scans.

    Attributes:
        cpm_ci95: 95 % interval of the CPM.
        sensitivity_ci95: Of the sensitivity at each of `FP_POINTS`, `(7, 2)`.
        sensitivity_mean: Mean over the resamples at each of `FP_POINTS`, `(7,)`: what the official script tabulates.
        band_fp_per_scan: Abscissae of the band, `(Q,)`.
        band_ci95: Interval of the sensitivity at each of them, `(Q, 2)`.
        n_resamples: Resamples that hold a nodule; the others have no sensitivity.
    """

    cpm_ci95: tuple[float, float]
    sensitivity_ci95: Floats
    sensitivity_mean: Floats
    band_fp_per_scan: Floats
    band_ci95: Floats
    n_resamples: int


def froc_entries(marks: Points, nodules: Balls, hits: NoduleHits, *, n_scans: int) -> FrocEntries:
    """The entries of a matching.

    Raises:
        DataError: When there is no scan or no nodule: there is no sensitivity then.
    """
    if not n_scans or not len(nodules.scan):
        msg = f"froc: {n_scans} scans with {len(nodules.scan)} nodules have no sensitivity. Wanted at least one nodule."
        raise DataError(msg)
    of_nodules = hits.best_mark[hits.best_mark >= 0]
    false = np.flatnonzero(hits.fate == Fate.FALSE_POSITIVE)
    chosen = np.concatenate([of_nodules, false])
    found = np.arange(len(chosen)) < len(of_nodules)
    order = np.argsort(-marks.score[chosen], kind="stable")
    return FrocEntries(
        scan=marks.scan[chosen][order],
        score=marks.score[chosen][order],
        found=found[order],
        nodules_of=np.bincount(nodules.scan, minlength=n_scans).astype(np.int64),
    )


def froc_curve(entries: FrocEntries) -> FrocCurve:
    """The curve of all scans. Marks of equal score pass a threshold together.

    False positives are divided by all scans. A nodule without a mark stays in the denominator of the sensitivity.
    """
    ends = _threshold_ends(entries.score)
    fp, sensitivity = _points(entries, np.ones(entries.n_scans), ends, len(entries.scan))
    return FrocCurve(fp_per_scan=fp, sensitivity=sensitivity, threshold=np.concatenate([[np.inf], entries.score[ends]]))


def bootstrap_froc(entries: FrocEntries, *, resamples: int = RESAMPLES, seed: int = 0) -> FrocBootstrap:
    """Draw scans with replacement, as many as there are, and take the curve of each draw.

    The limits are the official ones: the values of rank floor(0.025 n) and floor(0.975 n) from 0 among n sorted ones.

    Args:
        entries: The entries.
        resamples: Draws.
        seed: Seed of the draws; the same seed and number of scans give the same draws.

    Raises:
        DataError: When no draw holds a nodule.
    """
    rng = np.random.default_rng(seed)
    wanted = np.concatenate([FP_POINTS, _BAND])
    curves = _Resampler(entries)
    values = []
    for _ in range(resamples):
        times = np.bincount(rng.integers(entries.n_scans, size=entries.n_scans), minlength=entries.n_scans)
        if times @ entries.nodules_of:
            values.append(np.interp(wanted, *curves.curve(times.astype(np.float64))))
    if not values:
        msg = f"froc: none of {resamples} resamples holds a nodule. Wanted at least one resample and more nodules."
        raise DataError(msg)
    drawn = np.array(values)
    points = drawn[:, : len(FP_POINTS)]
    cpm = _limits(points.mean(axis=1)[:, None])[0]
    return FrocBootstrap(
        cpm_ci95=(float(cpm[0]), float(cpm[1])),
        sensitivity_ci95=_limits(points),
        sensitivity_mean=points.mean(axis=0),
        band_fp_per_scan=_BAND,
        band_ci95=_limits(drawn[:, len(FP_POINTS) :]),
        n_resamples=len(drawn),
    )


class _Resampler:
    """Curves of weighted scans up to 8 false positives per scan: entries beyond are read only where it takes them."""

    def __init__(self, entries: FrocEntries) -> None:
        self.entries = entries
        self.ends = _threshold_ends(entries.score)
        enough = FP_POINTS[-1] * entries.n_scans
        margin = 1.25 * enough + 1
        fp = np.cumsum(~entries.found)
        prefix = min(int(np.searchsorted(fp, margin)) + 1, len(fp))
        self.n_ends = int(np.searchsorted(self.ends, prefix - 1)) + 1 if len(fp) else 0
        self.false_of = np.bincount(entries.scan[~entries.found], minlength=entries.n_scans)

    def curve(self, times: Floats) -> tuple[Floats, Floats]:
        for n_ends in (self.n_ends, len(self.ends)):
            ends = self.ends[:n_ends]
            n_entries = int(ends[-1]) + 1 if n_ends else 0
            fp, sensitivity = _points(self.entries, times, ends, n_entries, n_false=float(times @ self.false_of))
            if fp[-1] > FP_POINTS[-1]:
                break
        return fp, sensitivity


def _threshold_ends(scores: Floats) -> Ints:
    """The last entry of each run of equal scores."""
    return np.flatnonzero(np.append(np.diff(scores) != 0, [True] * bool(len(scores)))).astype(np.int64)


def _points(
    entries: FrocEntries, times: Floats, ends: Ints, n_entries: int, *, n_false: float | None = None
) -> tuple[Floats, Floats]:
    """False positives per scan and sensitivities at the ends of runs, each scan counted so many times."""
    weight = times[entries.scan[:n_entries]]
    found = np.cumsum(weight * entries.found[:n_entries])[ends]
    false = np.cumsum(weight)[ends] - found
    n_false = (float(false[-1]) if len(false) else 0.0) if n_false is None else n_false
    if n_false:
        # The official order of operations: its rounding decides on which side of a point such as 111/888 a curve
        # that climbs right there is read.
        false = false / n_false * n_false
    sensitivity = found / float(times @ entries.nodules_of)
    return np.concatenate([[0.0], false / entries.n_scans]), np.concatenate([[0.0], sensitivity])


def _limits(values: Floats) -> Floats:
    """The 95 % interval of each column, `(C, 2)`."""
    ranked = np.sort(values, axis=0)
    low, high = (min(math.floor(share * len(ranked)), len(ranked) - 1) for share in (0.025, 0.975))
    return np.stack([ranked[low], ranked[high]], axis=1)
