"""Early stopping on the validation score."""

from typing import Any

from medseg.engines.events import RunEvents
from medseg.engines.scores import better, check_mode, score_of
from medseg.errors import ConfigError


class EarlyStopping:
    """End the run after `patience` validations in a row without a better score. The count outlives a resume.

    Args:
        patience: validations; 0 or None never stops.
        min_delta: a score counts as better when it beats the best by more than this.
        metric: name of the metric; by default the evaluator's key metric.
        mode: "max" or "min".
    """

    def __init__(
        self, patience: int | None, *, min_delta: float = 0.0, metric: str | None = None, mode: str = "max"
    ) -> None:
        if patience is not None and patience < 0:
            msg = f"early stopping: patience {patience} must be at least 0 validations (0 never stops)."
            raise ConfigError(msg)
        self.patience, self.min_delta, self.metric, self.mode = patience or 0, min_delta, metric, check_mode(mode)
        self.best: float | None = None
        self.waited = 0

    def attach(self, trainer: Any) -> None:
        """Hang on the trainer's READY and JUDGE phases."""
        if self.patience:
            trainer.remember("early_stopping", self)
            trainer.add_event_handler(RunEvents.READY, self._stop_if_due)
            trainer.add_event_handler(RunEvents.JUDGE, self)

    def __call__(self, trainer: Any) -> None:
        """Judge this epoch's score, if it was validated."""
        score = score_of(trainer, self.metric)
        if score is None:
            return
        if better(score, self.best, mode=self.mode, min_delta=self.min_delta):
            self.best, self.waited = score, 0
        else:
            self.waited += 1
        self._stop_if_due(trainer)

    def _stop_if_due(self, trainer: Any) -> None:
        if self.waited >= self.patience:
            trainer.terminate()

    def state_dict(self) -> dict[str, Any]:
        """The best score, and the validations since."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put them back."""
        self.best, self.waited = state["best"], state["waited"]
