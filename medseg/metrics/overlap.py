"""Scores read from voxel counts: how much of two masks overlaps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Voxels of one region in a reference and a prediction.

    Attributes:
        both: Voxels in both masks, the true positives.
        prediction_only: False positives.
        reference_only: False negatives.
    """

    both: int
    prediction_only: int
    reference_only: int

    @property
    def reference(self) -> int:
        """Voxels of the reference mask."""
        return self.both + self.reference_only

    @property
    def prediction(self) -> int:
        """Voxels of the predicted mask."""
        return self.both + self.prediction_only


def dice(counts: Counts) -> float:
    """Dice coefficient (Dice 1945, https://doi.org/10.2307/1932409), 0 to 1; 1 when both masks are empty.

    Example:
        >>> dice(Counts(both=2, prediction_only=1, reference_only=1))
        0.6666666666666666
    """
    total = counts.reference + counts.prediction
    return 2 * counts.both / total if total else 1.0


def iou(counts: Counts) -> float:
    """Intersection over union (Jaccard 1912), 0 to 1; 1 when both masks are empty."""
    union = counts.both + counts.prediction_only + counts.reference_only
    return counts.both / union if union else 1.0


def precision(counts: Counts) -> float:
    """Share of the predicted voxels that are right, 0 to 1; without any, 1 if the reference is empty too, else 0."""
    if counts.prediction:
        return counts.both / counts.prediction
    return 0.0 if counts.reference else 1.0


def recall(counts: Counts) -> float:
    """Share of the reference voxels that were found, 0 to 1; without any, 1 if the prediction is empty too, else 0."""
    if counts.reference:
        return counts.both / counts.reference
    return 0.0 if counts.prediction else 1.0


def volume_error_voxels(counts: Counts) -> int:
    """Predicted minus reference volume, voxels: positive where too much was predicted."""
    return counts.prediction - counts.reference
