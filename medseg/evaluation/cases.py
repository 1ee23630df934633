"""Scoring one case: two files in, the scores of its regions out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medseg.errors import DataError
from medseg.evaluation.label_files import check_pair, pack_labels, read_labels
from medseg.evaluation.lesions import with_lesions, without_lesions
from medseg.kernels.confusion import labels_present
from medseg.labels import LabelConvention
from medseg.metrics.lesionwise import LesionRules, lesion_penalty_mm
from medseg.metrics.segmentation import (
    RegionScore,
    empty_score,
    missing_score,
    score_labels,
)
from medseg.metrics.surface import SurfaceDefinition


@dataclass(frozen=True, kw_only=True)
class CaseScore:
    """The scores of one case.

    Attributes:
        case_id: Its name.
        regions: Scores by region. Without a convention only label values that occur in the case are here.
        missing: Whether there was no prediction.
        worst_mm: The image diagonal, which stands for an infinite distance.
        lesion_penalty_mm: HD95 of a missed lesion; None where lesions are not scored.
    """

    case_id: str
    regions: dict[str, RegionScore]
    missing: bool
    worst_mm: float
    lesion_penalty_mm: float | None = None

    def region(self, name: str) -> RegionScore:
        """The scores of a region, also of one that the case does not have."""
        if name in self.regions:
            return self.regions[name]
        score = missing_score(volume_ref_ml=0.0, worst_mm=self.worst_mm) if self.missing else empty_score()
        if self.lesion_penalty_mm is None:
            return score
        return without_lesions(score, penalty_mm=self.lesion_penalty_mm)


def score_case(
    case_id: str,
    reference_path: Path,
    prediction_path: Path | None,
    *,
    convention: LabelConvention | None,
    tolerance_mm: float,
    definition: SurfaceDefinition,
    lesion_rules: LesionRules | None = None,
) -> CaseScore:
    """Read, check and score one case; lesion by lesion too where there are rules for it.

    Raises:
        DataError: When a file is unreadable or no label map, the grids differ, or a value is outside the convention.
    """
    reference = read_labels(reference_path, case_id=case_id)
    prediction = read_labels(prediction_path, case_id=case_id) if prediction_path else None
    if prediction is not None:
        check_pair(reference, prediction, case_id=case_id)
    theirs = prediction.array if prediction is not None else np.zeros_like(reference.array)
    packed_reference, packed_prediction, values = pack_labels(reference.array, theirs, case_id=case_id)
    present = [labels_present(labels) for labels in (packed_reference, packed_prediction)]
    for numbers, path in zip(present, (reference_path, prediction_path), strict=True):
        _check_values({values[number] for number in numbers}, convention, where=f"{case_id}: {path}")
    regions = _packed_regions(convention, values, present[0] | present[1])
    scores = score_labels(
        packed_reference,
        packed_prediction,
        regions=regions,
        spacing_mm=reference.spacing_mm,
        tolerance_mm=tolerance_mm,
        definition=definition,
    )
    worst_mm = float(np.linalg.norm(np.multiply(reference.shape, reference.spacing_mm)))
    if prediction is None:
        scores = {
            name: missing_score(volume_ref_ml=score.volume_ref_ml, worst_mm=worst_mm) for name, score in scores.items()
        }
    if lesion_rules is not None:
        scores = with_lesions(
            scores,
            packed_reference,
            packed_prediction,
            regions=regions,
            spacing_mm=reference.spacing_mm,
            rules=lesion_rules,
        )
    return CaseScore(
        case_id=case_id,
        regions=scores,
        missing=prediction is None,
        worst_mm=worst_mm,
        lesion_penalty_mm=lesion_penalty_mm(reference.shape, lesion_rules) if lesion_rules else None,
    )


def _check_values(values: set[int], convention: LabelConvention | None, *, where: str) -> None:
    stray = sorted(values - set(convention.values)) if convention else []
    if convention and stray:
        msg = (
            f"{where}: label values {stray} are outside the convention, which has {[0, *convention.values]}. "
            f"Choose the --regions that fit the files, or mend the labels."
        )
        raise DataError(msg)


def _packed_regions(
    convention: LabelConvention | None, values: list[int], present: set[int]
) -> Mapping[str, list[int]]:
    if convention is None:
        return {str(values[number]): [number] for number in sorted(present)}
    wanted = convention.regions.items()
    return {name: [number for number, value in enumerate(values) if value in inside] for name, inside in wanted}
