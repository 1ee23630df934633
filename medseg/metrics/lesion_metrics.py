"""The table of lesion-wise metrics: what each one is called, measures in, and is worst."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class LesionMetric:
    """One lesion-wise score of a region.

    Attributes:
        unit: `""` for a share or a count, else the unit.
        better: Which way is good.
        nothing: Score where there is no lesion and none is predicted.
        worst: Score of a case without a prediction; None for the rules' own penalty in mm.
        meaning: One line for a reader.
    """

    unit: Literal["", "mm"]
    better: Literal["higher", "lower"]
    nothing: float
    worst: float | None
    meaning: str


LESION_METRICS: dict[str, LesionMetric] = {
    "lesion_dice": LesionMetric(
        unit="", better="higher", nothing=1.0, worst=0.0, meaning="mean Dice of lesions; false positives count 0"
    ),
    "lesion_hd95_mm": LesionMetric(
        unit="mm",
        better="lower",
        nothing=0.0,
        worst=None,
        meaning="mean HD95 of lesions; missed ones and false positives count the rules' penalty",
    ),
    "lesion_f1": LesionMetric(
        unit="", better="higher", nothing=1.0, worst=0.0, meaning="F1 of lesions found, missed and made up"
    ),
    "panoptic_quality": LesionMetric(
        unit="", better="higher", nothing=1.0, worst=0.0, meaning="panoptic quality of components, IoU above 0.5"
    ),
}

# Columns of cases.csv that are summed, not averaged: lesions found, components made up, lesions missed.
LESION_COUNTS = ("lesion_tp", "lesion_fp", "lesion_fn")
