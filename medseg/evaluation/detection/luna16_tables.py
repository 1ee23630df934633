"""The tables of a LUNA16 evaluation: every nodule, every false positive, every point of the curve."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from medseg.evaluation.detection.output import csv_text
from medseg.evaluation.detection.references import DetectionReference
from medseg.metrics.froc import FrocCurve
from medseg.metrics.nodule_hits import Fate, NoduleHits, Points
from medseg.volumes.boxes import points_lps_to_ras

# Coordinates are LPS mm, as in the challenge's own tables.
NODULE_COLUMNS = (
    "seriesuid",
    "coordX",
    "coordY",
    "coordZ",
    "diameter_mm",
    "state",
    "n_hits",
    "probability",
    "fp_per_scan",
    "mark_coordX",
    "mark_coordY",
    "mark_coordZ",
    "distance_mm",
)
FALSE_POSITIVE_COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "probability")
CURVE_COLUMNS = ("fp_per_scan", "sensitivity", "threshold")


def nodule_table(reference: DetectionReference, points: Points, hits: NoduleHits, curve: FrocCurve) -> str:
    """A row per nodule: hit or missed, by which mark, and the false positives per scan at that mark's score."""
    return csv_text(NODULE_COLUMNS, _nodule_rows(reference, points, hits, curve))


def _nodule_rows(
    reference: DetectionReference, points: Points, hits: NoduleHits, curve: FrocCurve
) -> Iterator[list[object]]:
    nodules = reference.nodules
    places = points_lps_to_ras(nodules.centre_mm).tolist()
    marked = points_lps_to_ras(points.centre_mm)
    for row, mark in enumerate(hits.best_mark.tolist()):
        head = [reference.case_ids[nodules.scan[row]], *places[row], float(nodules.diameter_mm[row])]
        if mark < 0:
            yield [*head, "missed", 0, *[""] * 6]
            continue
        score = float(points.score[mark])
        at = len(curve.threshold) - int(np.searchsorted(curve.threshold[::-1], score, side="right"))
        distance = float(np.linalg.norm(points.centre_mm[mark] - nodules.centre_mm[row]))
        found = [int(hits.n_hits[row]), score, float(curve.fp_per_scan[at]), *marked[mark].tolist(), distance]
        yield [*head, "hit", *found]


def false_positive_table(reference: DetectionReference, points: Points, hits: NoduleHits) -> str:
    """A row per false positive, highest score first."""
    false = np.flatnonzero(hits.fate == Fate.FALSE_POSITIVE)
    x, y, z = points_lps_to_ras(points.centre_mm[false]).T
    order = np.lexsort((z, y, x, points.scan[false], -points.score[false]))
    columns = (points.scan[false], x, y, z, points.score[false])
    scans, *numbers = (column[order].tolist() for column in columns)
    rows = zip([reference.case_ids[scan] for scan in scans], *numbers, strict=True)
    return csv_text(FALSE_POSITIVE_COLUMNS, rows)


def curve_table(curve: FrocCurve) -> str:
    """A row per corner of the curve: points on a level or upright stretch are left out."""
    kept = _corners(curve.fp_per_scan, curve.sensitivity)
    columns = (curve.fp_per_scan, curve.sensitivity, curve.threshold)
    return csv_text(CURVE_COLUMNS, zip(*(column[kept].tolist() for column in columns), strict=True))


def _corners(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    inner = np.zeros(len(x), dtype=np.bool_)
    for values in (x, y):
        level = np.diff(values) == 0
        inner[1:-1] |= level[:-1] & level[1:]
    return ~inner
