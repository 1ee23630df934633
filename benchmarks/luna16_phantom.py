"""Nodule detection on phantoms, timed: train the light network on a CPU, detect in unseen scans, score as LUNA16 does.

    python benchmarks/luna16_phantom.py --out DIR [--train-minutes 25] [--real ../shared/data/lung_ct]

Phantoms of one seed train and validate, those of another are scored; nothing is chosen on the latter. Their excluded
findings and their scans without nodules count as the challenge says. The number of epochs is that which fits into the
minutes, by the pace of a short pilot run. A threshold with the shape of blobs is scored beside the network. With a
real CT and the mask of its tumour (`*_image.nrrd`, `*_label.nrrd`) the script says at which rank the network, which has
seen phantoms only, has the tumour.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BUNDLE = "lung_nodule_ct_detection"
TRAINING = {"cases": 60, "seed": 100}
UNSEEN = {"cases": 30, "seed": 200}
DRAWS, BATCH, PILOT_DRAWS = 1600, 16, 320
LOADING = ["cache_cases=60", "num_workers=1", "device=cpu"]
VALIDATIONS = 4


def main() -> None:
    """Runs every step and prints the scores."""
    options = _options()
    out = options.out.resolve()
    for name, settings in (("training", TRAINING), ("unseen", UNSEEN)):
        words = [word for key, value in settings.items() for word in (f"--{key}", value)]
        _medseg("data", "phantom", "luna16", "--out", out / "phantoms" / name, *words)
    prepared = out / "prepared"
    prepare_s = _medseg("data", "prepare", out / "phantoms" / "training", "-o", prepared)
    epochs = _epochs(out / "pilot", prepared, minutes=options.train_minutes)
    run = out / "run"
    changes = [f"epochs={epochs}", f"samples_per_epoch={DRAWS}", f"val_interval={max(1, epochs // VALIDATIONS)}"]
    train_s = _train(run, prepared, changes)
    unseen = out / "phantoms" / "unseen"
    predict_s = _medseg("predict", BUNDLE, unseen, "-o", run / "predictions", "--weights", run)
    network = _evaluate(run / "predictions" / "submission.csv", unseen, run / "evaluation")
    baseline = _baseline(unseen, out)
    found = {
        "commit": _commit(),
        "epochs": epochs,
        "minutes": {"prepare": prepare_s / 60, "train": train_s / 60, "predict": predict_s / 60},
        "network": network,
        "baseline": baseline,
        "real_ct": _real(options.real, run, out) if options.real else None,
    }
    (out / "result.json").write_text(json.dumps(found, indent=1))
    _print(found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/luna16_phantom"))
    parser.add_argument("--train-minutes", type=float, default=25.0, help="wall minutes of training, start-up included")
    parser.add_argument("--real", type=Path, help="folder with a chest CT and the mask of its tumour (NRRD)")
    return parser.parse_args()


def _epochs(pilot: Path, data: Path, *, minutes: float) -> int:
    """How many epochs fit, by the second epoch of a pilot run without validation in it; 15 % are kept for the rest."""
    # A finished pilot is read again, so that a repeated run has the same epochs.
    if not (pilot / "model.pt").is_file():
        _train(pilot, data, ["epochs=3", f"samples_per_epoch={PILOT_DRAWS}", "val_interval=3"])
    with (pilot / "metrics.csv").open(newline="") as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    step_s = seconds[1] / (PILOT_DRAWS / BATCH)
    start_up_s = max(0.0, seconds[0] - seconds[1])
    epochs = (minutes * 60 * 0.85 - start_up_s) / (step_s * DRAWS / BATCH)
    print(f"pilot: {step_s:.2f} s a step, {start_up_s:.0f} s of start-up: {max(1, int(epochs))} epochs", flush=True)
    return max(1, int(epochs))


def _train(run: Path, data: Path, changes: list[str]) -> float:
    if (run / "checkpoints" / "last.pt").is_file():
        return _medseg("train", "--resume", run)
    where = [f"dataset_dir={data}"]
    return _medseg("train", BUNDLE, "--run-dir", run, "@light.yaml", *where, *LOADING, *changes)


def _evaluate(submission: Path, data: Path, folder: Path) -> dict[str, Any]:
    tables = [f"--{key}={data / name}.csv" for key, name in _TABLES.items()]
    _medseg("evaluate", "--task", "detection", "--pred", submission, *tables, "-o", folder)
    summary = json.loads((folder / "summary.json").read_text())
    keys = ("cpm", "cpm_ci95", "sensitivity_at_fp", "n_scans", "n_nodules", "n_tp", "n_fp", "n_missed")
    return {key: summary[key] for key in keys}


_TABLES = {"ref": "annotations", "exclude": "annotations_excluded", "series": "seriesuids"}


def _baseline(unseen: Path, out: Path) -> dict[str, Any]:
    from medseg.datasets.phantoms.nodule_baseline import predict_with_blobs

    submission = out / "baseline" / "submission.csv"
    submission.parent.mkdir(parents=True, exist_ok=True)
    predict_with_blobs(sorted(unseen.glob("subset*/*.mhd")), submission)
    return _evaluate(submission, unseen, out / "baseline")


def _real(folder: Path, run: Path, out: Path) -> dict[str, Any]:
    """Rank of the best mark in the tumour of a real CT, among the marks of a network that has seen phantoms only."""
    import numpy as np

    from medseg.volumes import read_volume
    from medseg.volumes.boxes import box_centres
    from medseg.volumes.detections import read_detections

    [image], [label] = sorted(folder.glob("*_image.nrrd")), sorted(folder.glob("*_label.nrrd"))
    _medseg("predict", BUNDLE, image, "-o", out / "real", "--weights", run)
    found = read_detections(next((out / "real").glob("*/detections.json")))
    mask = read_volume(label)
    affine = np.asarray(mask.affine_ras_mm)
    voxels = np.argwhere(mask.array > 0)
    centre = affine[:3, :3] @ voxels.mean(axis=0) + affine[:3, 3]
    # Axial, as readers measure: slices of 5 mm say little about the third axis.
    sides_mm = (np.ptp(voxels, axis=0) + 1) * np.linalg.norm(affine[:3, :3], axis=0)
    diameter_mm = float(sides_mm[:2].max())
    distance = np.linalg.norm(box_centres(found.box_ras_mm) - centre, axis=1)
    hits = np.flatnonzero(distance < diameter_mm / 2)
    rank = int(hits[0]) + 1 if hits.size else None
    return {
        "marks": len(found),
        "tumour_diameter_mm": diameter_mm,
        "rank": rank,
        "score": float(found.score[hits[0]]) if hits.size else None,
        "best_score": float(found.score[0]) if len(found) else None,
        "nearest_mark_mm": float(distance.min()) if len(found) else None,
    }


def _medseg(*words: object) -> float:
    """Runs one command of the command line; returns its wall seconds."""
    command = [sys.executable, "-m", "medseg", *map(str, words)]
    print("$ medseg", *command[3:], flush=True)
    start = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - start


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def _print(found: dict[str, Any]) -> None:
    minutes = ", ".join(f"{name} {value:.1f} min" for name, value in found["minutes"].items())
    print(f"\ncommit {found['commit']}, {found['epochs']} epochs; {minutes}")
    for name in ("network", "baseline"):
        scores = found[name]
        low, high = scores["cpm_ci95"]
        print(f"{name}: CPM {scores['cpm']:.3f} (95 % {low:.3f} to {high:.3f}); {scores['n_tp']} of ", end="")
        print(f"{scores['n_nodules']} nodules in {scores['n_scans']} scans, {scores['n_fp']} false positives")
    real = found["real_ct"]
    if real:
        where = f"rank {real['rank']} of {real['marks']} marks" if real["rank"] else f"not among {real['marks']} marks"
        print(f"real CT: tumour of {real['tumour_diameter_mm']:.0f} mm: {where}; best score {real['best_score']}")


if __name__ == "__main__":
    main()
