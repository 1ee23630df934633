"""`medseg demo`: every step from data to report on phantoms, each with the command that does the same."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from medseg.cli import demo_detection
from medseg.cli.demo_steps import options, overrides, show, step

if TYPE_CHECKING:
    from medseg.evaluation import Summary

BUNDLE = "brats_mri_segmentation"
CONVENTION = "brats2017"
MODALITIES = ("t1", "t1c", "t2", "flair")

# What the demo asks for; everything else is the bundle's own. Chosen for two cores and eight minutes.
SETTINGS: dict[str, dict[str, Any]] = {
    "phantoms": {"training": {"cases": 10, "seed": 0}, "unseen": {"cases": 6, "seed": 1}},
    "train": {
        "epochs": 12,
        "fluid_share": 0.0,  # phantoms have no ventricles as dark as their necrosis
        "samples_per_epoch": 140,
        "val_interval": 2,
        "batch_size": 2,
        "roi_size": [64, 80, 64],
        "spacing_mm": [1.75, 1.75, 1.75],
        "num_workers": 1,
    },
    "predict": {"tta": True},
}

_STATE = "demo.json"
# What an earlier demo made and a new one may remove; anything else in the folder stays.
_MADE = ("phantoms", "predictions", "evaluation", "baseline", "checkpoints", "tensorboard")
_MADE_FILES = (
    "run.json",
    "metrics.csv",
    "config.yaml",
    "model.pt",
    "train.log",
    "report.html",
    _STATE,
)


def demo(
    task: Annotated[Literal["segmentation", "detection"], typer.Option(help="What the demo does.")] = "segmentation",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The demo's folder.", show_default="runs/demo, or runs/demo_detection"),
    ] = None,
) -> None:
    """Make phantoms, train on them, predict unseen ones, score and report: minutes on two cores, no download."""
    detects = task == "detection"
    settings = demo_detection.SETTINGS if detects else SETTINGS
    out = out or Path("runs/demo_detection" if detects else "runs/demo")
    started = time.monotonic()
    resuming = _prepare(out, settings)
    try:
        network, baseline = (demo_detection.steps if detects else _steps)(out, resuming=resuming)
    except KeyboardInterrupt:
        kind = "--task detection " if detects else ""
        typer.echo(f"\nStopped. Go on with: medseg demo {kind}--out {shlex.quote(str(out))}", err=True)
        raise typer.Exit(130) from None
    _set_state(out, "finished", settings)
    minutes = (time.monotonic() - started) / 60
    score = "CPM" if detects else "Mean Dice"
    typer.echo(f"\n{score} on unseen phantoms: network {network:.3f}, threshold baseline {baseline:.3f}")
    typer.echo(f"Scores:  {out / 'evaluation' / 'summary.json'}")
    typer.echo(f"Report:  {out / 'report.html'}   ({minutes:.1f} minutes in all)")


def _steps(out: Path, *, resuming: bool) -> tuple[float, float]:
    """Runs every step; mean Dice of the network and of the baseline."""
    training, unseen = out / "phantoms" / "training", out / "phantoms" / "unseen"
    with step(1, "Phantoms: made-up scans with a tumour in them, some to learn from and some kept back"):
        _make_phantoms(out)
    with step(2, "Training" + (", going on where it was stopped" if resuming else "")):
        _train(training, out, resuming=resuming)
    with step(3, "Prediction on the phantoms that were kept back"):
        _predict(unseen, out)
    with step(4, "Scores"):
        network = _evaluate(out / "predictions", unseen, out / "evaluation")
    with step(5, "The same scores for what thresholds alone can do"):
        _predict_baseline(training, unseen, out / "baseline" / "predictions")
        baseline = _evaluate(out / "baseline" / "predictions", unseen, out / "baseline")
    with step(6, "Report"):
        _report(out)
    return network.mean["dice"].mean, baseline.mean["dice"].mean


def _make_phantoms(out: Path) -> None:
    from medseg.datasets.phantoms import write_brats_phantoms

    for name, settings in SETTINGS["phantoms"].items():
        folder = out / "phantoms" / name
        show("data", "phantom", "brats", "--out", folder, *options(settings))
        write_brats_phantoms(folder, **settings)


def _train(training: Path, out: Path, *, resuming: bool) -> None:
    from medseg.bundle import run

    if resuming:
        show("train", "--resume", out)
        run.resume(out)
        return
    changes = overrides({"dataset_dir": str(training), "label_convention": CONVENTION, **SETTINGS["train"]})
    show("train", BUNDLE, "--run-dir", out, *changes)
    run.train(BUNDLE, overrides=changes, run_dir=out)


def _predict(unseen: Path, out: Path) -> None:
    from medseg.bundle import run

    changes = overrides({"label_convention": CONVENTION, **SETTINGS["predict"]})
    show("predict", BUNDLE, unseen, "-o", out / "predictions", "--weights", out, *changes)
    run.predict(BUNDLE, [unseen], output_dir=out / "predictions", weights=out, overrides=changes)


def _evaluate(predictions: Path, unseen: Path, folder: Path) -> Summary:
    from medseg.evaluation import evaluate_folders

    show("evaluate", "--pred", predictions, "--ref", unseen, "--regions", CONVENTION, "-o", folder)
    return evaluate_folders(predictions, unseen, out_dir=folder, regions=CONVENTION)


def _predict_baseline(training: Path, unseen: Path, predictions: Path) -> None:
    from medseg.datasets.phantoms.baseline import predict_with_thresholds

    predict_with_thresholds(training, unseen, predictions, modalities=MODALITIES, label_convention=CONVENTION)


def _report(out: Path) -> None:
    from medseg.report import write_report

    show("report", out)
    write_report(out)


def _prepare(out: Path, settings: Mapping[str, Any]) -> bool:
    """Makes the folder ready and says what happens to an earlier demo; whether its training goes on.

    Raises:
        ConfigError: When the folder holds something else.
        DataError: When it cannot be made or written to.
    """
    from medseg.errors import ConfigError

    state = _read_state(out)
    if not state and out.exists() and (not out.is_dir() or any(out.iterdir())):
        msg = f"--out: {out} exists and is no demo's folder. Name a new one."
        raise ConfigError(msg)
    if state.get("state") == "started" and state.get("settings") == settings:
        typer.echo(f"{out} holds a demo that was stopped: going on with it.")
        return (out / "config.yaml").is_file()
    if state:
        typer.echo(f"{out} holds an earlier demo: removing it and starting afresh.")
        _remove(out)
    _set_state(out, "started", settings)
    return False


def _remove(out: Path) -> None:
    for name in _MADE:
        shutil.rmtree(out / name, ignore_errors=True)
    for name in _MADE_FILES:
        (out / name).unlink(missing_ok=True)


def _read_state(out: Path) -> dict[str, Any]:
    try:
        known: dict[str, Any] = json.loads((out / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known


def _set_state(out: Path, state: str, settings: Mapping[str, Any]) -> None:
    from medseg.record import write_text_atomically

    write_text_atomically(out / _STATE, json.dumps({"state": state, "settings": settings}, indent=2))
