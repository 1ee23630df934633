"""Runs side by side on the same cases: a table, tests of every pair, and a verdict that says no more than they do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from medseg.benchmark.scores import (
    MEAN_OF_REGIONS,
    WORST_RULE,
    RunScores,
    case_values,
    known_metrics,
    worst_values,
)
from medseg.benchmark.statistics import (
    PairedTest,
    RankStability,
    SeededAggregate,
    holm,
    over_seeds,
    paired_test,
    rank_stability,
)
from medseg.errors import ConfigError, DataError

METRICS_SHOWN = ("dice", "hd95_mm", "nsd")
LEVEL = 0.05

RULES = {
    "failures": WORST_RULE,
    "seeds": "a case's score is its mean over the seeds; seeds are no further cases",
    "ci95": "percentile bootstrap of the mean over cases, 10,000 resamples, seed 0",
    "tests": "of every pair, two-sided: Wilcoxon's signed ranks, and a permutation test of the mean by sign flips",
    "correction": "Holm, over every comparison of the table, for each kind of test",
    "verdict": f"better: both corrected p below {LEVEL:g}; undecided: one of them; no difference shown: neither",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One metric of one region of one run."""

    run: str
    metric: str
    region: str
    scores: SeededAggregate
    rank: RankStability
    n_worst: int


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Two runs under one metric.

    Attributes:
        metric: Name of the metric.
        region: Region.
        first: A run.
        second: Another.
        test: First minus second.
        wilcoxon_holm: Corrected p.
        permutation_holm: Corrected p.
        better: The run that is better by both tests, None where that was not shown.
        text: A sentence.
    """

    metric: str
    region: str
    first: str
    second: str
    test: PairedTest
    wilcoxon_holm: float
    permutation_holm: float
    better: str | None
    text: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that `medseg compare` says.

    Attributes:
        runs: Names, as given.
        cases: The cases that all runs have.
        left_out: By run, its cases that another lacks.
        rows: The table.
        verdicts: Of every pair, metric and region.
    """

    runs: tuple[str, ...]
    cases: tuple[str, ...]
    left_out: dict[str, tuple[str, ...]]
    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return {**dataclasses.asdict(self), "rules": RULES}


def compare_runs(
    runs: Sequence[RunScores],
    *,
    metrics: Sequence[str] = (),
    per_region: bool = False,
    common: bool = False,
) -> Comparison:
    """Compare runs case by case.

    Args:
        runs: One or more, with different names; one gives a table without verdicts.
        metrics: Which metrics; none for Dice, HD95 and NSD.
        per_region: Whether each region is compared too, besides their mean.
        common: Whether runs with different cases are compared on those that all have, rather than refused.

    Raises:
        ConfigError: When a metric is unknown or not in a run, or two runs share a name.
        DataError: When cases or regions differ.
    """
    _check_names(runs)
    chosen = _chosen_metrics(runs, metrics)
    cases, left_out = _paired_cases(runs, common=common)
    regions = _same_regions(runs)
    shown = [MEAN_OF_REGIONS, *(regions if per_region and len(regions) > 1 else [])]
    if len(regions) == 1:
        shown = regions
    worst = worst_values(runs)
    rows: list[Row] = []
    tests: list[tuple[str, str, str, str, PairedTest]] = []
    for metric in chosen:
        for region in shown:
            by_run = {
                run.name: over_seeds_of(run, metric=metric, region=region, cases=cases, worst=worst) for run in runs
            }
            rows += _rows(runs, by_run, metric=metric, region=region, cases=cases)
            tests += [
                (metric, region, a, b, paired_test(by_run[a][1], by_run[b][1])) for a, b in combinations(by_run, 2)
            ]
    return Comparison(
        runs=tuple(run.name for run in runs),
        cases=tuple(cases),
        left_out=left_out,
        rows=tuple(rows),
        verdicts=_verdicts(tests),
    )


def over_seeds_of(
    run: RunScores, *, metric: str, region: str, cases: Sequence[str], worst: Mapping[str, float]
) -> tuple[SeededAggregate, list[float]]:
    """The aggregate of a run, and each case's mean over seeds in the order of `cases`."""
    by_seed = case_values(run, metric=metric, region=region, cases=cases, worst=worst)
    means = [sum(values[case] for values in by_seed.values()) / len(by_seed) for case in cases]
    return over_seeds(by_seed), means


def _check_names(runs: Sequence[RunScores]) -> None:
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            msg = f"{name}: is given twice. Give different runs, or name them NAME=PATH."
            raise ConfigError(msg)
    if not runs:
        msg = "RUN is missing. Give two or more run or evaluation folders."
        raise ConfigError(msg)


def _chosen_metrics(runs: Sequence[RunScores], metrics: Sequence[str]) -> list[str]:
    there = set.intersection(*(run.metrics for run in runs))
    for name in metrics:
        if name not in known_metrics():
            msg = f"--metric: no metric is named {name!r}. Known: {', '.join(known_metrics())}."
            raise ConfigError(msg)
        lacking = next((run.source for run in runs if name not in run.metrics), None)
        if lacking:
            msg = f"--metric: {lacking} has no {name} in every row. Evaluate that run again, or choose another metric."
            raise ConfigError(msg)
    chosen = list(dict.fromkeys(metrics)) or [name for name in METRICS_SHOWN if name in there]
    if not chosen:
        msg = f"{runs[0].source}: no metric that all runs have. Evaluate them with the same medseg."
        raise DataError(msg)
    return chosen


def _paired_cases(runs: Sequence[RunScores], *, common: bool) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    shared = set.intersection(*(run.cases for run in runs))
    left_out = {run.name: tuple(sorted(run.cases - shared)) for run in runs if run.cases - shared}
    if not shared:
        msg = f"{runs[0].name} and {runs[-1].name}: no case in common. Compare runs on the same cases."
        raise DataError(msg)
    if left_out and not common:
        lines = "; ".join(f"{name} has {len(ids)} that another lacks ({_some(ids)})" for name, ids in left_out.items())
        msg = (
            f"the runs have different cases: {lines}. Add --common to compare them on the {len(shared)} that all have."
        )
        raise DataError(msg)
    return sorted(shared), left_out


def _same_regions(runs: Sequence[RunScores]) -> list[str]:
    regions = runs[0].regions
    for run in runs[1:]:
        if set(run.regions) != set(regions):
            msg = (
                f"{run.name} has the regions {', '.join(run.regions)}, {runs[0].name} has {', '.join(regions)}. "
                f"Evaluate both with the same --regions."
            )
            raise DataError(msg)
    return regions


def _rows(
    runs: Sequence[RunScores],
    by_run: Mapping[str, tuple[SeededAggregate, list[float]]],
    *,
    metric: str,
    region: str,
    cases: Sequence[str],
) -> list[Row]:
    higher = known_metrics()[metric] == "higher"
    ranks = rank_stability({name: means for name, (_, means) in by_run.items()}, higher_is_better=higher)
    return [
        Row(
            run=run.name,
            metric=metric,
            region=region,
            scores=by_run[run.name][0],
            rank=ranks[run.name],
            n_worst=sum(any(case not in table for table in run.by_seed.values()) for case in cases),
        )
        for run in runs
    ]


def _verdicts(tests: Sequence[tuple[str, str, str, str, PairedTest]]) -> tuple[Verdict, ...]:
    wilcoxon = holm([test.wilcoxon_p for *_, test in tests])
    permutation = holm([test.permutation_p for *_, test in tests])
    found = []
    for (metric, region, first, second, test), p, q in zip(tests, wilcoxon, permutation, strict=True):
        up = (test.mean_difference > 0) == (known_metrics()[metric] == "higher")
        ahead, behind = (first, second) if up else (second, first)
        shown = sum(value < LEVEL for value in (p, q))
        found.append(
            Verdict(
                metric=metric,
                region=region,
                first=first,
                second=second,
                test=test,
                wilcoxon_holm=p,
                permutation_holm=q,
                better=ahead if shown == 2 else None,
                text=_sentence(shown, ahead, behind, first, second, test=test),
            )
        )
    return tuple(found)


def _sentence(shown: int, ahead: str, behind: str, first: str, second: str, *, test: PairedTest) -> str:
    low, high = test.ci95
    numbers = f"{first} minus {second}: {test.mean_difference:+.4f} [{low:+.4f}, {high:+.4f}] over {test.n} cases"
    if shown == 2:
        return f"{ahead} is better than {behind} ({numbers})"
    if shown == 1:
        return f"undecided between {first} and {second}, the two tests disagree ({numbers})"
    return f"no difference shown between {first} and {second} ({numbers})"


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
