"""Losses that MONAI lacks."""

from medseg.losses.detection import DetectionLoss
from medseg.losses.hard_negatives import HardNegatives
from medseg.losses.region_loss import WeightedSum

__all__ = ["DetectionLoss", "HardNegatives", "WeightedSum"]
