"""Named columns of a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError


def read_columns(path: Path, wanted: Sequence[str]) -> tuple[list[int], list[list[str]]]:
    """Line numbers of the rows, and the wanted columns as text, by name in any order; other columns are left out.

    Raises:
        DataError: When the file is missing or no CSV, a column is missing, or a row is of another length.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"{path}: not a readable CSV ({reason}). Check the path."
        raise DataError(msg) from error
    missing = [name for name in wanted if name not in header]
    if missing:
        msg = (
            f"{path}: no column {', '.join(missing)}; it has {', '.join(header) or 'none'}. Wanted {','.join(wanted)}."
        )
        raise DataError(msg)
    for line, row in rows:
        if len(row) != len(header):
            msg = f"{path}: line {line} has {len(row)} values, the header {len(header)}. Mend the line."
            raise DataError(msg)
    places = [header.index(name) for name in wanted]
    return [line for line, _ in rows], [[row[place] for _, row in rows] for place in places]


def finite_numbers(
    path: Path, lines: Sequence[int], columns: Sequence[Sequence[str]], names: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Columns of text as numbers `(N, C)`.

    Args:
        path: Named in errors.
        lines: Line number of each row.
        columns: Text of each column.
        names: Name of each column.

    Raises:
        DataError: With the first value that is no finite number.
    """
    table = np.zeros((len(lines), len(columns)))
    for place, (column, name) in enumerate(zip(columns, names, strict=True)):
        try:
            table[:, place] = [float(text) for text in column]
            bad = np.flatnonzero(~np.isfinite(table[:, place]))
        except ValueError:
            bad = np.array([next(index for index, text in enumerate(column) if not _is_number(text))])
        if bad.size:
            index = int(bad[0])
            msg = f"{path}: line {lines[index]}: {name} is {column[index]!r}, no finite number. Mend or drop the line."
            raise DataError(msg)
    return table


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
