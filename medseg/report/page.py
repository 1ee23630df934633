"""The report as one HTML file: sections in order; styles, pictures, volumes and scripts inside; no network."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator, Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from medseg.record import write_text_atomically
from medseg.report.box_plots import NOTE, box_chart
from medseg.report.charts import Points, line_chart
from medseg.report.crops import crops, has_crops
from medseg.report.detection import detection_cards, detection_notes, detection_scores, detection_tables, is_detection
from medseg.report.markup import absent, metric_key, metric_name, number, section, to_float
from medseg.report.overlays import overlays
from medseg.report.provenance import environment, reproduce
from medseg.report.run_folder import Row, RunFolder, Scores, read_run_folder
from medseg.report.tables import baseline_table, cases_table, summary_table

STYLES = ("style.css", "viewer.css")
SCRIPTS = ("inflate.js", "voxels.js", "viewer.js", "sorting.js", "start.js")
NOT_CLINICAL = "Made by medseg for research. Not for clinical use."


def write_report(run_dir: Path, out: Path | None = None) -> Path:
    """Writes the report of a run as one self-contained HTML file.

    Args:
        run_dir: A run folder, as `medseg train` writes it, or any folder with `evaluation/summary.json`.
        out: The file to write; `report.html` in the run folder by default.

    Returns:
        The file written.

    Raises:
        DataError: When the folder holds nothing to report or a damaged file, or the report cannot be written.
    """
    run = read_run_folder(Path(run_dir))
    out = Path(out) if out else run.path / "report.html"
    write_text_atomically(out, _page(run))
    return out


def _page(run: RunFolder) -> str:
    name = Path(str(run.record.get("bundle") or run.path.resolve().name)).name
    detection = is_detection(run.scores.summary) or (not run.scores.cases and has_crops(run))
    sections = [
        ("scores", "Scores", _scores(run)),
        ("pictures", *(("Detections", crops(run)) if detection else ("Best, median and worst case", overlays(run)))),
        ("training", "Training", _training(run)),
        ("cases", "Every case", _cases(run.scores)),
        ("reproduce", "How to reproduce", reproduce(run)),
        ("environment", "Run and environment", environment(run)),
    ]
    links = "".join(f'<li><a href="#{anchor}">{title}</a></li>' for anchor, title, _ in sections)
    parts = [section(title, body, anchor=anchor) for anchor, title, body in sections]
    script = f'"use strict";\n(() => {{\n{_asset(*SCRIPTS)}}})();\n'
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(name)}: report</title>\n<style>\n{_asset(*STYLES)}</style>\n</head>\n<body>\n"
        f"<header><p>medseg report</p><h1>{escape(name)}</h1>{_headline(run)}</header>\n"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n'
        f"<main>\n{chr(10).join(parts)}\n</main>\n<footer>{NOT_CLINICAL}</footer>\n"
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _asset(*names: str) -> str:
    return "".join(files("medseg.report").joinpath(name).read_text(encoding="utf-8") for name in names)


def _policy(script: str) -> str:
    """What the page may load: nothing from anywhere, and no script but its own."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _headline(run: RunFolder) -> str:
    """The figures that a reader looks for first."""
    cards = list(detection_cards(run.scores.summary)) if is_detection(run.scores.summary) else []
    dice = _mean_dice(run.scores.summary)
    if dice:
        low, high = dice.get("ci95") or (math.nan, math.nan)
        cards.append(("Mean Dice", number(dice.get("mean")), f"95 % interval {number(low)} to {number(high)}"))
    baseline = _mean_dice(run.baseline.summary)
    if baseline:
        cards.append(("Baseline", number(baseline.get("mean")), "its mean Dice on the same cases"))
    cases = run.scores.summary.get("n_cases") or len({row["case_id"] for row in run.scores.cases})
    if cases:
        cards.append(("Cases", str(cases), f"scored in {', '.join(run.scores.regions) or 'every label'}"))
    if seconds := run.record.get("wall_s"):
        cards.append(("Time", f"{to_float(seconds) / 60:.1f}", "minutes of training"))
    items = "".join(
        f"<div><dt>{name}</dt><dd>{value}<small>{escape(note)}</small></dd></div>" for name, value, note in cards
    )
    return f"<dl>{items}</dl>" if items else ""


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
    charts = []
    for column in run.scores.cases[0] if run.scores.cases else ():
        if metric_key(column) in {"dice", "hd95"}:
            name, _, unit = metric_name(column).partition(", ")
            title = f"{name} of every case{', in ' if unit else ''}{unit}"
            best = 1.0 if metric_key(column) == "dice" else 0.0
            charts.append(box_chart(title, _groups(run, column), best=best))
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
