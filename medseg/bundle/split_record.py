"""Which cases a training learnt from and chose its weights by, left in the run folder so that a test can stay apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg import record
from medseg.errors import DataError

FILE = "split.json"


def write_split(run_dir: Path, lists: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Write the ids of each list to split.json.

    Args:
        run_dir: The run folder.
        lists: Case ids by list, such as `training` and `validation`.

    Returns:
        What run.json records: number and sha256 of the ids of each list.
    """
    from medseg.datasets.splits import ids_sha256

    ids = {name: sorted(cases) for name, cases in lists.items()}
    record.write_text_atomically(run_dir / FILE, json.dumps(ids, indent=1) + "\n")
    return {name: {"n": len(cases), "ids_sha256": ids_sha256(cases)} for name, cases in ids.items()}


def read_split(run_dir: Path) -> dict[str, list[str]] | None:
    """The ids of each list of a run, None when the run did not record them.

    Raises:
        DataError: When split.json is damaged, or its ids are not those that run.json records.
    """
    from medseg.datasets.splits import ids_sha256

    path = run_dir / FILE
    recorded = record.read(run_dir / record.FILE).get("split")
    if not path.is_file() or not isinstance(recorded, dict):
        return None
    try:
        lists = {str(name): [str(case) for case in cases] for name, cases in json.loads(path.read_text()).items()}
    except (ValueError, OSError, AttributeError, TypeError) as error:
        msg = f"{path}: not readable ({error}). Train again."
        raise DataError(msg) from error
    for name, facts in recorded.items():
        if ids_sha256(lists.get(name, [])) != facts.get("ids_sha256"):
            msg = f"{path}: the ids of {name!r} are not those whose sha256 stands in {record.FILE}. Train again."
            raise DataError(msg)
    return lists


def ids_of(data: object) -> list[str] | None:
    """The case ids of a list of items, None where it is none."""
    if not isinstance(data, Sequence) or isinstance(data, str | bytes):
        return None
    ids = [item.get("case_id") for item in data if isinstance(item, Mapping)]
    return [str(case) for case in ids] if ids and all(ids) and len(ids) == len(data) else None
