"""Writing the results of an evaluation."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.errors import DataError
from medseg.record import write_text_atomically


def make_folder(out_dir: Path) -> None:
    """Make the folder of the results.

    Raises:
        DataError: When that cannot be.
    """
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{out_dir}: could not be made ({error.strerror or error}). Choose another folder with -o."
        raise DataError(msg) from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all; every number must be finite."""
    write_text_atomically(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A CSV table. Floats keep all their digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
