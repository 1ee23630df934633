"""One training or prediction of a benchmark, in the process that `heavy` starts for it with a WORK.json."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from medseg.benchmark.heavy import REFUSED, end_with_parent
from medseg.errors import ConfigError, MedsegError
from medseg.record import write_text_atomically

_PROBE_EPOCHS = 3
_WAIT_S = 60.0
_SHARE = 0.95  # of the budget, planned; the rest is for start-up and noise


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
    """How many epochs fit into the budget, by three that are timed first: the schedule ends with the time."""
    kept = Path(work["folder"]) / "epochs.json"
    if kept.is_file():
        return int(json.loads(kept.read_text(encoding="utf-8"))["epochs"])
    startup_s, epoch_s, validation_s = _probe(work)
    each_s = epoch_s + validation_s / _val_interval(work)
    left_s = work["time_budget_s"] * _SHARE - (time.monotonic() - started) - startup_s
    if left_s < each_s:
        msg = f"time_budget: {work['time_budget_s']:g} s is too short: an epoch takes {each_s:.1f} s, a start "
        msg += f"{startup_s:.0f} s. Give more."
        raise ConfigError(msg)
    epochs = max(1, int(left_s / each_s))
    facts = {"epochs": epochs, "epoch_s": epoch_s, "validation_s": validation_s, "startup_s": startup_s}
    write_text_atomically(kept, json.dumps(facts))
    return epochs


def _probe(work: dict[str, Any]) -> tuple[float, float, float]:
    """Seconds of a start, of an epoch, and of a validation with its checkpoint, by a short run that is thrown away."""
    from medseg.bundle import run

    probe = Path(work["folder"]) / "probe"
    shutil.rmtree(probe, ignore_errors=True)
    # The first epoch warms up, the second only trains, the third validates; then the run would end.
    overrides = [*work["overrides"], f"epochs={_PROBE_EPOCHS}", "val_interval=3"]
    began = time.monotonic()
    ends: list[float] = []
    stop = threading.Event()
    watcher = threading.Thread(target=_watch_rows, args=(probe / "metrics.csv", ends, stop), daemon=True)
    watcher.start()
    run.train(work["bundle"], presets=work["presets"], overrides=overrides, run_dir=probe)
    stop.set()
    watcher.join()
    shutil.rmtree(probe, ignore_errors=True)
    return probed_seconds([began, *ends])


def probed_seconds(moments: list[float]) -> tuple[float, float, float]:
    """Seconds of a start, of an epoch and of a validation.

    Args:
        moments: When the probe began and when each of its epochs ended, s; the third epoch validated.

    Example:
        >>> probed_seconds([0.0, 12.0, 14.0, 17.0])
        (10.0, 2.0, 1.0)
    """
    if len(moments) < 4:
        msg = "time_budget: the timed epochs left no metrics.csv. The bundle needs a MetricsCsv handler; or set epochs."
        raise ConfigError(msg)
    epoch_s = max(moments[2] - moments[1], 1e-3)
    return max(0.0, moments[1] - moments[0] - epoch_s), epoch_s, max(0.0, moments[3] - moments[2] - epoch_s)


def _watch_rows(path: Path, ends: list[float], stop: threading.Event) -> None:
    """Note when each row of a metrics.csv comes."""
    while True:
        last = stop.is_set()
        with suppress(OSError):
            rows = path.read_text(encoding="utf-8").count("\n") - 1
            ends.extend(time.monotonic() for _ in range(rows - len(ends)))
        if last:
            return
        stop.wait(0.01)


def _val_interval(work: dict[str, Any]) -> int:
    from medseg.bundle.compose import compose

    told = compose(work["bundle"], "train", presets=work["presets"], overrides=work["overrides"]).config
    interval = told.get("val_interval")
    return interval if isinstance(interval, int) and interval > 0 else 1


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
