"""Ctrl-C and SIGTERM: finish the iteration, write a checkpoint, leave."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import ignite.distributed as idist
from ignite.engine import Events

from medseg.engines.distributed import any_rank
from medseg.engines.events import RunEvents

_log = logging.getLogger(__name__)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """The run was interrupted, and its checkpoint is written: it resumes exactly."""


class Interrupt:
    """On SIGINT or SIGTERM, go on to the next optimiser step, write the checkpoint, and raise Interrupted.

    During a validation (of one process) it leaves after the case in hand; the resumed run validates again.
    A second signal raises KeyboardInterrupt at once: the run then resumes from its previous checkpoint.
    """

    def __init__(self) -> None:
        self.requested = False
        self._trainer: Any = None
        self._watched: set[int] = set()

    def attach(self, trainer: Any) -> None:
        """Hang on the trainer's iterations, and on those of its evaluators."""
        self._trainer = trainer
        trainer.run_contexts.append(self._listening)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._leave_at_step)
        trainer.add_event_handler(RunEvents.READY, self._watch_evaluators)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.requested = False
        before = {number: signal.signal(number, self._request) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _request(self, number: int, _: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        _log.warning("%s: finishing this step, then saving. Once more stops at once.", signal.Signals(number).name)

    def _watch_evaluators(self, trainer: Any) -> None:
        for evaluator in trainer.evaluators:
            if id(evaluator) not in self._watched:
                self._watched.add(id(evaluator))
                evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._leave_validation)

    def _leave_at_step(self, trainer: Any) -> None:
        if trainer.at_step_boundary and any_rank(self.requested):
            self._leave()

    def _leave_validation(self, _: Any) -> None:
        # ranks validate different numbers of cases, so they cannot agree here
        if self.requested and idist.get_world_size() == 1 and not self._trainer.epoch_is_closed:
            self._leave()

    def _leave(self) -> None:
        self._trainer.fire_event(RunEvents.INTERRUPTED)
        msg = f"interrupted at iteration {self._trainer.state.iteration}; the checkpoint is written"
        raise Interrupted(msg)
