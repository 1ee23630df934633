"""Checkpoints of a run: everything that an exact resume needs, written so that no moment of death loses any of it."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Events

from medseg.engines.atomic import save_atomically, temporary_files
from medseg.engines.distributed import gather_objects, is_main
from medseg.engines.events import RunEvents
from medseg.engines.scores import better, check_mode, score_of
from medseg.engines.weights import fill_network, plain_weights, read_saved
from medseg.errors import ConfigError, DataError, WeightsError

_log = logging.getLogger(__name__)
_FORMAT = "medseg-run-1"


class RunCheckpoint:
    """Write and restore the checkpoints of a run folder.

    `checkpoints/last.pt` holds the whole state: network, EMA, optimiser, schedule, scaler, the handlers' states,
    the random states of every rank, where in the data the run is, and the ranking of the best epochs.
    `checkpoints/best.pt` and `model.pt` hold the weights of the best epoch (the moving average if there is one);
    before any validation, `model.pt` holds the latest. They are written before `last.pt`: a run killed in between
    comes to the same epoch again, and writes the same again. Only rank 0 writes.

    Args:
        run_dir: the run folder.
        every_epochs: epochs between writings of `last.pt`; the last epoch is always written.
        every_iterations: iterations between further writings, at the next optimiser step; None writes none.
        keep_best: epochs to keep; beyond 1, as `checkpoints/epoch_NNNN.pt`.
        resume: go on from `last.pt`; without that file, start anew.
        metric: validation metric that ranks the epochs; by default the evaluator's key metric.
        mode: "max" or "min".
        objects: more things to keep, by name (`state_dict`, `load_state_dict`).
    """

    def __init__(
        self,
        run_dir: str | Path,
        *,
        every_epochs: int = 1,
        every_iterations: int | None = None,
        keep_best: int = 1,
        resume: bool = False,
        metric: str | None = None,
        mode: str = "max",
        objects: Mapping[str, Any] | None = None,
    ) -> None:
        if every_epochs < 1 or keep_best < 1 or (every_iterations is not None and every_iterations < 1):
            msg = (
                f"every_epochs {every_epochs}, every_iterations {every_iterations}, keep_best {keep_best}: at least 1."
            )
            raise ConfigError(msg)
        self.run_dir = Path(run_dir)
        self.every_epochs, self.every_iterations, self.keep_best = every_epochs, every_iterations, keep_best
        self.resume, self.metric, self.mode, self.objects = resume, metric, check_mode(mode), dict(objects or {})
        self.ranking: list[list[float]] = []  # [score, epoch], the best first
        self._saved_iteration = 0

    @property
    def last(self) -> Path:
        """Where the whole state is kept."""
        return self.run_dir / "checkpoints" / "last.pt"

    def attach(self, trainer: Any) -> None:
        """Hang on the trainer's phases, and on its iterations."""
        for name, part in self.objects.items():
            trainer.remember(name, part)
        trainer.add_event_handler(RunEvents.RESTORE, self.restore)
        trainer.add_event_handler(RunEvents.SAVE, self.save_epoch)
        trainer.add_event_handler(RunEvents.INTERRUPTED, self.save_last)
        if self.every_iterations:
            trainer.add_event_handler(Events.ITERATION_COMPLETED, self._save_iteration)

    # --- writing -----------------------------------------------------------------------------------------------

    def save_epoch(self, trainer: Any) -> None:
        """At the end of an epoch: the best weights if this epoch is among the best, then the whole state."""
        epoch, score = trainer.state.epoch, score_of(trainer, self.metric)
        dropped = self._rank(score, epoch) if score is not None else []
        if is_main():
            self._write_best(trainer, epoch)
        is_last = epoch >= trainer.state.max_epochs or trainer.should_terminate
        if epoch % self.every_epochs == 0 or is_last:
            self.save_last(trainer)
            for old in dropped if is_main() else []:
                self._epoch_file(old).unlink(missing_ok=True)

    def _rank(self, score: float, epoch: int) -> list[int]:
        """Take the epoch into the ranking; the epochs that fall out of it. Of equal scores the earlier stays ahead."""
        place = next((i for i, (s, _) in enumerate(self.ranking) if better(score, s, mode=self.mode)), None)
        if better(score, None, mode=self.mode):
            self.ranking.insert(len(self.ranking) if place is None else place, [score, epoch])
        dropped = [int(e) for _, e in self.ranking[self.keep_best :]]
        del self.ranking[self.keep_best :]
        return [e for e in dropped if e != epoch]

    def _write_best(self, trainer: Any, epoch: int) -> None:
        ranked = [int(e) for _, e in self.ranking]
        if ranked and epoch not in ranked:
            return
        network = trainer.ema.module if trainer.ema is not None else trainer.network
        weights = plain_weights(network)
        if ranked:
            score = next(s for s, e in self.ranking if int(e) == epoch)
            content = {"model": weights, "epoch": epoch, "iteration": trainer.state.iteration, "score": score}
            if self.keep_best > 1:
                self._write(self._epoch_file(epoch), content)
            if ranked[0] != epoch:
                return
            self._write(self.last.with_name("best.pt"), content)
        self._write(self.run_dir / "model.pt", weights)

    def _epoch_file(self, epoch: int) -> Path:
        return self.last.with_name(f"epoch_{epoch:04d}.pt")

    def _save_iteration(self, trainer: Any) -> None:
        due = trainer.state.iteration - self._saved_iteration >= (self.every_iterations or 0)
        if due and trainer.at_step_boundary:
            self.save_last(trainer)

    def save_last(self, trainer: Any) -> None:
        """Write the whole state. On all ranks together: each gives its random state."""
        ranks = gather_objects(trainer.rank_state())
        self._saved_iteration = trainer.state.iteration
        if not is_main():
            return
        content = {
            "format": _FORMAT,
            "progress": trainer.progress_state(),
            "parts": {name: part.state_dict() for name, part in trainer.stateful_parts().items()},
            "ranks": ranks,
            "ranking": self.ranking,
            "data": _data_signature(trainer),
        }
        self._write(self.last, content)

    def _write(self, path: Path, content: Any) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_atomically(path, content)
        except (DataError, OSError) as error:
            line = f"{error} Free some space, then resume with: medseg train --resume {self.run_dir}"
            raise DataError(line) from error

    # --- reading -----------------------------------------------------------------------------------------------

    def restore(self, trainer: Any) -> None:
        """At the start of the first run: clear what died half-written, and go to where `last.pt` is, if asked to."""
        if is_main():
            for path in [*temporary_files(self.run_dir), *temporary_files(self.last.parent)]:
                path.unlink(missing_ok=True)
        resume, self.resume = self.resume, False  # once: a federated client calls run() again and again
        if not resume:
            return
        if not self.last.is_file():
            _log.info("%s does not exist: the run starts anew.", self.last)
            return
        content = read_saved(self.last)
        self._check(content, trainer)
        for name, part in trainer.stateful_parts().items():
            self._fill(name, part, content["parts"][name])
        self.ranking = [list(entry) for entry in content["ranking"]]
        self._saved_iteration = content["progress"]["iteration"]
        trainer.resume_from(content["progress"], content["ranks"][idist.get_rank()])
        _log.info("resumed from %s at iteration %d.", self.last, trainer.state.iteration)

    def _check(self, content: Any, trainer: Any) -> None:
        if not isinstance(content, Mapping) or content.get("format") != _FORMAT:
            msg = f"{self.last}: not a checkpoint of a run. For weights alone use --weights, not --resume."
            raise WeightsError(msg)
        then, now = set(content["parts"]), set(trainer.stateful_parts())
        if then != now:
            msg = f"{self.last} keeps {sorted(then)}, this config has {sorted(now)}. Resume with the run's config."
            raise ConfigError(msg)
        was, is_ = content["data"], _data_signature(trainer)
        changed = [f"{key} was {was.get(key)}, is {is_.get(key)}" for key in was | is_ if was.get(key) != is_.get(key)]
        if changed:
            msg = f"{self.last}: the data changed, so the resume would not be exact: {'; '.join(changed)}."
            raise ConfigError(msg)

    def _fill(self, name: str, part: Any, state: Any) -> None:
        if name == "model":
            fill_network(part, state, source=self.last)
            return
        try:
            part.load_state_dict(state)
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            msg = f"{self.last}: the state of {name!r} does not fit this config ({' '.join(str(error).split())[:160]})."
            raise WeightsError(msg) from error


def _data_signature(trainer: Any) -> dict[str, int]:
    signature = trainer.data_loader.signature() if hasattr(trainer.data_loader, "signature") else {}
    return signature | {
        "epoch_length": int(trainer.state.epoch_length),
        "accumulation_steps": trainer.accumulation_steps,
    }
