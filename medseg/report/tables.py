"""The tables of scores: per region, per case, and the baseline beside the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from medseg.metrics.lesion_metrics import LESION_METRICS
from medseg.report.markup import METRIC_NAMES, absent, digits_of, metric_key, metric_name, number, table, to_float
from medseg.report.run_folder import Row, Scores

Statistics = Mapping[str, Any]


def summary_table(scores: Scores) -> str:
    """One row per region and one for the mean of the regions; each cell a mean and its 95 % interval."""
    regions: Mapping[str, Statistics] = scores.summary.get("regions", {})
    if not regions:
        return absent("This run has no scores: medseg evaluate writes evaluation/summary.json.")
    metrics = _known_metrics(regions)
    rows = [
        [escape(name), *(with_interval(values.get(key), key) for key in metrics)] for name, values in regions.items()
    ]
    mean = scores.summary.get("mean", {})
    if len(regions) > 1 and mean:
        rows.append(["Mean", *(with_interval(mean.get(key), key) for key in metrics)])
    return table("Mean score and 95 % interval per region", ["Region", *map(metric_name, metrics)], rows)


def baseline_table(scores: Scores, baseline: Scores) -> str:
    """Dice of the network and of the baseline per region, and what lies between."""
    rows = []
    for name, ours in _dice_rows(scores):
        theirs = dict(_dice_rows(baseline)).get(name)
        if theirs is not None:
            gain = to_float(ours.get("mean")) - to_float(theirs.get("mean"))
            rows.append([escape(name), with_interval(ours), with_interval(theirs), f"{gain:+.3f}"])
    return table("Dice of the network and of the baseline", ["Region", "Network", "Baseline", "Difference"], rows)


def cases_table(scores: Scores) -> str:
    """One row per case: Dice and HD95 of every region, and what was empty or missing."""
    if not scores.cases:
        return absent("This run has no score per case: medseg evaluate writes evaluation/cases.csv.")
    regions = list(dict.fromkeys(row["region"] for row in scores.cases))
    metrics = [key for key in scores.cases[0] if metric_key(key) in {"dice", "hd95"}]
    header = ["Case", *(f"{name} {metric_name(key)}" for key in metrics for name in regions), "Remarks"]
    rows = [_case_row(case, lines, regions, metrics) for case, lines in by_case(scores.cases).items()]
    return table("Scores per case", header, rows, kind="sortable")


def by_case(rows: Sequence[Row]) -> dict[str, dict[str, Row]]:
    """Rows of `cases.csv` by case and region, best mean Dice first."""
    cases: dict[str, dict[str, Row]] = {}
    for row in rows:
        cases.setdefault(row["case_id"], {})[row["region"]] = row
    return dict(sorted(cases.items(), key=lambda case: (-mean_dice(case[1]), case[0])))


def mean_dice(lines: Mapping[str, Row]) -> float:
    """Mean Dice over the regions of one case; a value that is no number counts as 0."""
    values = [to_float(row.get("dice")) for row in lines.values()]
    return sum(value if value == value else 0.0 for value in values) / max(len(values), 1)


def _known_metrics(regions: Mapping[str, Statistics]) -> list[str]:
    first = next(iter(regions.values()))
    keys = [key for key, value in first.items() if isinstance(value, Mapping) and "mean" in value]
    order = list(METRIC_NAMES)
    shown = (key for key in keys if metric_key(key) in order and key not in LESION_METRICS)
    return sorted(shown, key=lambda key: order.index(metric_key(key)))


def with_interval(values: Any, column: str = "dice") -> str:
    """A cell: the mean of an aggregate, and its 95 % interval under it."""
    if not isinstance(values, Mapping):
        return "–"
    interval: Sequence[float] = values.get("ci95") or ()
    digits = digits_of(column)
    low_high = " to ".join(number(bound, digits=digits) for bound in interval)
    return f"<b>{number(values.get('mean'), digits=digits)}</b><small>{low_high}</small>"


def _dice_rows(scores: Scores) -> Iterator[tuple[str, Statistics]]:
    for name, values in scores.summary.get("regions", {}).items():
        if "dice" in values:
            yield name, values["dice"]
    if "dice" in scores.summary.get("mean", {}):
        yield "Mean", scores.summary["mean"]["dice"]


def _case_row(case: str, lines: Mapping[str, Row], regions: Sequence[str], metrics: Sequence[str]) -> list[str]:
    cells = [
        number(lines[name].get(key), digits=digits_of(key)) if name in lines else "–"
        for key in metrics
        for name in regions
    ]
    remarks = [
        f"{name}: {row['state'].replace('_', ' ')}" for name, row in lines.items() if row.get("state", "ok") != "ok"
    ]
    return [escape(case), *cells, escape("; ".join(remarks))]
