"""How a folder of phantoms was made: kept in one of its files, so that the same command completes the folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medseg.errors import ConfigError, DataError
from medseg.volumes.files import atomic_path

Recipe = dict[str, Any]


def make_recipe(kind: str, version: int, *, cases: int, seed: int, shape: Sequence[int], spacing_mm: float) -> Recipe:
    """The arguments that the files depend on.

    Raises:
        ConfigError: When one is out of range.
    """
    if cases < 1:
        msg = f"cases: {cases} phantoms asked for. Wanted 1 or more."
        raise ConfigError(msg)
    if seed < 0:
        msg = f"seed: {seed} will not do for a phantom. Wanted 0 or more."
        raise ConfigError(msg)
    if len(shape) != 3 or min(shape) < 24 or max(shape) > 1024:
        msg = f"shape: {tuple(shape)} will not do for a phantom. Wanted three sizes from 24 to 1024, such as 96,80,48."
        raise ConfigError(msg)
    if not 0.4 <= spacing_mm <= 8.0:
        msg = f"spacing_mm: {spacing_mm} will not do for a phantom. Wanted 0.4 to 8 mm."
        raise ConfigError(msg)
    recipe: Recipe = {"kind": kind, "version": version, "cases": cases, "seed": seed}
    return recipe | {"shape": [int(size) for size in shape], "spacing_mm": float(spacing_mm)}


def is_made_by(file: Path, recipe: Recipe, *, force: bool) -> bool:
    """Whether the folder of `file`, which keeps the recipe under `phantom`, holds these very phantoms.

    Raises:
        DataError: When the folder holds anything else and `force` is not set.
    """
    folder = file.parent
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["phantom"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if found != recipe and not force:
        what = "other phantoms" if found else "other files"
        msg = f"{folder}: holds {what}. Choose an empty folder, or write into it all the same with --force."
        raise DataError(msg)
    return bool(found == recipe)


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file whole or not at all; its folder is made.

    Raises:
        DataError: When the disk refuses.
    """
    try:
        with atomic_path(file) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        msg = f"{file}: could not be written ({error.strerror or error}). Free space or choose another folder."
        raise DataError(msg) from error


def write_json(file: Path, content: Recipe) -> None:
    """Write JSON as `write_bytes` does."""
    write_bytes(file, (json.dumps(content, indent=1) + "\n").encode())
