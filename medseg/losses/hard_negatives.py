"""Which anchors a detection loss looks at: a few positives, and negatives that the network takes for objects."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from medseg.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class HardNegatives:
    """Draws from one image's anchors; MONAI's HardNegativeSampler, as nnDetection trains.

    Baumgartner et al. 2021, https://arxiv.org/abs/2106.00817.

    Attributes:
        per_image: anchors to draw, of which `positive_share` may be positive.
        positive_share: 0 to 1, both excluded.
        min_negatives: negatives to draw at least, as from an image without objects.
        pool: the negatives are drawn from this many times as many, those with the highest scores.

    Raises:
        ConfigError: a number is out of its range.
    """

    per_image: int = 64
    positive_share: float = 0.3
    min_negatives: int = 16
    pool: float = 20.0

    def __post_init__(self) -> None:
        if self.per_image < 1 or not 0 < self.positive_share < 1 or self.min_negatives < 1 or self.pool < 1:
            msg = f"{self}: wanted per_image, min_negatives and pool of at least 1, positive_share between 0 and 1."
            raise ConfigError(msg)

    def draw(self, scores: torch.Tensor, positive: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Numbers of the drawn positive and of the drawn negative anchors.

        Uses the CPU's global random state on any device, so that a resumed run draws the same.

        Args:
            scores: (A,), larger for anchors that look more like an object.
            positive: numbers (P,) of the anchors that have one.
        """
        wanted = min(len(positive), int(self.per_image * self.positive_share))
        chosen = positive[_shuffled(len(positive), scores.device)[:wanted]]
        share = abs(1 - 1 / self.positive_share)
        negatives = max(int(max(1, wanted) * share), self.min_negatives)
        return chosen, self._negatives(scores, positive, min(negatives, len(scores) - len(positive)))

    def _negatives(self, scores: torch.Tensor, positive: torch.Tensor, wanted: int) -> torch.Tensor:
        rest = scores.detach().float().clone()
        rest[positive] = -torch.inf
        size = min(int(wanted * self.pool), len(scores) - len(positive))
        hardest = rest.topk(size, sorted=True).indices
        return hardest[_shuffled(size, scores.device)[:wanted]]


def _shuffled(count: int, device: torch.device) -> torch.Tensor:
    return torch.randperm(count).to(device)
