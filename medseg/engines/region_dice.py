"""Dice of each region as a validation metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from monai.handlers import MeanDice


def region_dice(regions: Sequence[str], prefix: str = "val_dice_") -> dict[str, MeanDice]:
    """One Dice metric per region, for `additional_metrics` of an evaluator.

    A training-time figure: cases without the region are left out, as MONAI does. Results come from `medseg evaluate`.

    Args:
        regions: Names of the network's channels, in order.
        prefix: Put before each name.

    Returns:
        Metrics by name, in the range 0 to 1.
    """
    return {f"{prefix}{name}": MeanDice(output_transform=_channel(index)) for index, name in enumerate(regions)}


def _channel(index: int) -> Callable[[Sequence[Mapping[str, Any]]], tuple[list[torch.Tensor], list[torch.Tensor]]]:
    def take(output: Sequence[Mapping[str, Any]]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        one = slice(index, index + 1)
        return [item["pred"][one] for item in output], [item["label"][one] for item in output]

    return take
