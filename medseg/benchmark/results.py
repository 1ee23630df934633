"""The table of a suite, made from the evaluations of its jobs and from nothing else."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.benchmark.anchors import anchors_for, differs
from medseg.benchmark.calibration import calibration_lines, pooled_calibration
from medseg.benchmark.comparison import RULES, Comparison, compare_runs
from medseg.benchmark.job import Job, Outcome
from medseg.benchmark.scores import read_scores
from medseg.benchmark.scoring import read_json, score_detections
from medseg.record import write_text_atomically

TABLE, RESULTS = "table.md", "results.json"


def write_results(out: Path, jobs: Sequence[Job], outcomes: Mapping[str, Outcome]) -> Path:
    """Write `results/<entry>/`, `results.json` and `table.md`; the same files for the same evaluations.

    Args:
        out: The suite's folder.
        jobs: All of them.
        outcomes: By the job's name, how it ended.

    Returns:
        The path of the table.
    """
    suite = jobs[0].suite
    content: dict[str, Any] = {
        "suite": suite.name,
        "task": suite.task,
        "protocol": _protocol(jobs),
        "splits": {f"fold {job.lists.fold}": job.lists.hashes() for job in jobs},
        "failures": _failures(jobs, outcomes),
        "unverified_weights": sorted({job.entry.name for job in jobs if outcomes[job.name].unverified}),
    }
    if suite.task == "segmentation":
        found = _compare(out, jobs)
        lines = _segmentation_lines(found)
        ours = {(row.metric, row.region, row.run): row.scores.over_cases.mean for row in found.rows}
        content |= {"comparison": found.to_json(), "fold_means": _fold_means(jobs)}
    else:
        rows = _detection_rows(out, jobs)
        lines = _detection_lines(rows)
        ours = {("cpm", "nodule", name): row["cpm"] for name, row in rows.items()}
        content |= {"detection": rows}
    calibration = pooled_calibration(jobs) if suite.calibration else {}
    content |= {"calibration": calibration} if calibration else {}
    beside = _beside(jobs, ours)
    content["anchors"] = beside
    lines += [*calibration_lines(calibration), *_anchor_lines(beside), *_notes(content)]
    text = "\n".join([f"# {suite.name}", "", *lines]) + "\n"
    write_text_atomically(out / RESULTS, json.dumps(content, indent=2, allow_nan=False) + "\n")
    write_text_atomically(out / TABLE, text)
    return out / TABLE


def _protocol(jobs: Sequence[Job]) -> dict[str, Any]:
    suite = jobs[0].suite
    chosen = suite.selection if isinstance(suite.selection, str | float) else f"{len(suite.selection)} listed cases"
    return {
        "folds": sorted({job.lists.fold for job in jobs}),
        "seeds": list(suite.seeds),
        "selection": chosen,
        "epochs": suite.epochs,
        "time_budget_s": suite.time_budget_s,
        "name": (suite.anchors or {}).get("protocol"),
    }


def _failures(jobs: Sequence[Job], outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    found = {}
    for job in jobs:
        outcome = outcomes[job.name]
        if outcome.problem or outcome.failed:
            found[job.name] = {"training": outcome.problem, "cases": sorted(outcome.failed)}
    return found


def _compare(out: Path, jobs: Sequence[Job]) -> Comparison:
    suite = jobs[0].suite
    runs = []
    for entry in suite.entries:
        folder = out / "results" / entry.name
        _pool([job for job in jobs if job.entry.name == entry.name], folder)
        runs.append(read_scores(folder, name=entry.name))
    return compare_runs(runs, metrics=suite.metrics, per_region=True)


def _pool(jobs: Sequence[Job], folder: Path) -> None:
    """One cases.csv of all folds and seeds of a contestant, with both as columns."""
    text = io.StringIO()
    failed: dict[str, str] = {}
    columns: list[str] = []
    rows: list[dict[str, str]] = []
    for job in jobs:
        with (job.folder / "evaluation" / "cases.csv").open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or columns)
            rows += [{"seed": str(job.seed), "fold": str(job.lists.fold), **row} for row in reader]
        failed |= read_json(job.folder / "evaluation" / "summary.json")["failed"]
    writer = csv.DictWriter(text, ["seed", "fold", *columns], lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: (int(row["seed"]), row["case_id"])))
    write_text_atomically(folder / "cases.csv", text.getvalue())
    write_text_atomically(folder / "summary.json", json.dumps({"failed": failed}, indent=2) + "\n")


def _fold_means(jobs: Sequence[Job]) -> dict[str, dict[str, float]]:
    """By job and metric, the mean over the fold's cases of each case's mean over regions."""
    found = {}
    for job in jobs:
        mean = read_json(job.folder / "evaluation" / "summary.json")["mean"]
        found[job.name] = {metric: mean[metric]["mean"] for metric in job.suite.metrics}
    return found


def _detection_rows(out: Path, jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
    """By contestant: CPM over the scans of all folds together, with its interval, for each seed."""
    suite, rows = jobs[0].suite, {}
    for entry in suite.entries:
        pooled, by_fold = {}, {}
        for seed in suite.seeds:
            mine = [job for job in jobs if job.entry.name == entry.name and job.seed == seed]
            folder = out / "results" / entry.name / f"seed{seed}"
            _gather(mine, folder / "predictions")
            score_detections(
                folder / "predictions",
                [job.lists for job in mine],
                suite=suite,
                dataset_dir=mine[0].dataset_dir,
                out_dir=folder,
            )
            pooled[seed] = read_json(folder / "summary.json")
            for job in mine:
                by_fold[job.name] = read_json(job.folder / "evaluation" / "summary.json")["cpm"]
        cpms = [found["cpm"] for found in pooled.values()]
        rows[entry.name] = {
            "cpm": statistics.fmean(cpms),
            "cpm_by_seed": {str(seed): found["cpm"] for seed, found in pooled.items()},
            "cpm_ci95_by_seed": {str(seed): found["cpm_ci95"] for seed, found in pooled.items()},
            "between_seed_sd": statistics.stdev(cpms) if len(cpms) > 1 else None,
            "cpm_by_fold": by_fold,
        }
    return rows


def _gather(jobs: Sequence[Job], folder: Path) -> None:
    for job in jobs:
        for case in job.lists.ids("test"):
            found = job.folder / "predictions" / case / "detections.json"
            if found.is_file():
                write_text_atomically(folder / case / "detections.json", found.read_text(encoding="utf-8"))
            else:
                (folder / case / "detections.json").unlink(missing_ok=True)


def _segmentation_lines(found: Comparison) -> list[str]:
    lines = [
        "| metric | region | entry | mean | 95 % CI | SD | median | SD of seeds | rank (95 %) | worst |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found.rows:
        whole, spread = row.scores.over_cases, row.scores.between_seed_sd
        cells = [
            row.metric,
            row.region,
            row.run,
            f"{whole.mean:.4f}",
            f"{whole.ci95[0]:.4f}-{whole.ci95[1]:.4f}",
            "" if whole.sd is None else f"{whole.sd:.4f}",
            f"{whole.median:.4f}",
            "" if spread is None else f"{spread:.4f}",
            f"{row.rank.rank:g} ({row.rank.ci95[0]:g}-{row.rank.ci95[1]:g})",
            str(row.n_worst or ""),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    verdicts = [f"- {verdict.metric}, {verdict.region}: {verdict.text}" for verdict in found.verdicts]
    return [
        f"{len(found.cases)} cases, each tested once for each seed.",
        "",
        *lines,
        *(["", *verdicts] if verdicts else []),
    ]


def _detection_lines(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = ["| entry | CPM | 95 % CI by seed | SD of seeds | CPM of folds |", "|---|---|---|---|---|"]
    for name, row in rows.items():
        intervals = ", ".join(f"{low:.4f}-{high:.4f}" for low, high in row["cpm_ci95_by_seed"].values())
        spread = row["between_seed_sd"]
        folds = ", ".join(f"{value:.3f}" for value in row["cpm_by_fold"].values())
        lines.append(
            f"| {name} | {row['cpm']:.4f} | {intervals} | {'' if spread is None else f'{spread:.4f}'} | {folds} |"
        )
    return lines


def _beside(jobs: Sequence[Job], ours: Mapping[tuple[str, str, str], float]) -> list[dict[str, Any]]:
    """The published results, each with our numbers and whether the protocols differ."""
    told = jobs[0].suite.anchors or {}
    rows = []
    for anchor in anchors_for(told.get("dataset", "")):
        mine = {
            run: value
            for (metric, region, run), value in ours.items()
            if (metric, region) == (anchor.metric, anchor.region)
        }
        if mine:
            facts = {
                key: getattr(anchor, key)
                for key in ("metric", "region", "value", "model", "protocol", "split", "source")
            }
            rows.append({**facts, "ours": mine, "protocols_differ": differs(anchor, protocol=told.get("protocol"))})
    return rows


def _anchor_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [
        "",
        "## Published",
        "",
        "| metric | region | published | by | ours | protocol |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours = ", ".join(f"{name} {value:.4f}" for name, value in row["ours"].items())
        flag = "**differs**: " if row["protocols_differ"] else "the same: "
        protocol = f"{flag}{row['protocol']}; {row['split']}"
        cells = [row["metric"], row["region"], f"{row['value']:g}", row["model"], ours, protocol]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _notes(content: Mapping[str, Any]) -> list[str]:
    lines = ["", "## How to read this", ""]
    lines += (
        [f"- {name}: {rule.rstrip('.')}." for name, rule in RULES.items()] if content["task"] == "segmentation" else []
    )
    chosen = content["protocol"]["selection"]
    lines.append(f"- selection: weights were chosen on {chosen}, never on a tested case; results.json has the hashes.")
    for name in content["unverified_weights"]:
        lines.append(
            f"- {name}: **nothing says which cases these weights have seen.** They may have seen the tested ones."
        )
    for name, failure in content["failures"].items():
        what = "the training failed" if failure["training"] else f"no prediction for {', '.join(failure['cases'])}"
        lines.append(f"- {name}: {what}; counted as the worst.")
    return lines
