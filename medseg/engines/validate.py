"""Validation during training."""

from collections.abc import Mapping
from typing import Any

import torch

from medseg.engines.events import RunEvents
from medseg.errors import ConfigError


class Validate:
    """Run the evaluator every `interval` epochs and after the last one; its metrics go to `trainer.state.val_metrics`.

    The evaluator's best metric and its epoch are kept in checkpoints.

    Args:
        validator: the evaluator.
        interval: epochs between validations.
    """

    def __init__(self, validator: Any, interval: int = 1) -> None:
        if interval < 1:
            msg = f"val_interval {interval} must be at least 1 (epochs)."
            raise ConfigError(msg)
        self.validator, self.interval = validator, interval

    def attach(self, trainer: Any) -> None:
        """Hang on the trainer's VALIDATE phase."""
        trainer.evaluators.append(self.validator)
        trainer.state.key_metric = self.validator.state.key_metric_name
        trainer.remember("validation", self)
        trainer.add_event_handler(RunEvents.VALIDATE, self)

    def __call__(self, trainer: Any) -> None:
        """Validate, if it is this epoch's turn."""
        epoch = trainer.state.epoch
        if epoch % self.interval and epoch != trainer.state.max_epochs:
            return
        self.validator.run(epoch)
        trainer.state.val_metrics = scalars(self.validator.state.metrics)

    def state_dict(self) -> dict[str, Any]:
        """The evaluator's best metric so far."""
        state = self.validator.state
        return {"best_metric": float(state.best_metric), "best_metric_epoch": int(state.best_metric_epoch)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put it back."""
        self.validator.state.best_metric = state["best_metric"]
        self.validator.state.best_metric_epoch = state["best_metric_epoch"]


def scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics as plain numbers; a metric with several values gives name_0, name_1 and so on.

    >>> scalars({"dice": 0.5, "each": [1, 2]})
    {'dice': 0.5, 'each_0': 1.0, 'each_1': 2.0}
    """
    found: dict[str, float] = {}
    for name, value in metrics.items():
        values = torch.as_tensor(value, dtype=torch.float64).flatten().tolist()
        found |= (
            {name: float(values[0])} if len(values) == 1 else {f"{name}_{i}": float(v) for i, v in enumerate(values)}
        )
    return found
