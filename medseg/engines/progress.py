"""Progress of a training run: a bar on a terminal, and one line for each epoch."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ignite.engine import Events
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from medseg.engines.distributed import is_main
from medseg.engines.events import RunEvents

_log = logging.getLogger("medseg.train")


class Progress:
    """Show where the run is: a bar with the time left when stderr is a terminal; a log line per epoch in any case."""

    def __init__(self) -> None:
        self._trainer: Any = None
        self._bar: Bar | None = None
        self._task: Any = None

    def attach(self, trainer: Any) -> None:
        """Hang on the trainer's iterations and its READY and REPORT phases."""
        self._trainer = trainer
        trainer.run_contexts.append(self._shown)
        trainer.add_event_handler(RunEvents.READY, self._ready)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
        trainer.add_event_handler(RunEvents.REPORT, self._report)

    @contextmanager
    def _shown(self) -> Iterator[None]:
        console = Console(stderr=True)
        if not (console.is_terminal and is_main()):
            yield
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bar(*columns, console=console) as self._bar:
            yield
        self._bar = None

    def _ready(self, trainer: Any) -> None:
        if self._bar is not None:
            state = trainer.state
            total = state.max_epochs * state.epoch_length
            self._task = self._bar.add_task("training", total=total, completed=state.iteration)

    def _advance(self, trainer: Any) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=trainer.state.iteration)

    def _report(self, trainer: Any) -> None:
        if not is_main():
            return
        line = epoch_line(trainer)
        _log.info(line)
        if self._bar is not None:
            self._bar.update(self._task, description=line)


def epoch_line(trainer: Any) -> str:
    """One line: the epoch, its means, its validation, its seconds."""
    state = trainer.state
    numbers = {k: v for k, v in (state.epoch_means | state.val_metrics).items() if k != "learning_rate"}
    told = " ".join(f"{name} {value:.4g}" for name, value in numbers.items())
    return f"epoch {state.epoch}/{state.max_epochs} {told} {state.epoch_seconds:.1f} s"
