"""What there is to find: LUNA16's annotations or a datalist with boxes, and the scans that count."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.metrics.nodule_hits import Balls
from medseg.volumes.boxes import Boxes, box_centres, box_sizes, boxes_from_centres, check_boxes, points_lps_to_ras
from medseg.volumes.files import volume_stem
from medseg.volumes.luna16_csv import Finding, read_annotations, read_series

_ONE_CLASS = ("nodule",)


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectionReference:
    """The truth of a set of scans, in RAS mm.

    Attributes:
        case_ids: The scans that count, in order, each once; for LUNA16 series UIDs.
        nodules: Every finding as a ball; of a box, its centre and the mean of its sides.
        box_ras_mm: Every finding as a box `(M, 6)`; of an annotation, the cube around the ball.
        label: Class of each finding `(M,)`.
        label_names: Name of each class.
        excluded: Findings whose marks count for nothing.
        subset: Whether findings and marks of other scans are left out, rather than refused.
        listed: Whether somebody said which scans there are. Otherwise they are those that occur.
        n_left_out: Findings left out as they belong to other scans.
    """

    case_ids: tuple[str, ...]
    nodules: Balls
    box_ras_mm: Boxes
    label: npt.NDArray[np.int64]
    label_names: tuple[str, ...]
    excluded: Balls
    subset: bool
    listed: bool
    n_left_out: int


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Findings of a file, before the scans are known."""

    case_id: list[str]
    nodules: Balls
    box_ras_mm: Boxes
    label: npt.NDArray[np.int64]
    label_names: tuple[str, ...]
    scans: tuple[str, ...] | None  # where the file lists them


def read_reference(
    ref: Path,
    *,
    exclude: Path | None = None,
    series: Path | None = None,
    subset: bool = False,
    predicted: Iterable[str] = (),
) -> DetectionReference:
    """Read the truth and settle which scans count.

    Args:
        ref: `annotations.csv` (LPS mm), or a datalist JSON whose items have `box_ras_mm`.
        exclude: `annotations_excluded.csv`.
        series: `seriesuids.csv`: the scans that count. None takes the datalist's, else those that occur in any file.
        subset: Whether what belongs to other scans is left out. It is an error otherwise.
        predicted: Case ids of the predictions, for when nobody lists the scans.

    Raises:
        DataError: When a file cannot be read, or a finding belongs to a scan that does not count.
    """
    rows = _datalist_rows(ref) if ref.suffix.lower() == ".json" else _annotation_rows(ref)
    dropped = read_annotations(exclude) if exclude else []
    excluded_ids = [finding.series_uid for finding in dropped]
    listed = tuple(read_series(series)) if series else rows.scans
    cases = listed if listed is not None else tuple(dict.fromkeys([*rows.case_id, *excluded_ids, *predicted]))
    where = series or ref
    place = scan_indices(rows.case_id, cases, subset=subset, what=f"{ref}: annotation", listed_in=where)
    out = scan_indices(excluded_ids, cases, subset=subset, what=f"{exclude}: finding", listed_in=where)
    return DetectionReference(
        case_ids=cases,
        nodules=_placed(rows.nodules, place),
        box_ras_mm=rows.box_ras_mm[place >= 0],
        label=rows.label[place >= 0],
        label_names=rows.label_names,
        excluded=_placed(_balls(dropped), out),
        subset=subset,
        listed=listed is not None,
        n_left_out=int(np.count_nonzero(place < 0)),
    )


def scan_indices(
    ids: Sequence[str], cases: Sequence[str], *, subset: bool, what: str, listed_in: Path
) -> npt.NDArray[np.int64]:
    """The index in `cases` of each id, -1 for one that is not there.

    Args:
        ids: Case ids.
        cases: Known cases.
        subset: Whether unknown ids are allowed.
        what: File and kind of row, for the error.
        listed_in: Where the cases come from, for the error.

    Raises:
        DataError: With the first unknown id, unless they are allowed.
    """
    index = {case: number for number, case in enumerate(cases)}
    found = np.array([index.get(name, -1) for name in ids], dtype=np.int64)
    unknown = np.flatnonzero(found < 0)
    if unknown.size and not subset:
        msg = (
            f"{what} of series {ids[unknown[0]]}, which is not among the {len(cases)} scans of {listed_in} "
            f"({unknown.size} such rows). Mend the id, or leave other scans out with --subset."
        )
        raise DataError(msg)
    return found


def _placed(balls: Balls, place: npt.NDArray[np.int64]) -> Balls:
    kept = place >= 0
    return Balls(scan=place[kept], centre_mm=balls.centre_mm[kept], diameter_mm=balls.diameter_mm[kept])


def _balls(findings: Sequence[Finding]) -> Balls:
    return Balls(
        scan=np.full(len(findings), -1, dtype=np.int64),
        centre_mm=points_lps_to_ras([finding.center_lps_mm for finding in findings]),
        diameter_mm=np.array([finding.diameter_mm for finding in findings], dtype=np.float64),
    )


def _annotation_rows(ref: Path) -> _Rows:
    findings = read_annotations(ref)
    for finding in findings:
        if finding.diameter_mm == 0:
            x, y, z = finding.center_lps_mm
            msg = (
                f"{ref}: the nodule of series {finding.series_uid} at ({x:g}, {y:g}, {z:g}) has diameter 0 mm, so no "
                f"mark can hit it. Give its diameter; a negative one stands for 10 mm."
            )
            raise DataError(msg)
    nodules = _balls(findings)
    twice = [row for row, times in Counter(findings).items() if times > 1]
    if twice:
        x, y, z = twice[0].center_lps_mm
        msg = f"{ref}: series {twice[0].series_uid} has the nodule at ({x:g}, {y:g}, {z:g}) twice. Remove one."
        raise DataError(msg)
    return _Rows(
        case_id=[finding.series_uid for finding in findings],
        nodules=nodules,
        box_ras_mm=boxes_from_centres(nodules.centre_mm, 2 * np.sqrt(nodules.squared_radius_mm2)),
        label=np.zeros(len(findings), dtype=np.int64),
        label_names=_ONE_CLASS,
        scans=None,
    )


def _datalist_rows(ref: Path) -> _Rows:
    content = _datalist(ref)
    names = tuple(map(str, content.get("label_names") or _ONE_CLASS))
    scans, ids, boxes, labels = [], [], [np.zeros((0, 6))], [np.zeros(0, dtype=np.int64)]
    for item in _items(content, ref):
        case = str(item.get("case_id") or volume_stem(item["image"]))
        where = f"{ref}: {case}"
        its_boxes = check_boxes(_floats(item["box_ras_mm"], where), where=where)
        scans.append(case)
        ids.extend([case] * len(its_boxes))
        boxes.append(its_boxes)
        labels.append(_labels(item.get("box_label", item.get("label")), its_boxes, names, where))
    if len(set(scans)) < len(scans):
        case = Counter(scans).most_common(1)[0][0]
        msg = f"{ref}: case {case} stands in it twice. Keep one entry, or split the datalist."
        raise DataError(msg)
    box = np.concatenate(boxes)
    nodules = Balls(
        scan=np.full(len(box), -1, dtype=np.int64), centre_mm=box_centres(box), diameter_mm=box_sizes(box).mean(axis=1)
    )
    return _Rows(
        case_id=ids,
        nodules=nodules,
        box_ras_mm=box,
        label=np.concatenate(labels),
        label_names=names,
        scans=tuple(scans),
    )


def _datalist(ref: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(ref.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{ref}: not a readable datalist ({getattr(error, 'strerror', None) or error}). Check the path."
        raise DataError(msg) from error
    return content if isinstance(content, dict) else {}


def _items(content: Mapping[str, Any], ref: Path) -> list[Mapping[str, Any]]:
    """The entries with boxes, of every list of the datalist."""
    lists = [value for value in content.values() if isinstance(value, list)]
    entries: list[Mapping[str, Any]] = [
        entry for listed in lists for entry in listed if isinstance(entry, dict) and "box_ras_mm" in entry
    ]
    nameless = [entry for entry in entries if not (entry.get("case_id") or isinstance(entry.get("image"), str))]
    if not entries or nameless:
        msg = (
            f'{ref}: no entries like {{"case_id": ..., "box_ras_mm": [[x0, y0, z0, x1, y1, z1], ...]}}. '
            f"Add boxes and a case_id to each entry ([] where there is no nodule)."
        )
        raise DataError(msg)
    return entries


def _floats(values: Any, where: str) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{where}: box_ras_mm is no list of six numbers per box. Mend the datalist."
        raise DataError(msg) from error


def _labels(given: Any, boxes: Boxes, names: tuple[str, ...], where: str) -> npt.NDArray[np.int64]:
    # A path is a label map, and says nothing about the classes of boxes.
    if given is None or isinstance(given, str):
        return np.zeros(len(boxes), dtype=np.int64)
    labels = np.asarray(given)
    numbers = labels.astype(np.int64) if labels.dtype.kind in "iu" or not labels.size else None
    if numbers is None or numbers.shape != (len(boxes),) or (numbers.size and numbers.min() < 0):
        msg = f"{where}: box_label is {given!r:.60}. Wanted one class index from 0 per box, {len(boxes)} in all."
        raise DataError(msg)
    if numbers.size and numbers.max() >= len(names):
        msg = f"{where}: class {numbers.max()}, but label_names has {len(names)}. Name the classes in the datalist."
        raise DataError(msg)
    return numbers
