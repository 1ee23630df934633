"""The heavy stages: training and prediction, each in a process of its own, so that a crash stays there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from medseg.errors import MedsegError
from medseg.record import read, write_text_atomically

REFUSED = 2  # exit code of a worker whose error a user can mend
_GRACE = 1.15  # a training may take this share of its time budget before it is stopped
# Not by -m, which would take a module of the folder that one happens to be in, a bundle's perhaps, before all others.
_START = "import sys; sys.path[:] = [p for p in sys.path if p]; sys.path.append(sys.argv[2]); "
_START += "from medseg.benchmark.worker import main; main()"
_HOME = Path(__file__).resolve().parents[2]
_STOP_S = 120.0  # what a stopped training gets to write its checkpoint


class StageError(MedsegError):
    """A training or a prediction that ended without its result."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a worker does.

    Attributes:
        verb: `train` or `predict`.
        folder: The job's folder: training goes to `run`, predictions to `predictions`.
        bundle: Name or path.
        presets: Names or paths.
        overrides: `KEY=VALUE` tokens.
        weights: Weights of a prediction; None for the bundle's own.
        items: Cases of a prediction, as `medseg.datasets` describes them.
        epochs: Of a training, None for the bundle's own or the budget's.
        time_budget_s: Of a training, None without.
    """

    verb: str
    folder: str
    bundle: str
    presets: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    weights: str | None = None
    items: tuple[Mapping[str, Any], ...] = ()
    epochs: int | None = None
    time_budget_s: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


class Heavy(Protocol):
    """Who trains and predicts. Tests bring their own."""

    def train(self, work: Work) -> None:
        """Leave a run folder `run` with `model.pt`, `run.json` and `split.json`; go on with one that was stopped."""
        ...

    def predict(self, work: Work) -> dict[str, str]:
        """Leave `predictions/<case>.nii.gz` for every item; by case, why there is none."""
        ...


class Processes:
    """Every stage in a process of its own."""

    def train(self, work: Work) -> None:
        """Train, within the time budget and a little more."""
        limit = None
        if work.time_budget_s is not None:
            spent = float(read(Path(work.folder) / "run" / "run.json").get("wall_s") or 0.0)
            limit = max(1.0, work.time_budget_s * _GRACE - spent)
        code = _run(work, limit_s=limit)
        run = Path(work.folder) / "run"
        stopped = limit is not None and (run / "model.pt").is_file() and code != REFUSED
        if code and not stopped:
            msg = (
                f"{run}: the training ended with code {code}: {_last_line(work)}. Mend that and start the suite again."
            )
            raise StageError(msg)

    def predict(self, work: Work) -> dict[str, str]:
        """Predict; a case that kills the process is left out, and the others go on."""
        failed: dict[str, str] = {}
        fruitless = 0
        while waiting := _waiting(work, failed):
            before = len(waiting)
            code = _run(_with_items(work, waiting))
            left = _waiting(work, failed)
            if not left:
                break
            if code in (0, REFUSED):
                reason = _last_line(work)
                return failed | {str(item["case_id"]): reason for item in left}
            # The process died: of cases in order, the first without a result killed it.
            failed[str(left[0]["case_id"])] = f"the process ended with code {code}: {_last_line(work)}"
            fruitless = fruitless + 1 if len(left) == before else 0
            if fruitless == 3:  # not the cases' fault
                return failed | {str(item["case_id"]): f"three cases before it ended with code {code}" for item in left}
        return failed


def _with_items(work: Work, items: Sequence[Mapping[str, Any]]) -> Work:
    return Work(**{**asdict(work), "items": tuple(items)})


def _waiting(work: Work, failed: Mapping[str, str]) -> list[Mapping[str, Any]]:
    folder = Path(work.folder) / "predictions"
    return [
        item
        for item in work.items
        if item["case_id"] not in failed and not (folder / f"{item['case_id']}.nii.gz").is_file()
    ]


def _run(work: Work, *, limit_s: float | None = None) -> int:
    """Run a worker to its end; past the limit it is asked to stop, and then made to."""
    spec = Path(work.folder) / f"{work.verb}.work.json"
    write_text_atomically(spec, json.dumps(asdict(work), default=str))
    environment = {**os.environ, **work.environment}
    with _log(work).open("a", encoding="utf-8") as log:
        command = [sys.executable, "-c", _START, str(spec), str(_HOME)]
        child = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment
        )
        try:
            return child.wait(limit_s)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGINT)
            try:
                return child.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                return -9
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()


def _log(work: Work) -> Path:
    return Path(work.folder) / f"{work.verb}.log"


def _last_line(work: Work) -> str:
    """The error in a worker's log, else its last line."""
    lines = [line.strip() for line in _log(work).read_text(encoding="utf-8", errors="replace").splitlines()]
    lines = [line for line in lines if line]
    told = [line for line in lines if line.startswith("error: ")]
    return (told or lines or ["it said nothing"])[-1].removeprefix("error: ").rstrip(".")


def end_with_parent() -> None:
    """Let this process end when the one that started it does: an orphan would write into a suite that goes on."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
