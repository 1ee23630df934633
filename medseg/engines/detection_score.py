"""Scores of detections in validation: LUNA16's CPM and average precision over the validation's scans."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from ignite.metrics import Metric
from monai.data import MetaTensor

from medseg.engines.distributed import gather_objects
from medseg.engines.scores import check_choice
from medseg.metrics.box_ap import CaseBoxes, average_precision, match_class
from medseg.metrics.froc import froc_curve, froc_entries
from medseg.metrics.nodule_hits import Balls, Points, hit_nodules
from medseg.volumes.boxes import box_centres, box_sizes, boxes_to_world

_log = logging.getLogger(__name__)

Measure = Literal["cpm", "ap"]
_IOU = 0.1  # of the average precision: LUNA16's bundle and nnDetection, not COCO's 0.5


class DetectionScore(Metric):
    """One score over all validation scans, for an evaluator's `key_val_metric` or `additional_metrics`.

    A training-time figure: without exclusions, and with a ball in each box for a nodule. Results come from
    `medseg evaluate`. It is 0 where no scan has a box.

    Args:
        measure: "cpm" (mean sensitivity at 1/8 to 8 false positives per scan), or "ap" (average precision at IoU 0.1,
            mean over the classes).

    Raises:
        ConfigError: there is no such measure.
    """

    def __init__(self, measure: Measure = "cpm") -> None:
        self.measure = check_choice("measure", measure, get_args(Measure))
        self._cases: list[CaseBoxes] = []
        super().__init__()

    def reset(self) -> None:
        """Forget all scans."""
        self._cases = []

    def update(self, output: Sequence[Mapping[str, Any]]) -> None:
        """Take in scans: of each its "image", "pred" (box, score, label) and "label" (box, label), boxes in voxels."""
        self._cases += [_case(item) for item in output]

    def compute(self) -> float:
        """The score, over the scans of all ranks."""
        cases = [case for rank in gather_objects(self._cases) for case in rank]
        if not any(len(case.true_box) for case in cases):
            _log.warning("validation: no scan has a box, so %s cannot be measured and counts as 0.", self.measure)
            return 0.0
        return _cpm(cases) if self.measure == "cpm" else _mean_ap(cases)


def _case(item: Mapping[str, Any]) -> CaseBoxes:
    """One scan with its boxes in the world, RAS mm."""
    image, found, true = item["image"], item["pred"], item["label"]
    affine = image.affine.cpu().numpy() if isinstance(image, MetaTensor) else np.eye(4)
    return CaseBoxes(
        box=boxes_to_world(affine, _array(found["box"])),
        score=_array(found["score"]).astype(np.float64),
        label=_array(found["label"]).astype(np.int64),
        true_box=boxes_to_world(affine, _array(true["box"])),
        true_label=_array(true["label"]).astype(np.int64),
    )


def _array(values: Any) -> npt.NDArray[Any]:
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _cpm(cases: Sequence[CaseBoxes]) -> float:
    marks = Points(
        scan=_scans([case.box for case in cases]),
        centre_mm=box_centres(np.concatenate([case.box for case in cases])),
        score=np.concatenate([case.score for case in cases]),
    )
    boxes = np.concatenate([case.true_box for case in cases])
    nodules = Balls(
        scan=_scans([case.true_box for case in cases]),
        centre_mm=box_centres(boxes),
        diameter_mm=box_sizes(boxes).mean(axis=1),
    )
    nothing = Balls(scan=np.zeros(0, np.int64), centre_mm=np.zeros((0, 3)), diameter_mm=np.zeros(0))
    hits = hit_nodules(marks, nodules, nothing, n_scans=len(cases))
    return froc_curve(froc_entries(marks, nodules, hits, n_scans=len(cases))).cpm


def _scans(boxes: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(len(boxes)), [len(some) for some in boxes])


def _mean_ap(cases: Sequence[CaseBoxes]) -> float:
    classes = np.unique(np.concatenate([case.true_label for case in cases])).tolist()
    found = [average_precision(match_class(cases, label, iou_thresholds=(_IOU,)))[0] for label in classes]
    return float(np.mean(found))
