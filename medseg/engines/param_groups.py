"""Parameter groups: weight decay on the weights alone."""

from __future__ import annotations

from typing import Any

from torch import nn


def decay_weights_only(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Groups for an optimiser: kernels decay; biases and the scales of normalisation and activation do not.

    Args:
        network: The network.
        weight_decay: Decay of the kernels (parameters with two axes or more).

    Returns:
        Two groups, with `params` and `weight_decay`.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
