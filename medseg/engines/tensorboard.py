"""TensorBoard: the epoch's numbers, and pictures of the validation."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Events

from medseg.engines.distributed import is_main
from medseg.engines.events import RunEvents
from medseg.engines.guard import case_ids
from medseg.engines.overlay import overlay

_log = logging.getLogger(__name__)


class TensorBoard:
    """Write events to `<run_dir>/tensorboard`: train/*, val/*, and overlays of the first validation cases.

    Steps are iterations. On a resume, events after the restored iteration are purged.

    Args:
        run_dir: the run folder.
        overlays: validation cases to picture (those of rank 0); 0 for none.
        image_channel: which channel of the image is the background.
    """

    def __init__(self, run_dir: str | Path, *, overlays: int = 2, image_channel: int = 0) -> None:
        self.folder = Path(run_dir) / "tensorboard"
        self.overlays, self.image_channel = overlays, image_channel
        self._writer: Any = None
        self._pictures: dict[str, Any] = {}
        self._watched: set[int] = set()

    def attach(self, trainer: Any) -> None:
        """Hang on the trainer's READY and REPORT phases, and on its evaluators."""
        trainer.run_contexts.append(self._closing)
        trainer.add_event_handler(RunEvents.READY, self._open)
        trainer.add_event_handler(RunEvents.REPORT, self._report)

    @contextmanager
    def _closing(self) -> Iterator[None]:
        try:
            yield
        finally:
            writer, self._writer = self._writer, None
            if writer is not None:
                with suppress(OSError):
                    writer.close()

    def _open(self, trainer: Any) -> None:
        if not is_main():
            return
        from torch.utils.tensorboard import SummaryWriter  # imports slowly

        done = trainer.closed_epochs * (trainer.state.epoch_length or 0)
        self._writer = SummaryWriter(str(self.folder), purge_step=done + 1 if done else None)
        for evaluator in trainer.evaluators:
            if self.overlays and id(evaluator) not in self._watched:
                self._watched.add(id(evaluator))
                evaluator.add_event_handler(Events.STARTED, lambda: self._pictures.clear())
                evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._picture)

    def _picture(self, evaluator: Any) -> None:
        samples = evaluator.state.output if isinstance(evaluator.state.output, list) else []
        for i, sample in enumerate(samples):
            if len(self._pictures) >= self.overlays:
                return
            picture = self._drawn(sample)
            if picture is not None:
                batch = evaluator.state.batch
                name = (
                    str(batch[i].get("case_id", len(self._pictures)))
                    if isinstance(batch, list)
                    else case_ids(batch, 1)[0]
                )
                self._pictures[name] = picture

    def _drawn(self, sample: dict[str, Any]) -> Any:
        arrays = [np.asarray(sample[k].detach().cpu().float()) for k in ("image", "label", "pred") if k in sample]
        if len(arrays) != 3 or any(a.ndim != 4 for a in arrays) or len({a.shape[1:] for a in arrays}) != 1:
            return None
        image, reference, prediction = arrays
        channel = min(self.image_channel, len(image) - 1)
        return overlay(image[channel], reference > 0.5, prediction > 0.5)

    def _report(self, trainer: Any) -> None:
        if self._writer is None:
            return
        try:
            self._write(trainer)
        except OSError as error:  # pictures are no reason to lose a run: its checkpoint will say what is wrong
            _log.warning("%s: no more events are written: %s", self.folder, error)
            self._writer = None

    def _write(self, trainer: Any) -> None:
        state = trainer.state
        for group, numbers in (("train", state.epoch_means), ("val", state.val_metrics)):
            for name, value in numbers.items():
                self._writer.add_scalar(f"{group}/{name}", value, state.iteration)
        for name, picture in self._pictures.items() if state.val_metrics else ():
            self._writer.add_image(f"validation/{name}", picture, state.iteration)
        self._writer.flush()
