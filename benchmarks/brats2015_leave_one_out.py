"""Leave-one-out over a handful of BraTS cases on a CPU: train on all but one, predict that one, score all together.

    python benchmarks/brats2015_leave_one_out.py --data FOLDER [--out runs/brats2015_leave_one_out] [--only CASE]

The folder holds one folder per case (`*_t1c`, `*_flair`, `*_seg`). Nothing is selected on the held-out case: the run
validates once, after its last epoch, and the weights of that epoch are the ones that predict. The settings below and
the bundle's own config are committed before the run; the script prints the commit it ran at.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

BUNDLE = "brats_mri_segmentation"
MODALITIES = ["t1c", "flair"]
CONVENTION = "brats2015"
EPOCHS = 6
TRAIN = [f"epochs={EPOCHS}", f"val_interval={EPOCHS}", "samples_per_epoch=180"]
# Two small crops generalised better than one large one; the window of the prediction stays the preset's 128.
TRAIN += ["batch_size=2", "roi_size=[96,96,96]", "tumour_share=0.5"]
# Three training cases leave more false specks than the bundle's own default expects.
PREDICT = ["tta=true", "min_component_share=0.2"]
LIMIT_MINUTES = 20


def main() -> None:
    """Runs every fold and prints the scores."""
    options = _options()
    cases = sorted(path for path in options.data.iterdir() if path.is_dir())
    if not cases:
        sys.exit(f"{options.data}: no case folders. Give --data the folder that holds one folder per case.")
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    datalist = _write_datalist(out, cases)
    minutes = {}
    for fold, case in enumerate(cases):
        if options.only in (None, case.name):
            minutes[case.name] = _run_fold(out, case, fold, datalist)
    _medseg(
        *("evaluate", "--pred", out / "predictions", "--ref", out / "references", "--task", "segmentation"),
        *("--regions", CONVENTION, "-o", out / "evaluation"),
    )
    _report(out, minutes)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with one folder per case")
    parser.add_argument("--out", type=Path, default=Path("runs/brats2015_leave_one_out"))
    parser.add_argument("--only", help="hold out this case alone")
    return parser.parse_args()


def _write_datalist(out: Path, cases: list[Path]) -> Path:
    """One fold per case, so that fold k holds out case k."""
    training = [
        {
            "case_id": case.name,
            "image": [str(_one(case, f"*_{modality}.nii.gz")) for modality in MODALITIES],
            "label": str(_one(case, "*_seg.nii.gz")),
            "fold": fold,
        }
        for fold, case in enumerate(cases)
    ]
    path = out / "datalist.json"
    path.write_text(json.dumps({"name": "brats2015", "label_convention": CONVENTION, "training": training}, indent=1))
    return path


def _one(case: Path, pattern: str) -> Path:
    found = sorted(case.glob(pattern))
    if len(found) != 1:
        sys.exit(f"{case}: {len(found)} files match {pattern}, wanted one.")
    return found[0].resolve()


def _run_fold(out: Path, case: Path, fold: int, datalist: Path) -> dict[str, float]:
    """Trains without the case and predicts it; returns wall minutes of both."""
    run = out / f"fold{fold}"
    shared = ["--preset", "cpu", f"modalities=[{','.join(MODALITIES)}]", f"label_convention={CONVENTION}"]
    where = [f"dataset_dir={case.parent.resolve()}", f"datalist={datalist}", f"fold={fold}"]
    train_s = _medseg("train", BUNDLE, "--run-dir", run, *shared, *where, *TRAIN)
    scan = out / "scans" / case.name
    scan.mkdir(parents=True, exist_ok=True)
    for modality in MODALITIES:  # the reference stays out of the folder that is predicted
        _link(scan / f"{case.name}_{modality}.nii.gz", _one(case, f"*_{modality}.nii.gz"))
    predict_s = _medseg("predict", BUNDLE, scan, "-o", out / "predictions", "--weights", run, *shared, *PREDICT)
    _link(out / "references" / f"{case.name}.nii.gz", _one(case, "*_seg.nii.gz"))
    return {"train": train_s / 60, "predict": predict_s / 60}


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _medseg(*words: object) -> float:
    """Runs one command of the command line; returns its wall seconds."""
    command = [sys.executable, "-m", "medseg", *map(str, words)]
    print("$ medseg", *command[3:], flush=True)
    start = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - start


def _report(out: Path, minutes: dict[str, dict[str, float]]) -> None:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    print(f"\ncommit {commit.strip() or 'unknown'}")
    for case, spent in minutes.items():
        total = sum(spent.values())
        over = f"  OVER {LIMIT_MINUTES} MIN" if total > LIMIT_MINUTES else ""
        print(f"{case}: {spent['train']:.1f} + {spent['predict']:.1f} = {total:.1f} min{over}")
    (out / "minutes.json").write_text(json.dumps(minutes, indent=1))


if __name__ == "__main__":
    main()
