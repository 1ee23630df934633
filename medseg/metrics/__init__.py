"""Segmentation scores: voxel overlap, surface distances, and their aggregation. No torch."""

from medseg.metrics.aggregate import Aggregate, aggregate
from medseg.metrics.overlap import Counts, dice, iou, precision, recall
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
