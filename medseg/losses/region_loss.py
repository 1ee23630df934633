"""A weighted sum of named loss terms, computed in float32 whatever the network ran in."""

from collections.abc import Mapping

import torch

from medseg.errors import ConfigError


class WeightedSum(torch.nn.Module):
    """The sum of named terms, each with its weight.

    Prediction and target are cast to float32 (MONAI's DiceLoss refuses bool targets, and bfloat16 has 8 bits of
    precision, too few for sums over a million voxels), and autocast is off inside.

    Args:
        terms: name → loss module, each called with (prediction, target).
        weights: name → weight; a term without one has weight 1.

    Raises:
        ConfigError: no term, or a weight for a term that does not exist.
    """

    def __init__(self, terms: Mapping[str, torch.nn.Module], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        weights = weights or {}
        unknown = sorted(set(weights) - set(terms))
        if not terms or unknown:
            msg = f"loss terms {sorted(terms)} and weights for {sorted(weights)}: every weight needs its term."
            raise ConfigError(msg)
        self.losses = torch.nn.ModuleDict(terms)
        self.weights = {name: float(weights.get(name, 1.0)) for name in terms}

    def terms(self, prediction: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        """Each term, unweighted: scalars. Prediction and target: (B, C, X, Y, Z)."""
        with torch.autocast(prediction.device.type, enabled=False):
            prediction, target = prediction.float(), target.float()
            return {name: loss(prediction, target).mean() for name, loss in self.losses.items()}

    def total(self, terms: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The weighted sum of terms that `terms` returned."""
        return torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The weighted sum, a scalar."""
        return self.total(self.terms(prediction, target))
