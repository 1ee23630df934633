"""Losses that MONAI lacks."""

from medseg.losses.region_loss import WeightedSum

__all__ = ["WeightedSum"]
