"""Scoring boxes by COCO's rules in 3D, from files to `summary.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.evaluation.detection.output import make_folder, write_json
from medseg.evaluation.detection.predictions import missing_files, read_boxes
from medseg.evaluation.detection.references import DetectionReference, read_reference, scan_indices
from medseg.metrics.box_ap import (
    IOU_THRESHOLDS,
    MOST_BOXES,
    CaseBoxes,
    average_precision,
    average_recall,
    match_class,
)
from medseg.record import versions
from medseg.volumes.detections import Detections

RULES = {
    "match": "in the order of falling scores each box takes the free true box of its class that it overlaps most, "
    "if their IoU reaches the threshold; else it is a false positive",
    "cap": f"the {MOST_BOXES} boxes of highest score of each class and case count",
    "ap": "precision at 101 recalls from 0 to 1, each the highest at that recall or a greater one",
    "ar": "recall of all boxes that count",
    "map": "mean AP over IoU 0.1 to 0.5 in steps of 0.05 and over the classes that have a true box; mar likewise",
    "reference_boxes": "of annotations.csv: the cube around the nodule, 10 mm where its diameter is negative",
}
SOURCES = (
    "Lin et al. 2014, https://arxiv.org/abs/1405.0312",
    "Baumgartner et al. 2021, https://arxiv.org/abs/2106.00817",
)


@dataclass(frozen=True, kw_only=True)
class Coco3dSummary:
    """An evaluation.

    Attributes:
        ap: AP by class and threshold; only classes that have a true box.
        ar: Recall likewise.
        counts: Cases, true boxes and found boxes.
        warnings: What may be wrong, one line each.
    """

    ap: dict[str, tuple[float, ...]]
    ar: dict[str, tuple[float, ...]]
    counts: dict[str, int]
    warnings: tuple[str, ...]

    @property
    def map(self) -> float:
        """Mean AP over thresholds and classes, 0 to 1."""
        return float(np.mean(list(self.ap.values())))

    @property
    def mar(self) -> float:
        """Mean recall over thresholds and classes, 0 to 1."""
        return float(np.mean(list(self.ar.values())))

    @property
    def ap_at_iou(self) -> dict[str, float]:
        """AP by threshold, mean over the classes."""
        return _by_iou(np.mean(list(self.ap.values()), axis=0).tolist())

    @property
    def ar_at_iou(self) -> dict[str, float]:
        """Recall by threshold, mean over the classes."""
        return _by_iou(np.mean(list(self.ar.values()), axis=0).tolist())

    def to_json(self) -> dict[str, Any]:
        """What stands in summary.json: plain values, every number finite."""
        return {
            "task": "detection",
            "protocol": "coco3d",
            "map": self.map,
            "mar": self.mar,
            "ap_at_iou": self.ap_at_iou,
            "ar_at_iou": self.ar_at_iou,
            "classes": {
                name: {"ap_at_iou": _by_iou(self.ap[name]), "ar_at_iou": _by_iou(self.ar[name])} for name in self.ap
            },
            **self.counts,
            "rules": RULES,
            "sources": list(SOURCES),
            "versions": {name: value for name, value in versions().items() if name in ("python", "medseg", "numpy")},
            "warnings": list(self.warnings),
        }


def evaluate_coco3d(
    pred: str | Path, ref: str | Path, *, out_dir: str | Path, series: str | Path | None = None, subset: bool = False
) -> Coco3dSummary:
    """Score boxes by COCO's rules in 3D and write summary.json.

    Args:
        pred: `detections.json`, or a folder of those.
        ref: `annotations.csv`, or a datalist JSON whose items have `box_ras_mm`.
        out_dir: Where the file goes; made if need be.
        series: `seriesuids.csv`. Without it the scans are the datalist's, or those that occur in any file.
        subset: Leave out boxes of scans that `series` does not list, rather than refuse them.

    Raises:
        DataError: When a file is not what it should be, or there is no true box.
    """
    pred, ref, series = Path(pred), Path(ref), Path(series) if series else None
    found = read_boxes(pred)
    ids = [detections.case_id for detections in found]
    reference = read_reference(ref, series=series, subset=subset, predicted=ids)
    place = scan_indices(
        ids, reference.case_ids, subset=subset, what=f"{pred}: detections", listed_in=series or ref
    ).tolist()
    cases = _case_boxes(reference, {at: item for at, item in zip(place, found, strict=True) if at >= 0}, pred=pred)
    matches = {
        name: match_class(cases, label)
        for label, name in enumerate(reference.label_names)
        if (reference.label == label).any()
    }
    if not matches:
        msg = f"{ref}: no true box in the {len(cases)} scans that count, so there is no recall."
        raise DataError(msg)
    summary = Coco3dSummary(
        ap={name: tuple(average_precision(match).tolist()) for name, match in matches.items()},
        ar={name: tuple(average_recall(match).tolist()) for name, match in matches.items()},
        counts={
            "n_scans": len(cases),
            "n_true": len(reference.box_ras_mm),
            "n_boxes": sum(len(case.box) for case in cases),
            "n_scans_without_file": len(cases) - sum(at >= 0 for at in place),
            "n_files_of_other_scans": sum(at < 0 for at in place),
        },
        warnings=missing_files(pred, reference.case_ids, ids),
    )
    make_folder(Path(out_dir))
    write_json(Path(out_dir) / "summary.json", summary.to_json())
    return summary


def _case_boxes(reference: DetectionReference, found: dict[int, Detections], *, pred: Path) -> list[CaseBoxes]:
    nothing = Detections("", np.zeros((0, 6)), np.zeros(0), np.zeros(0, dtype=np.int64), reference.label_names)
    cases = []
    for number in range(len(reference.case_ids)):
        its, true = found.get(number, nothing), reference.nodules.scan == number
        cases.append(
            CaseBoxes(
                box=its.box_ras_mm,
                score=its.score,
                label=_labels(its, reference.label_names, pred=pred),
                true_box=reference.box_ras_mm[true],
                true_label=reference.label[true],
            )
        )
    return cases


def _labels(found: Detections, names: tuple[str, ...], *, pred: Path) -> npt.NDArray[np.int64]:
    """The labels as indices of the reference's names. Where either side has one class only, that is it."""
    if found.label_names == names or len(found.label_names) == len(names) == 1:
        return found.label
    unknown = [name for name in found.label_names if name not in names]
    if unknown:
        msg = f"{pred}: {found.case_id}: class {unknown[0]!r} is not one of the reference's, {list(names)}. Rename it."
        raise DataError(msg)
    return np.array([names.index(name) for name in found.label_names], dtype=np.int64)[found.label]


def _by_iou(values: Sequence[float]) -> dict[str, float]:
    return {f"{iou:.2f}": value for iou, value in zip(IOU_THRESHOLDS, values, strict=True)}
