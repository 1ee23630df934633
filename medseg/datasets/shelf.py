"""Where datasets are kept, what is there, and the record of how it got there."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Literal

from medseg.datasets.registry import DATASETS, get_spec
from medseg.errors import ConfigError, DataError

RECORD = ".medseg-dataset.json"
_BLOCK = 1 << 22

State = Literal["present", "partial", "absent"]


def data_home() -> Path:
    """The folder that datasets are kept in: `$MEDSEG_DATA`, else `~/.cache/medseg/datasets`."""
    told = os.environ.get("MEDSEG_DATA")
    return Path(told).expanduser() if told else Path.home() / ".cache" / "medseg" / "datasets"


def shelf_of(name: str) -> Path:
    """The folder that a dataset of this name has, or will have."""
    return data_home() / name


def staging_of(folder: Path) -> Path:
    """Where a dataset grows before it gets its own folder; kept when a download is interrupted."""
    return folder.with_name(f".{folder.name}.partial")


def state_of(folder: Path) -> State:
    """Whether a dataset is complete in this folder, begun beside it, or neither."""
    if place_of(folder):
        return "present"
    return "partial" if _is_folder(staging_of(folder)) else "absent"


def read_record(folder: Path) -> dict[str, Any]:
    """How the dataset in this folder got there; empty when it did not come through `medseg data get`."""
    try:
        content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def place_of(folder: Path) -> Path | None:
    """The folder that holds the data of this shelf: itself, or one that was given. None where it holds none."""
    record = read_record(folder)
    place = Path(record.get("folder") or folder)
    return place if record and _is_folder(place) else None


def _is_folder(path: Path) -> bool:
    """Whether a folder is there, as far as the user may know."""
    try:
        return path.is_dir()
    except OSError:
        return False


def dataset_folder(name_or_folder: str | Path) -> Path:
    """The folder of a dataset, given as a folder or as the name of one that was fetched.

    Raises:
        ConfigError: When it is neither a folder nor the name of a dataset.
        DataError: When the dataset of that name is not on disk, or the folder may not be read.
    """
    folder = Path(name_or_folder)
    if _is_folder(folder):
        if not os.access(folder, os.R_OK | os.X_OK):
            msg = f"{folder}: not readable. Mend the folder's rights."
            raise DataError(msg)
        return folder
    if len(folder.parts) > 1:  # no name has a slash
        msg = f"{folder}: {'is no folder' if os.path.lexists(folder) else 'no such folder'}. Check the path."
        raise ConfigError(msg)
    spec = get_spec(str(name_or_folder))
    shelf = shelf_of(spec.name)
    place = place_of(shelf)
    if place:
        return place
    msg = f"{spec.name}: not on disk ({shelf}). Fetch it: medseg data get {spec.name}."
    raise DataError(msg)


def known_names() -> list[str]:
    """Names of all datasets."""
    return list(DATASETS)


def checksum_of(path: Path, algorithm: str) -> str:
    """The `md5` or `sha256` of a file, in hex.

    Raises:
        DataError: When it cannot be read.
    """
    digest = hashlib.new(algorithm, usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        msg = f"{path}: not readable ({error.strerror or error}). Mend the file or its rights."
        raise DataError(msg) from error
    return digest.hexdigest()
