"""The page of a suite: its table, verdicts and published results, fold by fold, with links to its jobs' reports."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from medseg.errors import DataError
from medseg.report.calibration import calibration_section
from medseg.report.document import Card, document
from medseg.report.markup import metric_name, number, table
from medseg.report.run_folder import read_json
from medseg.report.suite_cases import cases_section
from medseg.report.suite_scores import (
    entries_of,
    metrics_of,
    published,
    score_cards,
    scores_section,
    verdicts_section,
)

RESULTS, REPORT = "results.json", "report.html"

Results = Mapping[str, Any]


def is_suite(folder: Path) -> bool:
    """Whether `medseg benchmark` wrote the folder."""
    return (folder / "jobs").is_dir() and not (folder / "run.json").is_file()


def suite_page(folder: Path, *, out: Path) -> str:
    """The page, as HTML.

    Args:
        folder: The suite's folder.
        out: Where the page will lie: links to the reports of jobs start there.

    Raises:
        DataError: When the suite has no results yet, or they are damaged.
    """
    results = read_json(folder / RESULTS)
    if "suite" not in results:
        msg = f"{folder}: the suite has no {RESULTS} yet; medseg benchmark writes it at its end. Start it again with "
        msg += "-o on this folder, or give the folder of one job."
        raise DataError(msg)
    sections = [
        ("scores", "Scores", scores_section(results, folder)),
        ("verdicts", "Verdicts", verdicts_section(results)),
        ("calibration", "Calibration", _calibration(results)),
        ("published", "Published results", published(results)),
        ("jobs", "Folds and seeds", _jobs(results, folder, out)),
        ("cases", "Every case", cases_section(results, folder)),
        ("splits", "Never on the test", _splits(results)),
        ("reading", "How to read this", _reading(results)),
    ]
    return document(str(results["suite"]), kicker="medseg benchmark", cards=_cards(results), sections=sections)


def job_folders(folder: Path) -> list[Path]:
    """The jobs that have something to report, in order of their names."""
    return sorted(path for path in (folder / "jobs").iterdir() if (path / "evaluation" / "summary.json").is_file())


def _cards(results: Results) -> Iterator[Card]:
    yield from score_cards(results)
    cases = results.get("comparison", {}).get("cases", [])
    if cases:
        yield "Cases", str(len(cases)), "each tested once for each seed"
    protocol = results.get("protocol", {})
    folds, seeds = len(protocol.get("folds", [])), len(protocol.get("seeds", []))
    yield "Trainings", str(len(entries_of(results)) * folds * seeds), _counted(len(entries_of(results)), folds, seeds)
    if failures := results.get("failures"):
        yield "Failed", str(len(failures)), "jobs with a part that failed, counted as the worst"


def _counted(entries: int, folds: int, seeds: int) -> str:
    words = ((entries, "entry", "entries"), (folds, "fold", "folds"), (seeds, "seed", "seeds"))
    return " × ".join(f"{count} {one if count == 1 else many}" for count, one, many in words)


def _calibration(results: Results) -> str:
    """A diagram for each contestant, over all folds and seeds together."""
    told = results.get("calibration", {})
    parts = []
    for entry, found in told.items():
        heading = f"<h3>{escape(entry)}</h3>\n" if len(told) > 1 else ""
        parts.append(heading + calibration_section({"calibration": found}))
    return "\n".join(parts)


def _jobs(results: Results, folder: Path, out: Path) -> str:
    """A row for each entry and seed, a column for each fold; a cell leads to its job's report if there is one."""
    protocol = results.get("protocol", {})
    folds, seeds = protocol.get("folds", []), protocol.get("seeds", [])
    parts = []
    for metric in metrics_of(results):
        rows = []
        for entry in entries_of(results):
            for seed in seeds:
                jobs = {fold: f"{entry}-fold{fold}-seed{seed}" for fold in folds}
                cells = [_cell(_job_score(results, job, metric), folder / "jobs" / job, out) for job in jobs.values()]
                rows.append([f"{escape(entry)}<small>seed {seed}</small>", *cells])
        name = metric_name(metric)
        parts.append(f"<h3>{escape(name)}, mean over the fold's cases</h3>")
        parts.append(table(f"{name} by fold and seed", ["Entry", *(f"Fold {fold}" for fold in folds)], rows))
    linked = any((path / REPORT).is_file() for path in job_folders(folder))
    note = "A number leads to the report of its job." if linked else "medseg report --jobs writes a report of each job."
    return "\n".join([*parts, f'<p class="note">{note}</p>', _failures(results)])


def _job_score(results: Results, job: str, metric: str) -> Any:
    means = results.get("fold_means", {}).get(job, {})
    if metric in means:
        return means[metric]
    by_fold = [row.get("cpm_by_fold", {}) for row in results.get("detection", {}).values()]
    return next((row[job] for row in by_fold if job in row), None)


def _cell(value: Any, job: Path, out: Path) -> str:
    shown, report = number(value), job / REPORT
    if not report.is_file():
        return shown
    way = os.path.relpath(report.resolve(), out.resolve().parent).replace(os.sep, "/")
    return f'<a href="{escape(quote(way))}" aria-label="{escape(job.name)}: {shown}">{shown}</a>'


def _failures(results: Results) -> str:
    rows = []
    for job, failure in results.get("failures", {}).items():
        what = failure.get("training") or f"no prediction for {', '.join(failure.get('cases', []))}"
        rows.append([escape(str(job)), escape(str(what))])
    if not rows:
        return ""
    return f"<h3>Failures, counted as the worst</h3>{table('Failures', ['Job', 'What failed'], rows, kind='facts')}"


def _splits(results: Results) -> str:
    splits = results.get("splits", {})
    names = list(dict.fromkeys(name for lists in splits.values() for name in lists))
    rows = [
        [escape(fold.capitalize()), *(_list(lists.get(name, {})) for name in names)] for fold, lists in splits.items()
    ]
    chosen = results.get("protocol", {}).get("selection")
    how = f"a share of {chosen:g} of the other cases" if isinstance(chosen, float) else str(chosen).replace("_", " ")
    said = [f"Weights were chosen on {how}, never on a tested case. {RESULTS} has the whole hashes."]
    said += [
        f"{name}: nothing says which cases these weights have seen. They may have seen the tested ones."
        for name in results.get("unverified_weights", [])
    ]
    sentences = "".join(f"<p>{escape(sentence)}</p>" for sentence in said)
    header = ["", *(name.capitalize() for name in names)]
    return sentences + table("Cases of each list, and the hash of their ids", header, rows)


def _list(facts: Mapping[str, Any]) -> str:
    digest = str(facts.get("ids_sha256", ""))[:12]
    return f"{facts.get('n', '–')} cases<small><code>{escape(digest)}…</code></small>"


def _reading(results: Results) -> str:
    rules = results.get("comparison", {}).get("rules", {})
    items = "".join(f"<li><b>{escape(name)}</b>: {escape(rule)}</li>" for name, rule in rules.items())
    budget = results.get("protocol", {})
    told = [f"{budget['epochs']} epochs a training"] if budget.get("epochs") else []
    told += [f"{budget['time_budget_s'] / 60:g} minutes a training"] if budget.get("time_budget_s") else []
    rule = f"<p>Budget: {escape(', '.join(told) or 'the bundles’ own')}.</p>"
    command = f"<pre><code>medseg benchmark {escape(str(results['suite']))}</code></pre>"
    listed = f'<ul class="rules">{items}</ul>' if items else ""
    return f"{listed}{rule}<p>To do it again, from nothing or from where it was stopped:</p>{command}"
