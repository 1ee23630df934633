"""Comparing validation scores, by one rule for early stopping and for the best checkpoint."""

import math
from collections.abc import Iterable
from typing import Any

from medseg.errors import ConfigError


def check_mode(mode: str) -> str:
    """The mode, if it is "max" or "min"."""
    if mode not in ("max", "min"):
        msg = f"mode {mode!r} must be 'max' or 'min'."
        raise ConfigError(msg)
    return mode


def check_choice(name: str, value: str, known: Iterable[str]) -> str:
    """The value, if it is one of those known."""
    choices = list(known)
    if value not in choices:
        msg = f"{name} {value!r} does not exist. Known: {', '.join(choices)}."
        raise ConfigError(msg)
    return value


def better(score: float, best: float | None, *, mode: str, min_delta: float = 0.0) -> bool:
    """Whether the score beats the best one by more than `min_delta`; NaN beats nothing, and any number beats None.

    >>> better(0.7, 0.6, mode="max"), better(float("nan"), None, mode="max"), better(2.0, 2.0, mode="min")
    (True, False, False)
    """
    if math.isnan(score):
        return False
    if best is None:
        return True
    return score > best + min_delta if mode == "max" else score < best - min_delta


def score_of(trainer: Any, metric: str | None) -> float | None:
    """This epoch's score: of that metric, or of the evaluator's key metric; None when there was no validation.

    Raises:
        ConfigError: the validation has no such metric.
    """
    metrics = trainer.state.val_metrics
    name = metric or trainer.state.key_metric
    if not metrics or name is None:
        return None
    if name not in metrics:
        msg = f"metric {name!r} is not among the validation's: {', '.join(sorted(metrics))}."
        raise ConfigError(msg)
    return float(metrics[name])
