"""LUNA16's tables: findings with their centre in LPS mm, lists of scans, and the boxes around findings in RAS mm."""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medseg.errors import DataError

COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm")

Box = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Finding:
    """A row of `annotations.csv` or `annotations_excluded.csv`.

    Attributes:
        series_uid: The scan.
        center_lps_mm: World position, x to the left and y to the back.
        diameter_mm: -1 where the table knows none, as for marks on what is no nodule.
    """

    series_uid: str
    center_lps_mm: tuple[float, float, float]
    diameter_mm: float


def read_annotations(path: str | Path) -> list[Finding]:
    """The findings of a table with the columns seriesuid, coordX, coordY, coordZ and diameter_mm.

    Args:
        path: A .csv or .csv.gz file. Columns may stand in any order, and others beside them.

    Raises:
        DataError: When the file is missing or damaged, lacks a column, or a row is short or holds no finite number.
    """
    path = Path(path)
    rows = _rows(path)
    header = [cell.strip() for cell in next(rows, (0, []))[1]]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        found = ",".join(header)[:80] or "nothing"
        msg = f"{path}: the first line has no column {', '.join(missing)} but {found!r}. Wanted {','.join(COLUMNS)}."
        raise DataError(msg)
    places = [header.index(name) for name in COLUMNS]
    return [_finding(path, line, row, places) for line, row in rows]


def read_series(path: str | Path) -> list[str]:
    """The scans' UIDs in the order of `seriesuids.csv`: one to a line, with or without the heading "seriesuid".

    Args:
        path: A .csv or .csv.gz file.

    Raises:
        DataError: When the file is missing, damaged or empty, a line has several columns, or a scan comes twice.
    """
    path = Path(path)
    lines: dict[str, int] = {}
    for line, row in _rows(path):
        uid = row[0].strip()
        if len(row) > 1 or not uid:
            msg = f"{path}, line {line}: {','.join(row)[:80]!r} is not one scan's UID. Wanted one UID to a line."
            raise DataError(msg)
        if uid == COLUMNS[0] and not lines:
            continue
        if uid in lines:
            msg = f"{path}, line {line}: scan {uid} stands in line {lines[uid]} already. Remove one of them."
            raise DataError(msg)
        lines[uid] = line
    if not lines:
        msg = f"{path}: no scans in it. Download it again."
        raise DataError(msg)
    return list(lines)


def box_ras_mm(finding: Finding) -> Box:
    """The cube around a finding: corners x0, y0, z0, x1, y1, z1 in RAS mm, the lower first.

    Raises:
        DataError: When its diameter is not positive.

    >>> box_ras_mm(Finding("1.2", (10.0, 20.0, 30.0), 4.0))
    (-12.0, -22.0, 28.0, -8.0, -18.0, 32.0)
    """
    if not finding.diameter_mm > 0:
        msg = (
            f"scan {finding.series_uid}: a finding with diameter {finding.diameter_mm:g} mm has no box. "
            f"Wanted a positive diameter: leave marks on what is no nodule out."
        )
        raise DataError(msg)
    x, y, z = lps_ras(finding.center_lps_mm)
    half = finding.diameter_mm / 2
    return (x - half, y - half, z - half, x + half, y + half, z + half)


def finding_of_box(series_uid: str, box: Sequence[float]) -> Finding:
    """The finding in the middle of a box (corners in RAS mm), with the mean of its sides as diameter.

    >>> finding_of_box("1.2", (-12.0, -22.0, 28.0, -8.0, -18.0, 32.0))
    Finding(series_uid='1.2', center_lps_mm=(10.0, 20.0, 30.0), diameter_mm=4.0)

    Raises:
        DataError: When the box is not six finite numbers, or an upper corner is not above the lower.
    """
    corners = [float(value) for value in box]
    low, high = corners[:3], corners[3:]
    finite = len(corners) == 6 and all(math.isfinite(value) for value in corners)
    if not (finite and all(a < b for a, b in zip(low, high, strict=True))):
        msg = f"scan {series_uid}: box {corners} is not x0, y0, z0, x1, y1, z1 in mm with the lower corner first."
        raise DataError(msg)
    x, y, z = ((a + b) / 2 for a, b in zip(low, high, strict=True))
    return Finding(series_uid, lps_ras((x, y, z)), sum(b - a for a, b in zip(low, high, strict=True)) / 3)


def lps_ras(point_mm: tuple[float, float, float]) -> tuple[float, float, float]:
    """A point from LPS to RAS mm, or back.

    >>> lps_ras((1.0, -2.0, 3.0))
    (-1.0, 2.0, 3.0)
    """
    x, y, z = point_mm
    return (-x, -y, z)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers from 1, and the cells; blank lines are left out."""
    reader = csv.reader(io.StringIO(_text(path), newline=""))
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        msg = f"{path}, line {reader.line_num}: not a readable CSV table ({error}). Download it again."
        raise DataError(msg) from error


def _text(path: Path) -> str:
    """The file's text, unpacked; a byte order mark is dropped."""
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix.lower() == ".gz" else data).decode("utf-8-sig")
    except FileNotFoundError:
        msg = f"{path}: no such file. Check the path, or download the table."
        raise DataError(msg) from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:120]
        msg = f"{path}: not a readable CSV table ({reason}). Download it again."
        raise DataError(msg) from error


def _finding(path: Path, line: int, row: Sequence[str], places: Sequence[int]) -> Finding:
    if len(row) <= max(places):
        msg = f"{path}, line {line}: {len(row)} columns, where the first line has more. Mend or download the table."
        raise DataError(msg)
    uid, *texts = (row[place].strip() for place in places)
    if not uid:
        msg = f"{path}, line {line}: no seriesuid. Mend or download the table."
        raise DataError(msg)
    x, y, z, diameter = (_number(path, line, *named) for named in zip(COLUMNS[1:], texts, strict=True))
    return Finding(uid, (x, y, z), diameter)


def _number(path: Path, line: int, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        msg = f"{path}, line {line}: {column} is {text[:40]!r}. Wanted a number of mm."
        raise DataError(msg)
    return value
