"""Pictures of what a detector found, hits and false positives apart and the surest first, and what was missed."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.report.markup import absent, number, table, to_float
from medseg.report.run_folder import Row, RunFolder
from medseg.volumes.boxes import box_centres, points_lps_to_ras
from medseg.volumes.detections import Detections, read_detections

# Of each kind. A crop takes some 30 KB, so all of them together about 1 MB.
MOST = 12
# Marks are written with fewer digits than boxes.
_SAME_MM = 0.1

Places = Mapping[str, npt.NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Crop:
    """One detection with its picture.

    Attributes:
        case_id: The scan.
        path: The PNG: axial, coronal and sagittal plane side by side.
        score: How sure the detector is.
        size_mm: Mean side of the box.
        fate: `hit` or `false positive`, or empty where no table of marks tells.
    """

    case_id: str
    path: Path
    score: float
    size_mm: float
    fate: str


def crops(run: RunFolder) -> str:
    """The surest hits and false positives in pictures, and a table of what was missed."""
    found = sorted(_all_crops(run), key=lambda crop: -crop.score)
    parts = [_gallery(title, [crop for crop in found if crop.fate == fate]) for fate, title in _TITLES.items()]
    parts.append(_missed(run.scores.table("nodules.csv")))
    return "\n".join(part for part in parts if part) or absent(
        "There are no pictures of detections. They lie in crops/ in each case's folder of the predictions, where "
        "medseg predict writes them."
    )


def has_crops(run: RunFolder) -> bool:
    """Whether a detector has left pictures in the run folder."""
    return next(_pictures(run.path), None) is not None


_TITLES = {"hit": "Hits", "false positive": "False positives", "": "Detections"}


def _all_crops(run: RunFolder) -> Iterator[Crop]:
    hits = _places(run.scores.table("nodules.csv"), prefix="mark_coord")
    false = _places(run.scores.table("false_positives.csv"), prefix="coord")
    for folder in sorted({path.parent for path in _pictures(run.path)}):
        try:
            detections = read_detections(folder.parent / "detections.json")
        except DataError:
            continue  # pictures of something else
        yield from _crops_of(detections, folder, hits, false)


def _pictures(run: Path) -> Iterator[Path]:
    for root in (run / "predictions", run):
        yield from root.glob("*/crops/[0-9]*.png")


def _crops_of(detections: Detections, folder: Path, hits: Places, false: Places) -> Iterator[Crop]:
    centres = box_centres(detections.box_ras_mm)
    for path in sorted(folder.glob("[0-9]*.png")):
        rank = int(path.stem) - 1 if path.stem.isdigit() else len(detections)
        if rank < len(detections):
            box, case_id = detections.box_ras_mm[rank], detections.case_id
            fate = next(
                (
                    name
                    for name, there in (("hit", hits), ("false positive", false))
                    if _is_in(centres[rank], there, case_id)
                ),
                "",
            )
            size = float(np.mean(box[3:] - box[:3]))
            yield Crop(case_id=case_id, path=path, score=float(detections.score[rank]), size_mm=size, fate=fate)


def _places(rows: Sequence[Row], *, prefix: str) -> Places:
    """Points in RAS mm by scan."""
    by_scan: dict[str, list[list[float]]] = {}
    for row in rows:
        point = [to_float(row.get(f"{prefix}{axis}")) for axis in "XYZ"]
        if all(np.isfinite(point)):
            by_scan.setdefault(row["seriesuid"], []).append(point)
    return {scan: points_lps_to_ras(np.array(points)) for scan, points in by_scan.items()}


def _is_in(point: npt.NDArray[np.float64], places: Places, scan: str) -> bool:
    return scan in places and bool((np.abs(places[scan] - point).max(axis=1) < _SAME_MM).any())


def _gallery(title: str, found: Sequence[Crop]) -> str:
    if not found:
        return ""
    count = f"the {MOST} surest of {len(found)} in pictures" if len(found) > MOST else f"{len(found)} in pictures"
    figures = "".join(map(_figure, found[:MOST]))
    return f'<h3>{title} <small>{count}</small></h3><div class="crops">{figures}</div>'


def _figure(crop: Crop) -> str:
    data = base64.b64encode(crop.path.read_bytes()).decode("ascii")
    said = f"{crop.case_id}, score {crop.score:.2f}, {crop.size_mm:.0f} mm: axial, coronal and sagittal plane"
    return (
        f'<figure><img alt="{escape(said)}" loading="lazy" width="384" height="128" src="data:image/png;base64,{data}">'
        f"<figcaption><b>{crop.score:.2f}</b> {crop.size_mm:.0f} mm "
        f'<span title="{escape(crop.case_id)}">{escape(crop.case_id)}</span></figcaption>'
        f"</figure>"
    )


def _missed(nodules: Sequence[Row]) -> str:
    missed = [row for row in nodules if row.get("state") == "missed"]
    if not missed:
        return ""
    missed.sort(key=lambda row: -to_float(row.get("diameter_mm")))
    rows = [
        [
            escape(row["seriesuid"]),
            number(row.get("diameter_mm"), digits=1),
            *(number(row.get(f"coord{axis}"), digits=1) for axis in "XYZ"),
        ]
        for row in missed[: 2 * MOST]
    ]
    count = f"the {2 * MOST} largest of {len(missed)}" if len(missed) > 2 * MOST else str(len(missed))
    header = ["Scan", "Diameter, mm", "X", "Y", "Z, LPS mm"]
    return f"<h3>Missed <small>{count}</small></h3>{table('Nodules that no mark hit', header, rows)}"
