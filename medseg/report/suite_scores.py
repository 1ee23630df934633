"""The scores of a suite: a table for each metric with published results beside it, plots, and verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from medseg.report.box_plots import NOTE, case_chart
from medseg.report.document import Card
from medseg.report.markup import digits_of, metric_name, number, table, to_float
from medseg.report.run_folder import read_rows

Results = Mapping[str, Any]
_LEVEL = 0.05


def entries_of(results: Results) -> list[str]:
    """Names of the contestants, in the order of the suite."""
    return list(results.get("comparison", {}).get("runs", results.get("detection", {})))


def metrics_of(results: Results) -> list[str]:
    """The metrics of the table, in its order."""
    rows = results.get("comparison", {}).get("rows", [])
    return list(dict.fromkeys(row["metric"] for row in rows)) or ["cpm"]


def score_cards(results: Results) -> Iterator[Card]:
    """The mean of each of the first four contestants under the first metric."""
    for name, row in list(results.get("detection", {}).items())[:4]:
        yield f"CPM, {escape(name)}", number(row.get("cpm")), _spread(row.get("between_seed_sd"))
    rows = results.get("comparison", {}).get("rows", [])
    first = [row for row in rows if (row["metric"], row["region"]) == (rows[0]["metric"], rows[0]["region"])]
    for row in first[:4]:
        whole = row["scores"]["over_cases"]
        low, high = whole["ci95"]
        name = metric_name(row["metric"])
        note = f"{row['region']}; 95 % interval {number(low)} to {number(high)}"
        yield escape(f"{name}, {row['run']}"), number(whole["mean"], digits=digits_of(row["metric"])), note


def scores_section(results: Results, folder: Path) -> str:
    """A table and a plot for each metric; of detectors one table."""
    if "detection" in results:
        return _detection_table(results)
    rows = results.get("comparison", {}).get("rows", [])
    parts = []
    for metric in metrics_of(results):
        parts += [f"<h3>{escape(metric_name(metric))}</h3>", _table(results, metric, rows)]
    charts = "".join(_chart(results, metric, folder) for metric in metrics_of(results))
    drawn = f'<div class="charts">{charts}</div><p class="note">{NOTE} Its value is the mean over seeds.</p>'
    return "\n".join([*parts, drawn if charts else ""])


def _table(results: Results, metric: str, rows: Sequence[Mapping[str, Any]]) -> str:
    mine = [row for row in rows if row["metric"] == metric]
    seeds = any(row["scores"].get("between_seed_sd") is not None for row in mine)
    several = len(entries_of(results)) > 1
    beside = any(anchor["metric"] == metric for anchor in results.get("anchors", []))
    worst = any(row.get("n_worst") for row in mine)
    header = ["Region", "Entry", "Mean", "SD", "Median", *(["SD of seeds"] if seeds else [])]
    header += [*(["Rank"] if several else []), *(["Worst"] if worst else []), *(["Published"] if beside else [])]
    lines = []
    for row in mine:
        cells = _cells(row, metric, seeds=seeds, several=several, worst=worst)
        lines.append([*cells, _anchors_of(results, row)] if beside else cells)
    return table(f"{metric_name(metric)} by region and entry", header, lines)


def _cells(row: Mapping[str, Any], metric: str, *, seeds: bool, several: bool, worst: bool) -> list[str]:
    whole, digits = row["scores"]["over_cases"], digits_of(metric)
    low, high = (number(value, digits=digits) for value in whole["ci95"])
    cells = [
        escape(row["region"]),
        escape(row["run"]),
        f"<b>{number(whole['mean'], digits=digits)}</b><small>{low} to {high}</small>",
        number(whole.get("sd"), digits=digits),
        number(whole["median"], digits=digits),
    ]
    if seeds:
        count = len(row["scores"]["seed_means"])
        cells.append(f"{number(row['scores']['between_seed_sd'], digits=digits + 1)}<small>of {count}</small>")
    if several:
        rank = row["rank"]
        low, high = (f"{value:g}" for value in rank["ci95"])
        cells.append(f"{rank['rank']:g}<small>{low} to {high}</small>")
    return [*cells, str(row.get("n_worst") or "")] if worst else cells


def _anchors_of(results: Results, row: Mapping[str, Any]) -> str:
    """The published numbers under the same metric and region, each flagged where its protocol is another."""
    found = []
    for anchor in results.get("anchors", []):
        if (anchor["metric"], anchor["region"]) == (row["metric"], row["region"]):
            flag = _flag(differs=bool(anchor["protocols_differ"]))
            found.append(f"{_value(anchor['value'])}<small>{escape(anchor['model'])} {flag}</small>")
    return "".join(f'<div class="anchor">{one}</div>' for one in found)


def _value(value: float) -> str:
    """A published number with the digits that it has, at least two."""
    return f"{value:.2f}" if round(value, 2) == value else f"{value:g}"


def _flag(*, differs: bool) -> str:
    return '<span class="flag">protocol differs</span>' if differs else '<span class="same">same protocol</span>'


def published(results: Results) -> str:
    """Published results with protocol, split and source, and ours; empty where the suite names none."""
    rows = []
    for anchor in results.get("anchors", []):
        ours = "".join(f"<div>{escape(name)} {number(value)}</div>" for name, value in anchor["ours"].items())
        protocol = f"{_flag(differs=bool(anchor['protocols_differ']))}{escape(anchor['protocol'])}"
        what = f"{escape(metric_name(anchor['metric']))}, {escape(anchor['region'])}"
        split, source = escape(anchor["split"]), escape(anchor["source"])
        rows.append([what, f"{_value(anchor['value'])}", escape(anchor["model"]), ours, protocol, split, source])
    if not rows:
        return ""
    said = "A number from another protocol, such as weights chosen on the tested fold, is a landmark and no opponent."
    header = ["Score", "Published", "By", "Ours", "Protocol", "Split", "Source"]
    ran = results.get("protocol", {}).get("name")
    mine = f"<p>Protocol of this suite: {escape(ran)}.</p>" if ran else ""
    return f"<p>{said}</p>{mine}{table('Published results', header, rows, kind='facts wide')}"


def verdicts_section(results: Results) -> str:
    """Each pair of contestants; empty with one contestant."""
    rows = []
    for verdict in results.get("comparison", {}).get("verdicts", []):
        test = verdict["test"]
        low, high = (f"{value:+.4f}" for value in test["ci95"])
        better = verdict["better"]
        word = f"<b>{escape(better)} is better</b>" if better else escape(_undecided(verdict))
        rows.append(
            [
                f"{escape(metric_name(verdict['metric']))}<small>{escape(verdict['region'])}</small>",
                word,
                f"{escape(verdict['first'])} − {escape(verdict['second'])}",
                f"{test['mean_difference']:+.4f}<small>{low} to {high}</small>",
                f"{verdict['wilcoxon_holm']:.2g}",
                f"{verdict['permutation_holm']:.2g}",
            ]
        )
    if not rows:
        return ""
    header = ["Score", "Verdict", "Pair", "Difference", "Wilcoxon p", "Permutation p"]
    said = "Paired tests over cases, each p corrected by Holm over the whole table."
    return f"<p>{said}</p>{table('Paired tests and verdicts', header, rows)}"


def _undecided(verdict: Mapping[str, Any]) -> str:
    shown = [verdict[name] < _LEVEL for name in ("wilcoxon_holm", "permutation_holm")]
    return "undecided: the tests disagree" if any(shown) else "no difference shown"


def _chart(results: Results, metric: str, folder: Path) -> str:
    """A box and a dot for each case, for each region and contestant."""
    groups: dict[str, dict[str, list[tuple[float, str]]]] = {}
    for entry in entries_of(results):
        for (region, case), values in _by_case(folder / "results" / entry / "cases.csv", metric).items():
            mean = sum(values) / len(values)
            groups.setdefault(region, {}).setdefault(entry, []).append((mean, case))
    return case_chart(metric, groups) if groups else ""


def _by_case(path: Path, metric: str) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = {}
    for row in read_rows(path):
        found.setdefault((row["region"], row["case_id"]), []).append(to_float(row.get(metric)))
    return found


def _detection_table(results: Results) -> str:
    rows = []
    for name, row in results["detection"].items():
        intervals = "".join(
            f"<small>seed {escape(seed)}: {number(low)} to {number(high)}</small>"
            for seed, (low, high) in row.get("cpm_ci95_by_seed", {}).items()
        )
        spread = number(row.get("between_seed_sd"), digits=4)
        cells = [escape(name), f"<b>{number(row.get('cpm'))}</b>{intervals}", spread]
        beside = _anchors_of(results, {"metric": "cpm", "region": "nodule"})
        rows.append([*cells, beside])
    header = ["Entry", "CPM over the scans of all folds", "SD of seeds", "Published"]
    return table("CPM by entry", header, rows)


def _spread(value: Any) -> str:
    return "scans of all folds together" + (f"; SD of seeds {number(value, digits=4)}" if value is not None else "")
