"""LUNA16's FROC with 1000 bootstraps: the procedure of the official script in plain Python, and medseg.

Run: python benchmarks/detection_scoring.py [--marks 60000] [--peer-resamples 20] [--repeats 5]
     [--annotations annotations.csv --exclude annotations_excluded.csv --series seriesuids.csv]

The official script is Python 2, so the peer here is written from its rules, the way it works: loops over marks, a list
of candidates per scan, and for each resample a new list that is sorted and swept. Without tables the truth is 888
made-up scans with 1186 nodules and 35,192 exclusions. Marks are made up in both cases: most nodules are hit, some
twice; a tenth of the marks lies on exclusions; scores are rounded, so that many are equal. Both sides read the same
files and draw the same scans. The run fails when a count, a point of the curve or a value of a resample differs by more
than 1e-9.

The peer takes minutes for 1000 resamples: it does `--peer-resamples`, and its time for 1000 is scaled from those.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from medseg.evaluation.detection import evaluate_luna16
from medseg.evaluation.detection.predictions import points_of, read_marks
from medseg.evaluation.detection.references import read_reference
from medseg.metrics.froc import FP_POINTS, bootstrap_froc, froc_entries
from medseg.metrics.nodule_hits import hit_nodules

Rows = list[list[str]]
Candidate = tuple[float, bool, bool]  # score, is a nodule, is a missed nodule
GRID = np.linspace(0.125, 8, 10001)


def read_rows(path: Path) -> Rows:
    """A CSV table without its header."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def peer_candidates(folder: Path) -> tuple[list[str], dict[str, list[Candidate]], dict[str, int]]:
    """What the official script finds scan by scan: its candidates for the FROC, and its counts."""
    series = [line.strip() for line in (folder / "seriesuids.csv").read_text(encoding="utf-8").split()]
    marks_of, findings_of = defaultdict(list), defaultdict(list)
    for uid, x, y, z, score in read_rows(folder / "submission.csv"):
        marks_of[uid].append((float(x), float(y), float(z), float(score)))
    for name, counts in (("annotations.csv", True), ("excluded.csv", False)):
        for uid, x, y, z, diameter in read_rows(folder / name):
            findings_of[uid].append((float(x), float(y), float(z), float(diameter), counts))
    candidates: dict[str, list[Candidate]] = {}
    totals: dict[str, int] = defaultdict(int)
    for uid in series:
        candidates[uid] = peer_scan(marks_of[uid], findings_of[uid], totals)
    return series, candidates, totals


def peer_scan(
    marks: list[tuple[float, ...]], findings: list[tuple[float, ...]], totals: dict[str, int]
) -> list[Candidate]:
    """One scan: nodules first, then exclusions; what is left are false positives."""
    if len(marks) > 100:
        limit = sorted((mark[3] for mark in marks), reverse=True)[100]
        marks = [mark for mark in marks if mark[3] > limit]
    left = set(range(len(marks)))
    found: list[Candidate] = []
    for x, y, z, diameter, counts in findings:
        radius = (10.0 if diameter < 0 else diameter) / 2
        hits = [
            index
            for index, (mx, my, mz, _) in enumerate(marks)
            if (x - mx) ** 2 + (y - my) ** 2 + (z - mz) ** 2 < radius**2
        ]
        if not counts:
            totals["n_ignored"] += len(left.intersection(hits))
        elif hits:
            totals["n_tp"] += 1
            totals["n_double"] += len(hits) - 1
            found.append((max(marks[index][3] for index in hits), True, False))
        else:
            totals["n_missed"] += 1
            found.append((-1e9, True, True))
        left.difference_update(hits)
    totals["n_fp"] += len(left)
    return found + [(marks[index][3], False, False) for index in sorted(left)]


def peer_curve(candidates: list[Candidate], n_scans: int) -> tuple[np.ndarray, np.ndarray]:
    """False positives per scan and sensitivities over falling thresholds, as ROC analysis gives them."""
    swept = sorted(((score, nodule) for score, nodule, missed in candidates if not missed), key=lambda item: -item[0])
    nodules = sum(nodule for _, nodule, _ in candidates)
    detected = sum(nodule for _, nodule in swept)
    false = len(swept) - detected
    tp = fp = 0
    rates, sensitivities = [0.0], [0.0]
    for index, (score, nodule) in enumerate(swept):
        tp, fp = tp + nodule, fp + (not nodule)
        if index + 1 == len(swept) or swept[index + 1][0] != score:
            rates.append((fp / false if false else 0.0) * false / n_scans)
            sensitivities.append(tp / detected * detected / nodules if detected else 0.0)
    return np.array(rates), np.array(sensitivities)


def peer_bootstrap(series: list[str], candidates: dict[str, list[Candidate]], resamples: int) -> np.ndarray:
    """Sensitivities at the seven points of each resample."""
    rng = np.random.default_rng(0)
    values = []
    for _ in range(resamples):
        drawn = [item for index in rng.integers(len(series), size=len(series)) for item in candidates[series[index]]]
        values.append(np.interp(FP_POINTS, *peer_curve(drawn, len(series))))
    return np.array(values)


def make_truth(folder: Path, options: argparse.Namespace) -> None:
    """The three tables, given or made up."""
    if options.annotations and options.exclude and options.series:
        from medseg.volumes.luna16_csv import read_annotations, read_series

        (folder / "seriesuids.csv").write_text("\n".join(read_series(options.series)), encoding="utf-8")
        for name, given in (("annotations.csv", options.annotations), ("excluded.csv", options.exclude)):
            rows = [[f.series_uid, *f.center_lps_mm, f.diameter_mm] for f in read_annotations(given)]
            write_rows(folder / name, "diameter_mm", rows)
        return
    rng = np.random.default_rng(1)
    series = [f"1.3.6.{number}" for number in range(888)]
    (folder / "seriesuids.csv").write_text("\n".join(series), encoding="utf-8")
    for name, count in (("annotations.csv", 1186), ("excluded.csv", 35192)):
        diameter = rng.uniform(3, 30, count) if count == 1186 else np.where(rng.random(count) < 0.87, -1, 6.0)
        owner, place = rng.integers(888, size=count), rng.uniform(-150, 150, (count, 3))
        write_rows(
            folder / name,
            "diameter_mm",
            [[series[i], *p, d] for i, p, d in zip(owner, place.round(4).tolist(), diameter.tolist(), strict=True)],
        )


def make_marks(folder: Path, count: int) -> None:
    """A submission against those tables."""
    rng = np.random.default_rng(0)
    series = (folder / "seriesuids.csv").read_text(encoding="utf-8").split()
    rows = []
    for uid, *numbers in read_rows(folder / "annotations.csv"):
        *place, diameter = map(float, numbers)
        for _ in range(int(rng.choice(3, p=(0.06, 0.84, 0.10)))):
            rows.append([uid, *(place + rng.normal(0, diameter / 9, 3)).round(4), round(float(rng.beta(5, 1)), 4)])
    excluded = read_rows(folder / "excluded.csv")
    for index in rng.choice(len(excluded), min(count // 10, len(excluded)), replace=False):
        place = np.array(excluded[index][1:4], dtype=float) + rng.normal(0, 1.5, 3)
        rows.append([excluded[index][0], *place.round(4), round(float(rng.beta(1.2, 4)), 4)])
    while len(rows) < count:
        place = rng.uniform(-180, 180, 3).round(4)
        rows.append([series[rng.integers(len(series))], *place, round(float(rng.beta(0.6, 6)), 4)])
    write_rows(folder / "submission.csv", "probability", rows)


def write_rows(path: Path, last: str, rows: list[list[object]]) -> None:
    """A table of places."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["seriesuid", "coordX", "coordY", "coordZ", last])
        writer.writerows(rows)


def arguments(folder: Path) -> dict[str, Path]:
    """The files as `evaluate_luna16` takes them."""
    tables = {"exclude": folder / "excluded.csv", "series": folder / "seriesuids.csv"}
    return {"pred": folder / "submission.csv", "ref": folder / "annotations.csv", **tables}


def check(name: str, theirs: np.ndarray, ours: np.ndarray) -> None:
    """Stop when two results differ."""
    apart = float(np.abs(np.asarray(theirs) - np.asarray(ours)).max())
    print(f"{name}: differ by {apart:.1e} at most")
    if not apart <= 1e-9:
        sys.exit(f"{name}: the results differ by {apart:.1e}")


def clocks() -> np.ndarray:
    """Wall and processor seconds. The latter hold on a busy machine too."""
    return np.array([time.perf_counter(), time.process_time()])


def cold_start(folder: Path) -> tuple[float, float]:
    """Wall and processor seconds of the whole command in a fresh process: imports, reading, scoring, writing."""
    options = [f"--{name}={path}" for name, path in arguments(folder).items()]
    command = [sys.executable, "-m", "medseg", "evaluate", "--task=detection", *options, "-o", str(folder / "out")]
    start, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, processor


def main() -> None:
    """Check, time and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--marks", type=int, default=60_000)
    parser.add_argument("--peer-resamples", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    for name in ("annotations", "exclude", "series"):
        parser.add_argument(f"--{name}", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_truth(folder, options)
        make_marks(folder, options.marks)
        compare(folder, options)


def compare(folder: Path, options: argparse.Namespace) -> None:
    """Both sides on the files of a folder."""
    start = clocks()
    series, candidates, totals = peer_candidates(folder)
    rates, sensitivities = peer_curve([item for uid in series for item in candidates[uid]], len(series))
    matched = clocks()
    resampled = peer_bootstrap(series, candidates, options.peer_resamples)
    theirs = matched - start + (clocks() - matched) / options.peer_resamples * 1000

    seconds = []
    for _ in range(options.repeats):
        start = clocks()
        summary = evaluate_luna16(**arguments(folder), out_dir=folder / "out")
        seconds.append(clocks() - start)
    if any(summary.counts[key] != totals[key] for key in totals):
        sys.exit(f"counts differ: {dict(totals)} and {summary.counts}")
    print(f"counts: {dict(totals)}, the same")
    check("curve at 10,001 points", np.interp(GRID, rates, sensitivities), summary.curve.at(GRID))
    check("each resample at the seven points", resampled, own_resamples(folder, options.peer_resamples))
    print(
        f"CPM {summary.cpm:.4f}, 95 % interval {summary.bootstrap.cpm_ci95[0]:.4f}-{summary.bootstrap.cpm_ci95[1]:.4f}"
    )
    ours = np.median(seconds, axis=0)
    print(f"\n| {len(series)} scans, {options.marks} marks, 1000 resamples | plain Python | medseg | ratio |")
    print("|---|---|---|---|")
    for name, a, b in zip(("wall", "processor"), theirs, ours, strict=True):
        print(f"| read, match, resample, write: {name} time | {a:.0f} s | {b:.2f} s | {a / b:.0f}x |")
    wall, processor = cold_start(folder)
    print(f"\nThe whole command in a fresh process: {wall:.2f} s, {processor:.2f} s of processor time.")


def own_resamples(folder: Path, count: int) -> np.ndarray:
    """The sensitivities of the first resamples, one by one: the mean over the first k tells the k-th."""
    paths = arguments(folder)
    reference = read_reference(paths["ref"], exclude=paths["exclude"], series=paths["series"])
    points, _ = points_of(read_marks(paths["pred"])[0], reference, pred=paths["pred"], listed_in=paths["series"])
    n_scans = len(reference.case_ids)
    hits = hit_nodules(points, reference.nodules, reference.excluded, n_scans=n_scans)
    entries = froc_entries(points, reference.nodules, hits, n_scans=n_scans)
    sums = [np.zeros(len(FP_POINTS))]
    sums += [bootstrap_froc(entries, resamples=k).sensitivity_mean * k for k in range(1, count + 1)]
    return np.diff(np.array(sums), axis=0)


if __name__ == "__main__":
    main()
