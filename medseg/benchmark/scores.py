"""The scores of a run, case by case, read from what `medseg evaluate` and `medseg benchmark` write."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.errors import DataError
from medseg.metrics.lesion_metrics import LESION_METRICS
from medseg.metrics.table import METRICS

MEAN_OF_REGIONS = "mean of regions"
WORST_MM = 374.0  # BraTS 2023's penalty, the diagonal of its grid rounded up
_PLACES = ("cases.csv", "evaluation/cases.csv", "evaluation/evaluation/cases.csv")

WORST_RULE = (
    "A case that failed or was not predicted counts as the worst: shares 0; distances the image diagonal where "
    f"medseg evaluate knew it, else {WORST_MM:g} mm or the largest of any compared run; volume errors the largest of "
    "any compared run."
)

# By case id, region and metric.
Table = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True, kw_only=True)
class RunScores:
    """One run.

    Attributes:
        name: How it is called in tables.
        source: Its cases.csv.
        by_seed: By training seed, the scores; a plain evaluation has the seed 0.
        failed: Cases that have no score.
    """

    name: str
    source: Path
    by_seed: dict[int, Table]
    failed: frozenset[str]

    @property
    def cases(self) -> set[str]:
        """Ids of the cases, those that failed too."""
        return {case for table in self.by_seed.values() for case in table} | self.failed

    @property
    def regions(self) -> list[str]:
        """Names of the regions, in the order of the file."""
        return list(dict.fromkeys(region for t in self.by_seed.values() for rows in t.values() for region in rows))

    @property
    def metrics(self) -> set[str]:
        """Names of the metrics that every row has."""
        rows = [row for table in self.by_seed.values() for regions in table.values() for row in regions.values()]
        return set.intersection(*(set(row) for row in rows)) if rows else set()


def known_metrics() -> dict[str, str]:
    """By metric, which way is good: `higher`, `lower`, or `zero` for a signed error."""
    known: dict[str, str] = {name: metric.better for name, metric in METRICS.items()}
    return known | {name: metric.better for name, metric in LESION_METRICS.items()}


def read_scores(path: str | Path, *, name: str | None = None) -> RunScores:
    """Read a run.

    Args:
        path: A cases.csv, the folder of one, or a run folder with one in `evaluation`.
        name: How to call it; its path when None.

    Raises:
        DataError: When there is no cases.csv, or it is none.
    """
    given = Path(path)
    file = given if given.is_file() else next((given / p for p in _PLACES if (given / p).is_file()), None)
    if file is None:
        raise DataError(_no_cases(given))
    rows = _rows(file)
    by_seed: dict[int, Table] = {}
    for line, row in enumerate(rows, start=2):
        case, region, seed = row["case_id"], row["region"], int(row.get("seed") or 0)
        regions = by_seed.setdefault(seed, {}).setdefault(case, {})
        if region in regions:
            msg = f"{file}: line {line}: case {case}, region {region} stands there twice. Evaluate the run again."
            raise DataError(msg)
        regions[region] = _values(row, where=f"{file}: line {line}")
    failed = _summary(file).get("failed")
    return RunScores(
        name=name or str(path),
        source=file,
        by_seed=by_seed,
        failed=frozenset(failed if isinstance(failed, dict) else ()) - {case for t in by_seed.values() for case in t},
    )


def _no_cases(given: Path) -> str:
    if not given.exists():
        return f"{given}: is not there. Give a run folder or the folder that medseg evaluate wrote."
    if any((given / place).is_file() for place in ("nodules.csv", "evaluation/nodules.csv")):
        return f"{given}: holds an evaluation of a detector, which has one FROC over all scans and no score by case."
    entries = sorted(str(path.parent) for path in given.glob("results/*/cases.csv"))
    if entries:
        return f"{given}: is a suite. Give one of its entries: {', '.join(entries)}."
    return f"{given}: holds no cases.csv. Run medseg evaluate first, and give the folder that it wrote."


def _rows(file: Path) -> list[dict[str, str]]:
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            rows = [{key: value for key, value in row.items() if key} for row in csv.DictReader(stream)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"{file}: not readable ({error}). Evaluate the run again."
        raise DataError(msg) from error
    if not rows or not {"case_id", "region"} <= rows[0].keys():
        msg = f"{file}: wanted rows with case_id, region and metrics. Give what medseg evaluate wrote."
        raise DataError(msg)
    return rows


def _values(row: Mapping[str, str], *, where: str) -> dict[str, float]:
    values = {}
    for name in known_metrics():
        if row.get(name):
            try:
                values[name] = float(row[name])
            except ValueError:
                values[name] = math.nan
            if not math.isfinite(values[name]):
                msg = f"{where}: {name} is {row[name]!r}, no finite number. Evaluate the run again."
                raise DataError(msg)
    return values


def _summary(file: Path) -> dict[str, Any]:
    path = file.with_name("summary.json")
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        msg = f"{path}: is not JSON ({error}). Evaluate the run again."
        raise DataError(msg) from error
    return content if isinstance(content, dict) else {}


def worst_values(runs: Sequence[RunScores]) -> dict[str, float]:
    """What a case without a score gets, by metric: see `WORST_RULE`."""
    found: dict[str, float] = {}
    for name, better in known_metrics().items():
        seen = [
            abs(row[name])
            for run in runs
            for table in run.by_seed.values()
            for regions in table.values()
            for row in regions.values()
            if name in row
        ]
        found[name] = 0.0 if better == "higher" else max([WORST_MM if better == "lower" else 0.0, *seen])
    return found


def case_values(
    run: RunScores, *, metric: str, region: str, cases: Sequence[str], worst: Mapping[str, float]
) -> dict[int, dict[str, float]]:
    """One number for each seed and case, the worst where the run has none.

    A signed error counts by its size. `MEAN_OF_REGIONS` is the mean over the run's regions.
    """
    better = known_metrics()[metric]
    regions = run.regions if region == MEAN_OF_REGIONS else [region]
    found: dict[int, dict[str, float]] = {}
    for seed, table in run.by_seed.items():
        found[seed] = {}
        for case in cases:
            rows = [table.get(case, {}).get(name, {}).get(metric, worst[metric]) for name in regions]
            sizes = [abs(value) if better == "zero" else value for value in rows]
            found[seed][case] = sum(sizes) / len(sizes)
    return found
