"""Lesion-wise scores of the regions of a case."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from medseg.metrics.lesion_metrics import LESION_COUNTS, LESION_METRICS
from medseg.metrics.lesionwise import LesionRules, lesion_penalty_mm, score_lesions
from medseg.metrics.panoptic import panoptic_quality
from medseg.metrics.segmentation import Labels, RegionScore


def with_lesions(
    scores: Mapping[str, RegionScore],
    reference: Labels,
    prediction: Labels,
    *,
    regions: Mapping[str, Sequence[int]],
    spacing_mm: tuple[float, float, float],
    rules: LesionRules,
) -> dict[str, RegionScore]:
    """The scores with the lesion-wise ones among their values."""
    found = {}
    for name, score in scores.items():
        masks = [np.isin(labels, list(regions[name])) for labels in (reference, prediction)]
        lesions = score_lesions(masks[0], masks[1], spacing_mm=spacing_mm, rules=rules)
        values = {
            "lesion_dice": lesions.dice,
            "lesion_hd95_mm": lesions.hd95_mm,
            "lesion_f1": lesions.f1,
            "panoptic_quality": panoptic_quality(masks[0], masks[1]).quality,
            "lesion_tp": float(lesions.n_tp),
            "lesion_fp": float(lesions.n_fp),
            "lesion_fn": float(lesions.n_fn),
        }
        if score.state == "missing_prediction":
            values |= _worst(lesion_penalty_mm(reference.shape, rules))
        found[name] = dataclasses.replace(score, values={**score.values, **values})
    return found


def without_lesions(score: RegionScore, *, penalty_mm: float) -> RegionScore:
    """The score of a region that neither map has: perfect, or the worst where there is no prediction."""
    missing = score.state == "missing_prediction"
    values = _worst(penalty_mm) if missing else {name: metric.nothing for name, metric in LESION_METRICS.items()}
    return dataclasses.replace(score, values={**score.values, **values, **dict.fromkeys(LESION_COUNTS, 0.0)})


def _worst(penalty_mm: float) -> dict[str, float]:
    return {name: penalty_mm if metric.worst is None else metric.worst for name, metric in LESION_METRICS.items()}
