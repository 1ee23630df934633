"""One training or prediction of a benchmark: `python -m medseg.benchmark.worker WORK.json`."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from medseg.benchmark.heavy import REFUSED, end_with_parent
from medseg.errors import ConfigError, MedsegError
from medseg.record import write_text_atomically

_PROBE_EPOCHS = 2  # the first one warms up
_WAIT_S = 60.0
_SHARE = 0.92  # of the budget, planned; the rest is for start-up and noise


def main() -> None:
    """Does what the file says; exit code 2 for what a user can mend."""
    end_with_parent()
    work = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        # The worker of a suite that was killed needs a moment to notice.
        with FileLock(Path(work["folder"]) / ".worker.lock", timeout=_WAIT_S):
            _train(work) if work["verb"] == "train" else _predict(work)
    except Timeout:
        sys.stdout.write(f"error: {work['folder']}: another process works here. Wait for it, or end it.\n")
        sys.exit(REFUSED)
    except MedsegError as error:
        sys.stdout.write(f"error: {error}\n")
        sys.exit(REFUSED)


def _train(work: dict[str, Any]) -> None:
    from medseg.bundle import run

    started, folder = time.monotonic(), Path(work["folder"])
    run_dir = folder / "run"
    if any((run_dir / "checkpoints").glob("*.pt")):
        run.resume(run_dir)
        return
    # What was stopped before its first checkpoint has learnt nothing.
    shutil.rmtree(run_dir, ignore_errors=True)
    overrides = list(work["overrides"])
    epochs = work["epochs"]
    if work["time_budget_s"] is not None:
        epochs = _epochs_within(work, started=started)
    if epochs is not None:
        overrides.append(f"epochs={epochs}")
    run.train(work["bundle"], presets=work["presets"], overrides=overrides, run_dir=run_dir)


def _epochs_within(work: dict[str, Any], *, started: float) -> int:
    """How many epochs fit into the budget, by two that are timed first; the schedule then ends where the time does."""
    from medseg.bundle import run

    kept = Path(work["folder"]) / "epochs.json"
    if kept.is_file():
        return int(json.loads(kept.read_text(encoding="utf-8"))["epochs"])
    probe = Path(work["folder"]) / "probe"
    shutil.rmtree(probe, ignore_errors=True)
    overrides = [*work["overrides"], f"epochs={_PROBE_EPOCHS}", f"val_interval={_PROBE_EPOCHS}"]
    run.train(work["bundle"], presets=work["presets"], overrides=overrides, run_dir=probe)
    with (probe / "metrics.csv").open(newline="", encoding="utf-8") as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    shutil.rmtree(probe, ignore_errors=True)
    left = work["time_budget_s"] * _SHARE - (time.monotonic() - started)
    if left < seconds[-1]:
        msg = f"time_budget: {work['time_budget_s']:g} s is too short: an epoch takes {seconds[-1]:.0f} s. Give more."
        raise ConfigError(msg)
    epochs = max(1, int(left / seconds[-1]))
    write_text_atomically(kept, json.dumps({"epochs": epochs, "epoch_s": seconds[-1]}))
    return epochs


def _predict(work: dict[str, Any]) -> None:
    from medseg.bundle import run

    run.predict(
        work["bundle"],
        [],
        items=work["items"],
        output_dir=Path(work["folder"]) / "predictions",
        weights=Path(work["weights"]) if work["weights"] else None,
        presets=work["presets"],
        overrides=work["overrides"],
    )


if __name__ == "__main__":
    main()
