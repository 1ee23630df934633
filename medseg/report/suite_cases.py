"""Every tested case of a suite, with the score of each contestant."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

from medseg.report.markup import digits_of, metric_name, number, table, to_float
from medseg.report.run_folder import read_rows
from medseg.report.suite_scores import Results, entries_of, metrics_of

_MOST_COLUMNS = 6  # beyond that, the first metric alone

Means = dict[str, list[float]]


def cases_section(results: Results, folder: Path) -> str:
    """A table that sorts by any column: each case's mean over regions and seeds; empty for detectors."""
    if "detection" in results:
        return ""
    entries, metrics = entries_of(results), metrics_of(results)
    metrics = metrics if len(entries) * len(metrics) <= _MOST_COLUMNS else metrics[:1]
    folds: dict[str, str] = {}
    columns: dict[str, Means] = {}
    for entry in entries:
        rows = read_rows(folder / "results" / entry / "cases.csv")
        folds |= {row["case_id"]: row.get("fold", "") for row in rows}
        for metric in metrics:
            name = metric_name(metric) + (f", {entry}" if len(entries) > 1 else "")
            means = columns.setdefault(name, {})
            for row in rows:
                means.setdefault(row["case_id"], []).append(to_float(row.get(metric)))
    digits = {name: digits_of(metrics[place % len(metrics)]) for place, name in enumerate(columns)}
    lines = [
        [escape(case), escape(folds[case]), *(_mean(means, case, digits[name]) for name, means in columns.items())]
        for case in sorted(folds)
    ]
    if not lines:
        return ""
    shown = table("Scores of every tested case", ["Case", "Fold", *columns], lines, kind="sortable")
    return f"<p>Means over regions and seeds. All of it is in results/ENTRY/cases.csv.</p>{shown}"


def _mean(means: Mapping[str, list[float]], case: str, digits: int) -> str:
    values = means.get(case, [])
    return number(sum(values) / len(values), digits=digits) if values else "–"
