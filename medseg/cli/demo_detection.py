"""`medseg demo --task detection`: nodules found in made-up chest CT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medseg.cli.demo_steps import options, overrides, show, step

BUNDLE = "lung_nodule_ct_detection"
PLAN = "@light.yaml"

# What the demo asks for; everything else is the bundle's own. Chosen for two cores and eight minutes.
SETTINGS: dict[str, dict[str, Any]] = {
    "phantoms": {
        "training": {"cases": 40, "seed": 0, "shape": "128,104,80"},
        "unseen": {"cases": 12, "seed": 1, "shape": "128,104,80"},
    },
    "train": {"epochs": 12, "val_interval": 4, "cache_cases": 40, "num_workers": 1},
}


def steps(out: Path, *, resuming: bool) -> tuple[float, float]:
    """Runs every step; CPM of the network and of the baseline."""
    training, unseen = out / "phantoms" / "training", out / "phantoms" / "unseen"
    with step(1, "Phantoms: made-up chest CT with nodules in it, some to learn from and some kept back"):
        _make_phantoms(out)
    with step(2, "Training" + (", going on where it was stopped" if resuming else "")):
        _train(training, out, resuming=resuming)
    with step(3, "Detection in the phantoms that were kept back"):
        _predict(unseen, out)
    with step(4, "Scores, by the rules of LUNA16"):
        network = _evaluate(out / "predictions", unseen, out / "evaluation")
    with step(5, "The same scores for what a threshold and the shape of blobs can do"):
        _predict_baseline(unseen, out / "baseline" / "predictions" / "submission.csv")
        baseline = _evaluate(out / "baseline" / "predictions" / "submission.csv", unseen, out / "baseline")
    with step(6, "Report"):
        _report(out)
    return network, baseline


def _make_phantoms(out: Path) -> None:
    from medseg.datasets.phantoms import write_luna16_phantoms

    for name, settings in SETTINGS["phantoms"].items():
        folder = out / "phantoms" / name
        show("data", "phantom", "luna16", "--out", folder, *options(settings))
        shape = [int(size) for size in settings["shape"].split(",")]
        write_luna16_phantoms(folder, **{**settings, "shape": shape})


def _train(training: Path, out: Path, *, resuming: bool) -> None:
    from medseg.bundle import run

    if resuming:
        show("train", "--resume", out)
        run.resume(out)
        return
    changes = [PLAN, *overrides({"dataset_dir": str(training), **SETTINGS["train"]})]
    show("train", BUNDLE, "--run-dir", out, *changes)
    run.train(BUNDLE, overrides=changes, run_dir=out)


def _predict(unseen: Path, out: Path) -> None:
    from medseg.bundle import run

    show("predict", BUNDLE, unseen, "-o", out / "predictions", "--weights", out)
    run.predict(BUNDLE, [unseen], output_dir=out / "predictions", weights=out)


def _evaluate(predictions: Path, unseen: Path, folder: Path) -> float:
    from medseg.evaluation.detection import evaluate_luna16

    ref, exclude, series = (unseen / name for name in ("annotations.csv", "annotations_excluded.csv", "seriesuids.csv"))
    tables = options({"ref": ref, "exclude": exclude, "series": series})
    show("evaluate", "--task", "detection", "--pred", predictions, *tables, "-o", folder)
    return evaluate_luna16(predictions, ref, exclude=exclude, series=series, out_dir=folder).cpm


def _predict_baseline(unseen: Path, submission: Path) -> None:
    from medseg.datasets.phantoms.nodule_baseline import predict_with_blobs

    submission.parent.mkdir(parents=True, exist_ok=True)
    predict_with_blobs(sorted(unseen.glob("subset*/*.mhd")), submission)


def _report(out: Path) -> None:
    from medseg.report import write_report

    show("report", out)
    write_report(out)
