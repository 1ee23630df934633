"""Marks and boxes of any tool: a LUNA16 submission, `detections.json`, or a folder of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.evaluation.detection.references import DetectionReference, scan_indices
from medseg.metrics.nodule_hits import Points
from medseg.volumes.boxes import box_centres
from medseg.volumes.detections import Detections, Marks, read_detections, read_submission

FILE = "detections.json"


def read_marks(pred: Path) -> tuple[Marks, tuple[str, ...] | None]:
    """The marks of a submission CSV (LPS mm), or the centres of the boxes of `detections.json` files.

    Returns:
        The marks; and the cases that have a file, also one without boxes, or None for a submission.

    Raises:
        DataError: When nothing is there, a file cannot be read, or a row stands there twice.
    """
    if pred.is_file() and pred.suffix.lower() != ".json":
        marks = read_submission(pred, allow_duplicates=True)
        _check_rows(marks, pred)
        return marks, None
    found = read_boxes(pred)
    ids = [detections.case_id for detections in found for _ in range(len(detections))]
    marks = Marks(
        case_id=np.array(ids, dtype=np.str_),
        centre_ras_mm=box_centres(np.concatenate([np.zeros((0, 6)), *(item.box_ras_mm for item in found)])),
        score=np.concatenate([np.zeros(0), *(item.score for item in found)]),
    )
    return marks, tuple(item.case_id for item in found)


def read_boxes(pred: Path) -> list[Detections]:
    """The detections of a file; or of a folder with `<case>/detections.json`, `<case>.json` or one `detections.json`.

    Raises:
        DataError: When there is none, one cannot be read, or two are of one case.
    """
    if pred.is_file() and pred.suffix.lower() != ".json":
        msg = f"{pred}: marks have no size, which boxes need. Give a {FILE} or a folder of them."
        raise DataError(msg)
    files: dict[str, Path] = {}
    found = []
    for path in _files(pred):
        detections = read_detections(path)
        if detections.case_id in files:
            msg = f"{path}: case {detections.case_id} is in {files[detections.case_id]} too. Keep one."
            raise DataError(msg)
        files[detections.case_id] = path
        found.append(detections)
    return found


def points_of(marks: Marks, reference: DetectionReference, *, pred: Path, listed_in: Path) -> tuple[Points, int]:
    """Marks by index of their scan, and how many were left out as they belong to other scans.

    Raises:
        DataError: When a mark belongs to a scan that does not count, and may not be left out.
    """
    place = scan_indices(
        marks.case_id.tolist(), reference.case_ids, subset=reference.subset, what=f"{pred}: mark", listed_in=listed_in
    )
    kept = place >= 0
    points = Points(scan=place[kept], centre_mm=marks.centre_ras_mm[kept], score=marks.score[kept])
    return points, int(np.count_nonzero(~kept))


def missing_files(pred: Path, cases: Sequence[str], found: Sequence[str]) -> tuple[str, ...]:
    """A warning, in a tuple, when scans have no file of detections."""
    without = len(set(cases) - set(found))
    if not without:
        return ()
    return (f"{pred}: no detections of {without} of {len(cases)} scans; they count as scans without any.",)


def same_place(points: Points) -> int:
    """Marks at the place of an earlier one of their scan."""
    places = np.column_stack([points.scan, points.centre_mm])
    return len(places) - len(np.unique(places, axis=0))


def _files(pred: Path) -> Sequence[Path]:
    if pred.is_file():
        return [pred]
    if not pred.is_dir():
        msg = f"{pred}: no such file or folder. Check the path."
        raise DataError(msg)
    files = sorted(pred.rglob(FILE)) or sorted(path for path in pred.glob("*.json") if path.name != "run.json")
    if not files:
        msg = f"{pred}: no {FILE} here, in a folder per case, or as <case>.json. Check the path."
        raise DataError(msg)
    return files


def _check_rows(marks: Marks, pred: Path) -> None:
    """Refuse a row that stands there twice. The same place with another score may be meant: a warning says so."""
    _, number = np.unique(marks.case_id, return_inverse=True)
    rows: npt.NDArray[np.float64] = np.column_stack([number, marks.centre_ras_mm, marks.score])
    _, first, times = np.unique(rows, axis=0, return_index=True, return_counts=True)
    twice = np.sort(first[times > 1])
    if twice.size:
        row = int(twice[0])
        x, y, z = marks.centre_ras_mm[row] * (-1.0, -1.0, 1.0)
        msg = (
            f"{pred}: series {marks.case_id[row]} has the mark ({x:g}, {y:g}, {z:g}) with probability "
            f"{marks.score[row]:g} {times[first == row][0]} times; such marks in all: {twice.size}. Keep one of each."
        )
        raise DataError(msg)
