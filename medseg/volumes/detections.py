"""Detections of a case, and the two files they live in: `detections.json` (RAS mm) and LUNA16's submission (LPS mm)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from medseg import __version__
from medseg.errors import DataError
from medseg.record import write_text_atomically
from medseg.volumes.boxes import BOX_ORDER, Boxes, box_centres, check_boxes, points_lps_to_ras
from medseg.volumes.csv_columns import finite_numbers, read_columns

FORMAT = "medseg.detections"
FORMAT_VERSION = 1
# https://luna16.grand-challenge.org/Evaluation/
SUBMISSION_COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "probability")


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found in one case.

    Attributes:
        case_id: The case; LUNA16's series UID.
        box_ras_mm: Corners `(N, 6)`, x0, y0, z0, x1, y1, z1, float64, RAS mm.
        score: How sure `(N,)`, float64; higher is surer, finite, of any range.
        label: Class of each box `(N,)`, int64, an index of `label_names`.
        label_names: Name of each class.
    """

    case_id: str
    box_ras_mm: Boxes
    score: npt.NDArray[np.float64]
    label: npt.NDArray[np.int64]
    label_names: tuple[str, ...] = ("nodule",)

    def __len__(self) -> int:
        return len(self.box_ras_mm)


@dataclass(frozen=True, eq=False)
class Marks:
    """Points with scores, as LUNA16's submissions hold them, one row each, in the file's order.

    Attributes:
        case_id: Series UID of each mark `(N,)`, str.
        centre_ras_mm: Where `(N, 3)`, float64, RAS mm.
        score: Probability `(N,)`, float64.
    """

    case_id: npt.NDArray[np.str_]
    centre_ras_mm: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.score)


def make_detections(
    case_id: str,
    box_ras_mm: npt.ArrayLike,
    score: npt.ArrayLike,
    label: npt.ArrayLike | None = None,
    *,
    label_names: Sequence[str] = ("nodule",),
    where: str | None = None,
) -> Detections:
    """Checked detections, in the types that `Detections` states.

    Args:
        case_id: The case.
        box_ras_mm: Corners `(N, 6)`, or nothing.
        score: Scores `(N,)`.
        label: Classes `(N,)`; None makes all 0.
        label_names: Name of each class.
        where: Named in errors; the case when None.

    Raises:
        DataError: When the counts differ, a score is not finite, a box is not valid, a class has no name, or the same
            box of the same class comes twice.
    """
    where = where or str(case_id)
    boxes = check_boxes(box_ras_mm, where=where)
    scores = np.asarray(score, dtype=np.float64).reshape(-1)
    labels = np.zeros(len(boxes), np.int64) if label is None else _as_labels(label, where)
    if not len(boxes) == len(scores) == len(labels):
        msg = f"{where}: {len(boxes)} boxes, {len(scores)} scores, {len(labels)} labels. Wanted one of each per box."
        raise DataError(msg)
    _check_scores(scores, where)
    if labels.size and not 0 <= labels.min() <= labels.max() < len(label_names):
        msg = f"{where}: labels {labels.min()} to {labels.max()}, but the classes are {list(label_names)}. Name them."
        raise DataError(msg)
    _check_unique(np.column_stack([boxes, labels]), where)
    return Detections(str(case_id), boxes, scores, labels, tuple(label_names))


def write_detections(path: str | Path, detections: Detections) -> Path:
    """Write `detections.json`, highest score first, whole or not at all. Folders are made.

    Raises:
        DataError: As in `make_detections`, or when the disk refuses.
    """
    path = Path(path)
    found = make_detections(
        detections.case_id,
        detections.box_ras_mm,
        detections.score,
        detections.label,
        label_names=detections.label_names,
        where=f"{path.name} of {detections.case_id}",
    )
    rows = [
        json.dumps({"box_ras_mm": box, "score": score, "label": label})
        for box, score, label in zip(found.box_ras_mm.tolist(), found.score.tolist(), found.label.tolist(), strict=True)
    ]
    ranked = [rows[index] for index in np.argsort(-found.score, kind="stable").tolist()]
    head = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "medseg_version": __version__,
        "case_id": found.case_id,
        "frame": "RAS",
        "unit": "mm",
        "box_order": BOX_ORDER,
        "label_names": list(found.label_names),
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    body = "[\n    " + ",\n    ".join(ranked) + "\n  ]" if ranked else "[]"
    write_text_atomically(path, "\n".join(["{", *lines, f'  "detections": {body}', "}"]) + "\n")
    return path


def read_detections(path: str | Path) -> Detections:
    """Read `detections.json`.

    Raises:
        DataError: When the file is missing, no such JSON, in another frame, unit or box order, or as in
            `make_detections`.
    """
    path = Path(path)
    content = _read_json(path)
    stated = {"format": FORMAT, "frame": "RAS", "unit": "mm", "box_order": BOX_ORDER}
    for key, wanted in stated.items():
        if content.get(key) != wanted:
            msg = f"{path}: {key} is {content.get(key)!r}, wanted {wanted!r}. Convert the file, or write it by medseg."
            raise DataError(msg)
    if content.get("format_version") != FORMAT_VERSION:
        got = content.get("format_version")
        msg = f"{path}: format_version {got!r}, this medseg reads {FORMAT_VERSION}. Use the medseg that wrote it."
        raise DataError(msg)
    try:
        rows = content["detections"]
        columns = [[row[key] for row in rows] for key in ("box_ras_mm", "score", "label")]
        names, case_id = tuple(map(str, content["label_names"])), str(content["case_id"])
        boxes, scores, labels = (np.array(column, dtype=np.float64) for column in columns)
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{path}: a detection lacks its box_ras_mm, score or label, or one is no number ({error}). Mend the file."
        raise DataError(msg) from error
    return make_detections(case_id, boxes, scores, labels, label_names=names, where=str(path))


def write_submission(path: str | Path, detections: Iterable[Detections]) -> Path:
    """Write LUNA16's submission: one row per box, its centre in LPS mm; cases in the order given, highest score first.

    Of boxes with the same centre only the surest becomes a mark. Numbers are written so that reading gives the same
    float64 again.

    Raises:
        DataError: When two cases share an id, a score or a box cannot be, or the disk refuses.
    """
    path, seen = Path(path), set()
    parts = [",".join(SUBMISSION_COLUMNS) + "\n"]
    for found in detections:
        if found.case_id in seen:
            msg = f"{path.name}: case {found.case_id} comes twice. Give each case once."
            raise DataError(msg)
        seen.add(found.case_id)
        parts.append(_submission_text(found, where=path.name))
    write_text_atomically(path, "".join(parts))
    return path


def update_submission(path: str | Path, detections: Detections) -> Path:
    """Put one case's marks into a submission in place of those it had; other cases' rows stay as they are.

    Several processes may do so at once. The file is made when it is absent.

    Raises:
        DataError: When the file that is there is no submission, or as in `write_submission`.
    """
    path, head = Path(path), ",".join(SUBMISSION_COLUMNS) + "\n"
    rows = _submission_text(detections, where=path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else [head]
        if lines[:1] != [head]:
            msg = f"{path}: is there and no submission of medseg ({head.strip()}). Move it, or choose another folder."
            raise DataError(msg)
        others = [line for line in lines[1:] if _series_of(line) != detections.case_id]
        write_text_atomically(path, "".join([head, *others, rows]))
    return path


def _series_of(line: str) -> str:
    return next(csv.reader([line]))[0] if line.startswith('"') else line.partition(",")[0]


def _submission_text(found: Detections, *, where: str) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerows([found.case_id, *map(repr, row)] for row in _submission_rows(found, where=where))
    return text.getvalue()


def _submission_rows(found: Detections, *, where: str) -> list[list[float]]:
    """Centre in LPS mm and score of each mark, highest score first."""
    where = f"{where}: {found.case_id}"
    _check_scores(found.score, where)
    centres = points_lps_to_ras(box_centres(check_boxes(found.box_ras_mm, where=where)))
    ranked = np.column_stack([centres, found.score])[np.argsort(-found.score, kind="stable")]
    _, first = np.unique(ranked[:, :3], axis=0, return_index=True)
    rows: list[list[float]] = ranked[np.sort(first)].tolist()
    return rows


def read_submission(path: str | Path, *, allow_duplicates: bool = False) -> Marks:
    """Read LUNA16's submission CSV: `seriesuid, coordX, coordY, coordZ, probability`, LPS mm.

    Columns go by their names, in any order; others are left out. A file with a header only has no marks.

    Args:
        path: The file.
        allow_duplicates: Whether a series may have two marks at the same place.

    Raises:
        DataError: When the file is missing, a column is, a value is no finite number, or a mark comes twice.
    """
    path = Path(path)
    lines, columns = read_columns(path, SUBMISSION_COLUMNS)
    numbers = finite_numbers(path, lines, columns[1:], SUBMISSION_COLUMNS[1:])
    uids = np.array([uid.strip() for uid in columns[0]], dtype=np.str_)
    if not allow_duplicates:
        _check_unique_marks(path, lines, uids, numbers[:, :3])
    return Marks(uids, points_lps_to_ras(numbers[:, :3]), numbers[:, 3])


def _as_labels(label: npt.ArrayLike, where: str) -> npt.NDArray[np.int64]:
    given = np.asarray(label).reshape(-1)
    labels = given.astype(np.int64) if given.size and np.isfinite(given).all() else np.zeros(0, np.int64)
    if not np.array_equal(labels, given):
        msg = f"{where}: a label is no whole number. Wanted indices of the classes, 0, 1, ..."
        raise DataError(msg)
    return labels


def _check_scores(score: npt.NDArray[np.float64], where: str) -> None:
    bad = np.flatnonzero(~np.isfinite(score))
    if bad.size:
        msg = f"{where}: the score of box {bad[0]} is {score[bad[0]]:g} ({bad.size} such). Mend or drop it."
        raise DataError(msg)


def _check_unique(rows: npt.NDArray[np.float64], where: str) -> None:
    _, first, counts = np.unique(rows, axis=0, return_index=True, return_counts=True)
    if (counts > 1).any():
        index = int(first[counts > 1].min())
        msg = f"{where}: box {index} comes {counts[first == index][0]} times. Suppress duplicates before writing."
        raise DataError(msg)


def _check_unique_marks(
    path: Path, lines: Sequence[int], uids: npt.NDArray[np.str_], places: npt.NDArray[np.float64]
) -> None:
    seen: dict[tuple[str, float, float, float], int] = {}
    for line, uid, (x, y, z) in zip(lines, uids.tolist(), places.tolist(), strict=True):
        earlier = seen.setdefault((uid, x, y, z), line)
        if earlier != line:
            msg = f"{path}: lines {earlier} and {line} mark the same place of series {uid}. Drop one."
            raise DataError(msg)


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"{path}: not a readable detections file ({reason}). Check the path, or write it again."
        raise DataError(msg) from error
    if not isinstance(content, dict):
        msg = f"{path}: no detections file: its JSON is a {type(content).__name__}, wanted an object. Check the path."
        raise DataError(msg)
    return content
