"""An exponential moving average of a network's weights."""

from copy import deepcopy
from typing import Any

import torch

from medseg.engines.distributed import unwrap
from medseg.errors import ConfigError


class Ema:
    """The average of the weights over the optimiser's steps; usually better than the last weights, and steadier.

    After n updates: average = d * average + (1 - d) * weights, with d = min(decay, (1 + n) / (10 + n)) under
    `warmup` (the rule of TensorFlow's ExponentialMovingAverage, `num_updates`), so that the random start is
    forgotten soon. Buffers (batch norm statistics) are copied.

    Args:
        network: the network in training; wrappers are removed.
        decay: 0 <= decay < 1; 0 switches it off: `module` is then the network itself.
        warmup: smaller decay for the first updates.
    """

    def __init__(self, network: torch.nn.Module, decay: float = 0.999, *, warmup: bool = True) -> None:
        if not 0 <= decay < 1:
            msg = f"EMA decay {decay} must be at least 0 and below 1 (0 switches it off)."
            raise ConfigError(msg)
        self.network, self.decay, self.warmup, self.updates = unwrap(network), decay, warmup, 0
        self.module = self.network if decay == 0 else deepcopy(self.network).requires_grad_(False).eval()
        self._version = self._weights_version()

    def current_decay(self) -> float:
        """The decay of the next update."""
        return min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.warmup else self.decay

    @torch.no_grad()
    def update(self) -> None:
        """Take the network's weights into the average."""
        if self.module is self.network:
            return
        pairs = [(a, w) for a, w in zip(self.module.parameters(), self.network.parameters(), strict=True)]
        torch._foreach_lerp_([a for a, _ in pairs], [w.detach() for _, w in pairs], 1 - self.current_decay())
        for average, buffer in zip(self.module.buffers(), self.network.buffers(), strict=True):
            average.copy_(buffer)
        self.updates += 1
        self._version = self._weights_version()

    @torch.no_grad()
    def restart_if_replaced(self) -> None:
        """Start again from the network's weights if others wrote them since (federated servers do)."""
        if self.module is not self.network and self._version != self._weights_version():
            self.module.load_state_dict(self.network.state_dict())
            self.updates, self._version = 0, self._weights_version()

    def _weights_version(self) -> int:
        return sum(p._version for p in self.network.parameters())

    def state_dict(self) -> dict[str, Any]:
        """The average and the number of updates; no weights when switched off."""
        weights = {} if self.module is self.network else self.module.state_dict()
        return {"updates": self.updates, "weights": weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved average."""
        self.updates = state["updates"]
        if self.module is not self.network:
            self.module.load_state_dict(state["weights"])
        self._version = self._weights_version()
