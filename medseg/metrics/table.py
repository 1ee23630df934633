"""The table of segmentation metrics: what each one is called, measures in, and does with empty masks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from medseg.metrics import overlap, surface
from medseg.metrics.overlap import Counts
from medseg.metrics.surface import SurfaceDistances


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One region of one case, measured: all that a metric may look at.

    Attributes:
        counts: Voxel counts.
        distances: Surface distances.
        voxel_volume_ml: Volume of a voxel.
        tolerance_mm: Tolerance of the NSD.
    """

    counts: Counts
    distances: SurfaceDistances
    voxel_volume_ml: float
    tolerance_mm: float


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One score of a region.

    Attributes:
        fn: From a comparison to the score. Never called when a mask is empty and a rule below has a number.
        unit: `""` for a share, else the unit.
        better: Which way is good; `zero` for a signed error.
        both_empty: Score when neither mask has a voxel.
        one_empty: Score when only one has: the worst there is. `inf` becomes the image diagonal where scores are
            averaged; None where the formula itself holds.
        meaning: One line for a reader.
    """

    fn: Callable[[Comparison], float]
    unit: Literal["", "mm", "ml"]
    better: Literal["higher", "lower", "zero"]
    both_empty: float
    one_empty: float | None
    meaning: str


METRICS: dict[str, Metric] = {
    "dice": Metric(
        fn=lambda c: overlap.dice(c.counts),
        unit="",
        better="higher",
        both_empty=1.0,
        one_empty=0.0,
        meaning="Dice coefficient",
    ),
    "iou": Metric(
        fn=lambda c: overlap.iou(c.counts),
        unit="",
        better="higher",
        both_empty=1.0,
        one_empty=0.0,
        meaning="intersection over union",
    ),
    "hd95_mm": Metric(
        fn=lambda c: surface.hausdorff_mm(c.distances, percentile=95),
        unit="mm",
        better="lower",
        both_empty=0.0,
        one_empty=math.inf,
        meaning="95th percentile Hausdorff distance, the worse direction",
    ),
    "nsd": Metric(
        fn=lambda c: surface.surface_dice(c.distances, tolerance_mm=c.tolerance_mm),
        unit="",
        better="higher",
        both_empty=1.0,
        one_empty=0.0,
        meaning="normalised surface Dice at the tolerance",
    ),
    "assd_mm": Metric(
        fn=lambda c: surface.average_distance_mm(c.distances),
        unit="mm",
        better="lower",
        both_empty=0.0,
        one_empty=math.inf,
        meaning="average symmetric surface distance",
    ),
    "volume_error_ml": Metric(
        fn=lambda c: overlap.volume_error_voxels(c.counts) * c.voxel_volume_ml,
        unit="ml",
        better="zero",
        both_empty=0.0,
        one_empty=None,
        meaning="predicted minus reference volume",
    ),
    "precision": Metric(
        fn=lambda c: overlap.precision(c.counts),
        unit="",
        better="higher",
        both_empty=1.0,
        one_empty=0.0,
        meaning="share of the predicted voxels that are right",
    ),
    "recall": Metric(
        fn=lambda c: overlap.recall(c.counts),
        unit="",
        better="higher",
        both_empty=1.0,
        one_empty=0.0,
        meaning="share of the reference voxels that were found",
    ),
}


def score(metric: Metric, comparison: Comparison, *, worst_mm: float) -> float:
    """One metric of one comparison, by the metric's rule where a mask is empty. Always finite.

    Args:
        metric: A row of `METRICS`.
        comparison: The measured region.
        worst_mm: What stands for an infinite distance, the image diagonal.
    """
    counts = comparison.counts
    if not counts.reference and not counts.prediction:
        return metric.both_empty
    if metric.one_empty is not None and (not counts.reference or not counts.prediction):
        return metric.one_empty if math.isfinite(metric.one_empty) else worst_mm
    return float(metric.fn(comparison))
