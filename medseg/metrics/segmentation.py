"""All segmentation scores of one case, from two label maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.kernels.confusion import label_confusion
from medseg.metrics.overlap import Counts
from medseg.metrics.surface import SurfaceDefinition, surface_distances
from medseg.metrics.table import METRICS, Comparison, score

Labels = npt.NDArray[np.uint8]
State = Literal["ok", "both_empty", "pred_empty", "ref_empty", "missing_prediction"]


@dataclass(frozen=True, kw_only=True)
class RegionScore:
    """The scores of one region of one case.

    Attributes:
        state: Whether a mask was empty, or the prediction missing.
        values: Every metric of `METRICS` by name, all finite.
        volume_ref_ml: Volume of the reference mask.
        volume_pred_ml: Volume of the predicted mask.
    """

    state: State
    values: dict[str, float]
    volume_ref_ml: float
    volume_pred_ml: float


def score_labels(
    reference: Labels,
    prediction: Labels,
    *,
    regions: Mapping[str, Sequence[int]],
    spacing_mm: tuple[float, float, float],
    tolerance_mm: float = 1.0,
    definition: SurfaceDefinition = "deepmind",
) -> dict[str, RegionScore]:
    """Score every region of a case.

    Overlaps come from one pass over both maps; each surface is measured inside the box of its own region.

    Args:
        reference: Label map `(X, Y, Z)`, uint8.
        prediction: Label map of the same shape.
        regions: Label values that make each region. Regions may overlap.
        spacing_mm: Voxel size along X, Y, Z.
        tolerance_mm: Tolerance of the NSD.
        definition: What a surface element is.

    Returns:
        Scores by region, in the order of `regions`. Where one mask is empty, distances are the image diagonal.

    Raises:
        DataError: When the shapes differ or are not 3D.
    """
    if reference.shape != prediction.shape or reference.ndim != 3:
        msg = f"score_labels: label shapes {reference.shape} and {prediction.shape} must be equal and 3D."
        raise DataError(msg)
    worst_mm = float(np.linalg.norm(np.multiply(reference.shape, spacing_mm)))
    reference, prediction, spacing_mm = _in_memory_order(reference, prediction, spacing_mm)
    confusion, boxes = label_confusion(reference, prediction)
    scores = {}
    for name, values in regions.items():
        crop = _crop(boxes[list(values)])
        lut = np.isin(np.arange(256), list(values))
        comparison = Comparison(
            counts=_region_counts(confusion, lut),
            distances=surface_distances(
                lut[reference[crop]], lut[prediction[crop]], spacing_mm=spacing_mm, definition=definition
            ),
            voxel_volume_ml=float(np.prod(spacing_mm)) / 1000,
            tolerance_mm=tolerance_mm,
        )
        scores[name] = _region_score(comparison, worst_mm=worst_mm)
    return scores


def empty_score() -> RegionScore:
    """The score of a region that neither map of a case has."""
    values = {name: metric.both_empty for name, metric in METRICS.items()}
    return RegionScore(state="both_empty", values=values, volume_ref_ml=0.0, volume_pred_ml=0.0)


def missing_score(*, volume_ref_ml: float, worst_mm: float) -> RegionScore:
    """The score of a region whose case has no prediction: the worst of every metric, also where the reference is empty.

    Args:
        volume_ref_ml: Volume of the reference mask.
        worst_mm: The image diagonal.
    """
    values = {}
    for name, metric in METRICS.items():
        worst = 0.0 - volume_ref_ml if metric.one_empty is None else metric.one_empty
        values[name] = worst if math.isfinite(worst) else worst_mm
    return RegionScore(state="missing_prediction", values=values, volume_ref_ml=volume_ref_ml, volume_pred_ml=0.0)


def _in_memory_order(
    reference: Labels, prediction: Labels, spacing_mm: tuple[float, float, float]
) -> tuple[Labels, Labels, tuple[float, float, float]]:
    # NIfTI arrays are Fortran-ordered; the scores do not care which axis comes first, the memory does.
    if reference.flags.f_contiguous and not reference.flags.c_contiguous:
        reference, prediction, spacing_mm = reference.T, prediction.T, (spacing_mm[2], spacing_mm[1], spacing_mm[0])
    return np.ascontiguousarray(reference), np.ascontiguousarray(prediction), spacing_mm


def _crop(boxes: npt.NDArray[np.int64]) -> tuple[slice, ...]:
    low, high = boxes[:, :3].min(axis=0), boxes[:, 3:].max(axis=0)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _region_counts(confusion: npt.NDArray[np.int64], inside: npt.NDArray[np.bool_]) -> Counts:
    both = int(confusion[np.ix_(inside, inside)].sum())
    return Counts(
        both=both,
        prediction_only=int(confusion[:, inside].sum()) - both,
        reference_only=int(confusion[inside].sum()) - both,
    )


def _region_score(comparison: Comparison, *, worst_mm: float) -> RegionScore:
    counts = comparison.counts
    state: State = "ok"
    if not counts.reference or not counts.prediction:
        state = "pred_empty" if counts.reference else "ref_empty" if counts.prediction else "both_empty"
    return RegionScore(
        state=state,
        values={name: score(metric, comparison, worst_mm=worst_mm) for name, metric in METRICS.items()},
        volume_ref_ml=counts.reference * comparison.voxel_volume_ml,
        volume_pred_ml=counts.prediction * comparison.voxel_volume_ml,
    )
