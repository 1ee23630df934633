"""The result of an evaluation, and the two files that hold it."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from medseg.errors import DataError
from medseg.evaluation.calibration import Calibration
from medseg.evaluation.cases import CaseScore
from medseg.labels import Declared
from medseg.metrics.aggregate import RESAMPLES, Aggregate, aggregate
from medseg.metrics.lesion_metrics import LESION_COUNTS, LESION_METRICS
from medseg.metrics.lesionwise import get_lesion_rules
from medseg.metrics.surface import SURFACE_DEFINITIONS, SurfaceDefinition
from medseg.metrics.table import METRICS
from medseg.volumes.files import atomic_path

COLUMNS = (
    "case_id",
    "region",
    "dice",
    "iou",
    "hd95_mm",
    "nsd",
    "assd_mm",
    "volume_error_ml",
    "volume_ref_ml",
    "volume_pred_ml",
    "precision",
    "recall",
    "state",
)

RULES = {
    "both_empty": "neither mask has a voxel: shares 1, distances 0 mm, volume error 0 ml",
    "one_empty": "only one mask has voxels: shares 0, distances the image diagonal in mm (n_x s_x, n_y s_y, n_z s_z), "
    "volume error by its formula",
    "missing_prediction": "scored as the worst of every metric in every region, also where the reference is empty",
    "failed": "a case whose files cannot be read or compared has no score; it is listed, and the exit code is 2",
    "unmatched_prediction": "a prediction without a reference has no score; it is listed, and the exit code is 2",
    "mean": "the mean over regions, case by case, then over cases",
    "sd": "sample standard deviation (n - 1) over cases; null for a single case",
    "ci95": f"percentile bootstrap of the mean over cases, {RESAMPLES} resamples, seed 0",
    "volume_error_ml": "signed: predicted minus reference",
}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """An evaluation.

    Attributes:
        cases: The scored cases, sorted by id.
        region_names: Regions, in order.
        regions: By region and metric, the aggregate over cases.
        mean: By metric, the aggregate of each case's mean over regions.
        label_convention: The convention that names the regions; None when each label value is one.
        surface_definition: What a surface element is.
        tolerance_mm: Tolerance of the NSD.
        missing_predictions: Cases without a prediction; they are scored.
        failed: By case, why it could not be scored.
        unmatched_predictions: By case id, predictions that have no reference.
        lesion_rules: Rules by which lesions were scored too, None where they were not.
        calibration: Calibration of probabilities, None where none were given.
    """

    cases: tuple[CaseScore, ...]
    region_names: tuple[str, ...]
    regions: dict[str, dict[str, Aggregate]]
    mean: dict[str, Aggregate]
    label_convention: Declared | None
    surface_definition: SurfaceDefinition
    tolerance_mm: float
    missing_predictions: tuple[str, ...]
    failed: dict[str, str]
    unmatched_predictions: dict[str, str]
    lesion_rules: str | None = None
    calibration: Calibration | None = None

    @property
    def errors(self) -> tuple[str, ...]:
        """One line for each thing that could not be scored."""
        unmatched = (
            f"{path}: no reference for case {case}. Add its reference or take the prediction away."
            for case, path in self.unmatched_predictions.items()
        )
        return (*self.failed.values(), *unmatched)

    def _extras(self) -> dict[str, Any]:
        """What only some evaluations have."""
        extras: dict[str, Any] = {}
        if self.lesion_rules:
            counts = {
                region: {
                    name: int(sum(case.region(region).values[name] for case in self.cases)) for name in LESION_COUNTS
                }
                for region in self.region_names
            }
            rules = dataclasses.asdict(get_lesion_rules(self.lesion_rules))
            extras["lesion_wise"] = {"rules": self.lesion_rules, **rules, "counts": counts}
        if self.calibration:
            extras["calibration"] = self.calibration.to_json()
        return extras

    def to_json(self) -> dict[str, Any]:
        """What stands in summary.json: plain values, every number finite."""
        return {
            "task": "segmentation",
            "n_cases": len(self.cases),
            "label_convention": dict(told) if isinstance(told := self.label_convention, Mapping) else told,
            "surface_definition": self.surface_definition,
            "surface_definition_meaning": SURFACE_DEFINITIONS[self.surface_definition],
            "tolerance_mm": self.tolerance_mm,
            "regions": {name: _plain(scores) for name, scores in self.regions.items()},
            "mean": _plain(self.mean),
            "metrics": {
                name: {"unit": metric.unit, "better": metric.better, "meaning": metric.meaning}
                for name, metric in (METRICS | (LESION_METRICS if self.lesion_rules else {})).items()
            },
            **self._extras(),
            "rules": RULES,
            "missing_predictions": list(self.missing_predictions),
            "failed": self.failed,
            "unmatched_predictions": self.unmatched_predictions,
        }


def metric_names(lesion_rules: str | None) -> tuple[str, ...]:
    """The metrics of an evaluation, with the lesion-wise ones where there are rules for them."""
    return (*METRICS, *(LESION_METRICS if lesion_rules else ()))


def _plain(scores: dict[str, Aggregate]) -> dict[str, dict[str, Any]]:
    return {name: {**dataclasses.asdict(score), "ci95": list(score.ci95)} for name, score in scores.items()}


def aggregate_cases(
    cases: tuple[CaseScore, ...], region_names: tuple[str, ...], *, metrics: Sequence[str] = tuple(METRICS)
) -> tuple[dict[str, dict[str, Aggregate]], dict[str, Aggregate]]:
    """Aggregates by region and metric, and by metric over each case's mean of regions."""
    regions = {
        region: {name: aggregate([case.region(region).values[name] for case in cases]) for name in metrics}
        for region in region_names
    }
    mean = {
        name: aggregate(
            [sum(case.region(region).values[name] for region in region_names) / len(region_names) for case in cases]
        )
        for name in metrics
    }
    return regions, mean


def write_summary(summary: Summary, out_dir: Path) -> None:
    """Write cases.csv and summary.json, each whole or not at all.

    Raises:
        DataError: When the folder or disk refuses.
    """

    def write_cases(file: TextIO) -> None:
        writer = csv.writer(file, lineterminator="\n")
        columns = COLUMNS + ((*LESION_METRICS, *LESION_COUNTS) if summary.lesion_rules else ())
        writer.writerow(columns)
        writer.writerows(_row(case, region, columns) for case in summary.cases for region in summary.region_names)

    def write_json(file: TextIO) -> None:
        json.dump(summary.to_json(), file, indent=2, allow_nan=False)
        file.write("\n")

    _write_text(out_dir / "cases.csv", write_cases)
    _write_text(out_dir / "summary.json", write_json)


def write_references(references: Mapping[str, Path], out_dir: Path) -> None:
    """Write references.json, where each case's reference lies on this machine, for the report's pictures.

    Raises:
        DataError: When the folder or disk refuses.
    """

    def write_json(file: TextIO) -> None:
        json.dump({case: str(path.absolute()) for case, path in references.items()}, file, indent=2)
        file.write("\n")

    _write_text(out_dir / "references.json", write_json)


def _row(case: CaseScore, region: str, columns: Sequence[str]) -> list[str | float]:
    score = case.region(region)
    cells: dict[str, str | float] = {
        "case_id": case.case_id,
        "region": region,
        "volume_ref_ml": score.volume_ref_ml,
        "volume_pred_ml": score.volume_pred_ml,
        "state": score.state,
        **score.values,
    }
    return [cells[column] for column in columns]


def _write_text(path: Path, write: Callable[[TextIO], None]) -> None:
    try:
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            write(file)
    except OSError as error:
        msg = f"{path}: could not be written ({error.strerror or error}). Free space or choose another folder with -o."
        raise DataError(msg) from error
