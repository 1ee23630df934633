"""Learning-rate schedules: pure functions of the number of optimiser steps, so that a resume needs the number only."""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from medseg.errors import ConfigError


def optimizer_steps(iterations_per_epoch: int, epochs: int, *, accumulation_steps: int = 1) -> int:
    """Optimiser steps of a run; the last window of an epoch may be short.

    >>> optimizer_steps(10, 3, accumulation_steps=4)
    9
    """
    return -(-iterations_per_epoch // accumulation_steps) * epochs


def polynomial_with_warmup(
    optimizer: Optimizer, total_steps: int, *, warmup_steps: int = 0, power: float = 0.9
) -> LambdaLR:
    """Linear from 1/warmup to 1 during the warm-up, then (1 - t)^power with t from 0 to 1 (DeepLab 2016, nnU-Net).

    Args:
        optimizer: its learning rates are the peak values.
        total_steps: optimiser steps of the whole run; beyond it the rate stays at 0.
        warmup_steps: optimiser steps of the warm-up.
        power: 1 is linear; nnU-Net takes 0.9 (https://doi.org/10.1038/s41592-020-01008-z).
    """
    return _scheduled(optimizer, lambda t: (1 - t) ** power, total_steps=total_steps, warmup_steps=warmup_steps)


def cosine_with_warmup(
    optimizer: Optimizer, total_steps: int, *, warmup_steps: int = 0, floor: float = 0.0
) -> LambdaLR:
    """The same warm-up, then half a cosine from 1 to `floor` (SGDR, 2017, https://arxiv.org/abs/1608.03983).

    Args:
        optimizer: its learning rates are the peak values.
        total_steps: optimiser steps of the whole run; beyond it the rate stays at the floor.
        warmup_steps: optimiser steps of the warm-up.
        floor: final rate as a fraction of the peak.
    """

    def shape(t: float) -> float:
        return floor + (1 - floor) * (1 + math.cos(math.pi * t)) / 2

    return _scheduled(optimizer, shape, total_steps=total_steps, warmup_steps=warmup_steps)


def _scheduled(
    optimizer: Optimizer, shape: Callable[[float], float], *, total_steps: int, warmup_steps: int
) -> LambdaLR:
    if not 0 <= warmup_steps < total_steps:
        msg = f"warmup_steps {warmup_steps} must be at least 0 and below total_steps {total_steps} (optimiser steps)."
        raise ConfigError(msg)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        return shape(min(1.0, (step - warmup_steps) / (total_steps - warmup_steps)))

    # a plain function is not saved with the schedule's state: a resumed run may raise its epochs
    return LambdaLR(optimizer, factor)
