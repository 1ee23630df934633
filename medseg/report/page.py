"""The report of a run as one HTML file: its sections in order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from medseg.errors import ConfigError
from medseg.record import write_text_atomically
from medseg.report.box_plots import NOTE, case_chart
from medseg.report.calibration import calibration_section
from medseg.report.charts import Points, line_chart
from medseg.report.crops import crops, has_crops
from medseg.report.detection import detection_cards, detection_notes, detection_scores, detection_tables, is_detection
from medseg.report.document import Card, document
from medseg.report.lesions import lesion_section
from medseg.report.markup import absent, metric_key, number, to_float
from medseg.report.overlays import overlays
from medseg.report.provenance import environment, reproduce
from medseg.report.run_folder import Row, RunFolder, Scores, read_run_folder
from medseg.report.suite import REPORT, is_suite, job_folders, suite_page
from medseg.report.tables import baseline_table, cases_table, summary_table


def write_report(run_dir: Path, out: Path | None = None, *, jobs: bool = False) -> Path:
    """Writes the report of a run, or of a suite, as one self-contained HTML file.

    Args:
        run_dir: A run folder, as `medseg train` writes it, any folder with `evaluation/summary.json`, or the folder of
            `medseg benchmark`, whose page links to the reports of its jobs.
        out: The file to write; `report.html` in the folder by default.
        jobs: Of a suite, whether the reports of its jobs are written first, each into its own folder.

    Returns:
        The file written.

    Raises:
        ConfigError: When jobs are asked for, and it is no suite.
        DataError: When the folder holds nothing to report or a damaged file, or the report cannot be written.
    """
    folder, suite = Path(run_dir), is_suite(Path(run_dir))
    out = Path(out) if out else folder / REPORT
    if jobs and not suite:
        msg = f"--jobs: {folder} is no suite's folder. Leave it out, or give the folder that medseg benchmark wrote."
        raise ConfigError(msg)
    for job in job_folders(folder) if jobs else ():
        write_report(job)
    write_text_atomically(out, suite_page(folder, out=out) if suite else _page(read_run_folder(folder)))
    return out


def _page(run: RunFolder) -> str:
    name = Path(str(run.record.get("bundle") or run.path.resolve().name)).name
    detection = is_detection(run.scores.summary) or (not run.scores.cases and has_crops(run))
    sections = [
        ("scores", "Scores", _scores(run)),
        ("lesions", "Lesion by lesion", lesion_section(run.scores)),
        ("calibration", "Calibration", calibration_section(run.scores.summary)),
        ("pictures", *(("Detections", crops(run)) if detection else ("Best, median and worst case", overlays(run)))),
        ("training", "Training", _training(run)),
        ("cases", "Every case", _cases(run.scores)),
        ("reproduce", "How to reproduce", reproduce(run)),
        ("environment", "Run and environment", environment(run)),
    ]
    job = run.path.parent.name == "jobs"
    kicker = f"medseg report: {run.path.resolve().name}" if job else "medseg report"
    return document(name, kicker=kicker, cards=_headline(run), sections=sections)


def _headline(run: RunFolder) -> Iterator[Card]:
    """The figures that a reader looks for first."""
    if is_detection(run.scores.summary):
        yield from detection_cards(run.scores.summary)
    dice = _mean_dice(run.scores.summary)
    if dice:
        low, high = dice.get("ci95") or (math.nan, math.nan)
        yield "Mean Dice", number(dice.get("mean")), f"95 % interval {number(low)} to {number(high)}"
    baseline = _mean_dice(run.baseline.summary)
    if baseline:
        yield "Baseline", number(baseline.get("mean")), "its mean Dice on the same cases"
    cases = run.scores.summary.get("n_cases") or len({row["case_id"] for row in run.scores.cases})
    if cases:
        yield "Cases", str(cases), f"scored in {', '.join(run.scores.regions) or 'every label'}"
    if seconds := run.record.get("wall_s"):
        yield "Time", f"{to_float(seconds) / 60:.1f}", "minutes of training"


def _mean_dice(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mean over regions; of the only region when there is one."""
    mean = summary.get("mean", {}).get("dice")
    regions = list(summary.get("regions", {}).values())
    found = mean or (regions[0].get("dice", {}) if len(regions) == 1 else {})
    return found if isinstance(found, Mapping) else {"mean": found}


def _scores(run: RunFolder) -> str:
    detection = is_detection(run.scores.summary)
    parts = [detection_scores(run.scores)] if detection else [summary_table(run.scores), _boxes(run)]
    if run.baseline.summary and not detection:
        parts += ["<h3>Beside the baseline</h3>", baseline_table(run.scores, run.baseline)]
    notes = [f"<li>{escape(sentence)}</li>" for sentence in _rules(run.scores.summary)]
    if notes:
        parts.append(f"<details><summary>How these scores are made</summary><ul>{''.join(notes)}</ul></details>")
    return "\n".join(part for part in parts if part)


def _cases(scores: Scores) -> str:
    return absent(detection_tables(scores)) if is_detection(scores.summary) else cases_table(scores)


def _boxes(run: RunFolder) -> str:
    """Box plots of the overlap and of the distance, where they were scored."""
    columns = run.scores.cases[0] if run.scores.cases else ()
    charts = [case_chart(name, _groups(run, name)) for name in columns if metric_key(name) in {"dice", "hd95"}]
    drawn = "".join(charts)
    return f'<div class="charts">{drawn}</div><p class="note">{NOTE}</p>' if drawn else ""


def _groups(run: RunFolder, column: str) -> dict[str, dict[str, list[tuple[float, str]]]]:
    groups: dict[str, dict[str, list[tuple[float, str]]]] = {}
    for series, scores in (("network", run.scores), ("baseline", run.baseline)):
        for row in scores.cases:
            cases = groups.setdefault(row["region"], {}).setdefault(series, [])
            cases.append((to_float(row.get(column)), row["case_id"]))
    return groups


def _rules(summary: Mapping[str, Any]) -> Iterator[str]:
    if "surface_definition" in summary:
        yield f"Surfaces: {summary['surface_definition']}."
    if "tolerance_mm" in summary:
        yield f"NSD tolerance: {summary['tolerance_mm']} mm."
    rules = summary.get("rules", {})
    pairs = rules.items() if isinstance(rules, Mapping) else enumerate(rules if isinstance(rules, list) else [rules])
    yield from detection_notes(summary)
    for name, why in summary.get("failed", {}).items():
        yield f"{name} has no score: {why}"
    for name, rule in pairs:
        yield f"{str(name).replace('_', ' ').capitalize()}: {rule}" if isinstance(name, str) else str(rule)


def _training(run: RunFolder) -> str:
    if not run.history:
        return absent("This run has no metrics.csv, so there are no training curves.")
    columns = list(run.history[0])
    axis = next((name for name in ("epoch", "iteration") if name in columns), "")
    losses = [name for name in columns if _is_loss(name)]
    scores = [name for name in columns if name.startswith("val_") and name not in losses and _is_score(name)]
    rates = [name for name in columns if name in {"learning_rate", "lr"}]
    charts = (
        line_chart("Loss", _series(run.history, losses, axis), x_label=axis),
        line_chart("Validation while training", _series(run.history, scores, axis), x_label=axis),
        line_chart("Learning rate", _series(run.history, rates, axis), x_label=axis),
    )
    drawn = "".join(charts)
    note = "<p>Scores while training serve to choose the weights; the results are in the table of scores.</p>"
    return f'<div class="charts">{drawn}</div>{note}' if drawn else absent("metrics.csv holds no curve to draw.")


def _is_score(column: str) -> bool:
    return not any(word in column for word in ("second", "memory", "epoch", "iteration"))


def _is_loss(column: str) -> bool:
    """The loss, its terms, and a loss of the validation: all that is no score, no rate and no bookkeeping."""
    other = column.startswith(("val_", "best")) or column in {"learning_rate", "lr", "grad_norm"}
    return "loss" in column or (_is_score(column) and not other)


def _series(rows: tuple[Row, ...], columns: list[str], axis: str) -> dict[str, Points]:
    return {
        name.removeprefix("val_").replace("_", " "): [
            (to_float(row[axis]) if axis else index, to_float(row[name])) for index, row in enumerate(rows)
        ]
        for name in columns
    }
