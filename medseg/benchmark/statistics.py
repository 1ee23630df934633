"""Honest numbers from few cases: intervals, paired tests with correction, and how sure a ranking is."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.metrics.aggregate import RESAMPLES, Aggregate, aggregate

Floats = npt.NDArray[np.float64]

_EXACT_UP_TO = 14  # pairs: 16384 sign patterns are fewer than the draws that would stand for them


@dataclass(frozen=True, kw_only=True)
class SeededAggregate:
    """One metric over cases that several training seeds have each scored.

    Attributes:
        over_cases: Aggregate over cases of each case's mean over seeds: the interval says how other cases would do.
        seed_means: The mean over cases of each seed.
        between_seed_sd: Sample standard deviation of those means: how other trainings would do. None for one seed.
    """

    over_cases: Aggregate
    seed_means: dict[int, float]
    between_seed_sd: float | None


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """Two runs on the same cases, first minus second.

    Attributes:
        mean_difference: Mean over cases, in the metric's unit.
        ci95: 95 % bootstrap interval of it.
        wilcoxon_p: Two-sided p of Wilcoxon's signed-rank test; 1 when no case differs.
        permutation_p: Two-sided p of the sign-flip permutation test of the mean.
        higher: Cases with a higher value in the first run.
        lower: Cases with a lower one.
        n: Cases.
    """

    mean_difference: float
    ci95: tuple[float, float]
    wilcoxon_p: float
    permutation_p: float
    higher: int
    lower: int
    n: int


@dataclass(frozen=True, kw_only=True)
class RankStability:
    """How sure the place of one run is.

    Attributes:
        rank: Its rank by the mean over cases, 1 the best; runs that tie share the mean of their places.
        mean_rank: Mean over resamples.
        ci95: 2.5th and 97.5th percentile over resamples.
        best_share: Share of the resamples in which no run was better.
    """

    rank: float
    mean_rank: float
    ci95: tuple[float, float]
    best_share: float


def over_seeds(values: Mapping[int, Mapping[str, float]]) -> SeededAggregate:
    """Summarise scores by seed and case.

    Cases, not case-seed pairs, are resampled: seeds of one case are no new patients.

    Args:
        values: By seed, by case id, a finite score; every seed has the same cases.

    Raises:
        DataError: When there is no seed, or the seeds have different cases.

    Example:
        >>> found = over_seeds({0: {"a": 0.8, "b": 0.6}, 1: {"a": 0.9, "b": 0.7}})
        >>> round(found.over_cases.mean, 3), round(found.between_seed_sd, 4)
        (0.75, 0.0707)
    """
    seeds = sorted(values)
    cases = sorted(values[seeds[0]]) if seeds else []
    for seed in seeds:
        if sorted(values[seed]) != cases:
            msg = f"seed {seed}: other cases than seed {seeds[0]}. Finish every seed, or leave this one out."
            raise DataError(msg)
    table = np.array([[values[seed][case] for case in cases] for seed in seeds], dtype=np.float64)
    means = table.mean(axis=1) if table.size else table
    return SeededAggregate(
        over_cases=aggregate(table.mean(axis=0).tolist() if table.size else []),
        seed_means=dict(zip(seeds, means.tolist(), strict=True)),
        between_seed_sd=float(means.std(ddof=1)) if len(seeds) > 1 else None,
    )


def paired_test(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> PairedTest:
    """Test whether two runs differ on the same cases.

    Wilcoxon 1945 (https://doi.org/10.2307/3001968) by scipy, zeros dropped, exact without ties below 51 cases; and the
    permutation test of the mean difference (Fisher 1935), exact by enumeration up to 14 cases, else 10,000 draws of
    signs with one added to both counts (Phipson and Smyth 2010, https://doi.org/10.2202/1544-6115.1585).

    Args:
        first: One finite score per case.
        second: Scores of the same cases in the same order.
        seed: Of the draws.

    Raises:
        DataError: When the lengths differ, or there is no case.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        msg = f"paired_test: {a.size} and {b.size} scores. Wanted the same cases in the same order."
        raise DataError(msg)
    difference = a - b
    # Differences of sums rounded in another order are no differences.
    difference[np.abs(difference) <= 1e-12 * np.maximum(np.abs(a), np.abs(b))] = 0.0
    whole = aggregate(difference.tolist(), seed=seed)
    return PairedTest(
        mean_difference=whole.mean,
        ci95=whole.ci95,
        wilcoxon_p=_wilcoxon_p(difference),
        permutation_p=_permutation_p(difference, seed=seed),
        higher=int(np.count_nonzero(difference > 0)),
        lower=int(np.count_nonzero(difference < 0)),
        n=int(difference.size),
    )


def _wilcoxon_p(difference: Floats) -> float:
    from scipy.stats import wilcoxon

    changed = difference[difference != 0]
    return float(wilcoxon(changed).pvalue) if changed.size else 1.0


def _permutation_p(difference: Floats, *, seed: int) -> float:
    changed = difference[difference != 0]
    if not changed.size:
        return 1.0
    # As extreme, but for the rounding of sums in another order.
    reached = np.abs(changed.sum()) * (1 - 1e-12)
    if changed.size <= _EXACT_UP_TO:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=changed.size)))
        return float(np.mean(np.abs(signs @ changed) >= reached))
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, size=(RESAMPLES, changed.size)) * 2.0 - 1.0
    return float((np.count_nonzero(np.abs(signs @ changed) >= reached) + 1) / (RESAMPLES + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number by Holm's step-down rule (1979, https://www.jstor.org/stable/4615733).

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, running = [0.0] * len(p_values), 0.0
    for position, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - position) * p_values[index]))
        corrected[index] = running
    return corrected


def rank_stability(
    scores: Mapping[str, Sequence[float]], *, higher_is_better: bool, seed: int = 0
) -> dict[str, RankStability]:
    """Rank runs by their mean over cases, and again on resampled cases.

    Wiesenfarth et al. 2021 (https://doi.org/10.1038/s41598-021-82017-6).

    Args:
        scores: By run, one finite score per case, in the same order of cases.
        higher_is_better: Which way is good.
        seed: Of the draws.

    Raises:
        DataError: When a run has another number of cases, or none.
    """
    sizes = {len(values) for values in scores.values()}
    if len(sizes) != 1 or 0 in sizes:
        msg = f"rank_stability: runs with {sorted(sizes)} cases. Wanted the same cases for each, at least one."
        raise DataError(msg)
    table = np.array([list(values) for values in scores.values()], dtype=np.float64)
    table = -table if higher_is_better else table
    n_cases = table.shape[1]
    rng = np.random.default_rng(seed)
    # Multinomial weights are the counts of a bootstrap draw; the last row is the plain mean.
    weights = rng.multinomial(n_cases, np.full(n_cases, 1 / n_cases), size=RESAMPLES) / n_cases
    weights = np.vstack([weights, np.full((1, n_cases), 1 / n_cases)])
    ranks = _ranks(weights @ table.T)
    drawn, own = ranks[:-1], ranks[-1]
    best = drawn == drawn.min(axis=1, keepdims=True)
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return {
        name: RankStability(
            rank=float(own[i]),
            mean_rank=float(drawn[:, i].mean()),
            ci95=(float(low[i]), float(high[i])),
            best_share=float(best[:, i].mean()),
        )
        for i, name in enumerate(scores)
    }


def _ranks(means: Floats) -> Floats:
    """Ranks along each row, 1 for the lowest, ties sharing their mean place."""
    close = np.round(means, 12)
    below = (close[:, None, :] < close[:, :, None]).sum(axis=2)
    equal = (close[:, None, :] == close[:, :, None]).sum(axis=2)
    return np.asarray(below + (equal + 1) / 2, dtype=np.float64)
