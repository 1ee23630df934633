"""Scores of label maps, boxes and marks, and their aggregation. Names load on first use. No torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from medseg.metrics.aggregate import Aggregate, aggregate
from medseg.metrics.overlap import Counts, dice, iou, precision, recall

if TYPE_CHECKING:
    from medseg.metrics.segmentation import RegionScore, score_labels
    from medseg.metrics.surface import (
        SURFACE_DEFINITIONS,
        SurfaceDefinition,
        SurfaceDistances,
        average_distance_mm,
        hausdorff_mm,
        surface_dice,
        surface_distances,
    )
    from medseg.metrics.table import METRICS, Comparison, Metric

__all__ = [
    "METRICS",
    "SURFACE_DEFINITIONS",
    "Aggregate",
    "Comparison",
    "Counts",
    "Metric",
    "RegionScore",
    "SurfaceDefinition",
    "SurfaceDistances",
    "aggregate",
    "average_distance_mm",
    "dice",
    "hausdorff_mm",
    "iou",
    "precision",
    "recall",
    "score_labels",
    "surface_dice",
    "surface_distances",
]

# Compiled kernels and scipy take half a second to import: what does not use them must not wait for them.
_HOMES = {
    "Comparison": "medseg.metrics.table",
    "METRICS": "medseg.metrics.table",
    "Metric": "medseg.metrics.table",
    "RegionScore": "medseg.metrics.segmentation",
    "SURFACE_DEFINITIONS": "medseg.metrics.surface",
    "SurfaceDefinition": "medseg.metrics.surface",
    "SurfaceDistances": "medseg.metrics.surface",
    "average_distance_mm": "medseg.metrics.surface",
    "hausdorff_mm": "medseg.metrics.surface",
    "score_labels": "medseg.metrics.segmentation",
    "surface_dice": "medseg.metrics.surface",
    "surface_distances": "medseg.metrics.surface",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES[name]), name)
