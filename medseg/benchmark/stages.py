"""Stages of a benchmark that are done once: each has a key made of the contents it depends on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from medseg.errors import ConfigError
from medseg.record import read, write_text_atomically

_WHOLE_UP_TO = 1 << 22  # bytes; of longer files the beginning, the end and the length tell
_END = 1 << 20


def key_of(inputs: Mapping[str, Any]) -> str:
    """Sha256 of plain values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()


def print_of(path: Path) -> str:
    """A fingerprint of a file's content: sha256, of files above 4 MiB that of length, first and last MiB.

    Whole scans of a large set would take longer to hash than to predict. A file that is missing has the print "".
    """
    if not path.is_file():
        return ""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= _WHOLE_UP_TO:
            digest.update(file.read())
        else:
            digest.update(file.read(_END))
            file.seek(-_END, 2)
            digest.update(file.read(_END))
    return digest.hexdigest()


def prints_of(paths: Iterable[Path], *, under: Path) -> dict[str, str]:
    """Fingerprints by the path relative to a folder, so that a dataset that moves keeps them."""
    return {_relative(path, under): print_of(path) for path in paths}


def _relative(path: Path, under: Path) -> str:
    path, under = path.absolute(), under.absolute()
    return path.relative_to(under).as_posix() if path.is_relative_to(under) else path.name


def run_stage(
    folder: Path,
    name: str,
    *,
    inputs: Mapping[str, Any],
    outputs: Iterable[str],
    work: Callable[[], Mapping[str, Any] | None],
) -> dict[str, Any]:
    """Do a stage, unless it was done with the same inputs; go on with one that was stopped.

    `<name>.stage.json` holds the key and the state. Outputs that were made from other inputs are removed first. What a
    stopped stage left stays, so `work` must be able to go on from it.

    Args:
        folder: Of the job.
        name: Of the stage.
        inputs: Everything that the result depends on, as plain values.
        outputs: Names in the folder that belong to the stage.
        work: Does it; returns facts worth keeping. A fact `again` that is true leaves the stage undone.

    Returns:
        The facts.

    Raises:
        ConfigError: When outputs are there that no stage has made.
    """
    marker, key = folder / f"{name}.stage.json", key_of(inputs)
    state = read(marker)
    if state.get("key") == key and state.get("status") == "done":
        return dict(state["facts"])
    paths = [folder / output for output in outputs]
    if state.get("key") != key:
        _clear(paths, known=bool(state))
    write_text_atomically(marker, json.dumps({"key": key, "status": "started", "inputs": inputs}, default=str))
    facts = dict(work() or {})
    status = "started" if facts.get("again") else "done"
    content = {"key": key, "status": status, "facts": facts, "inputs": inputs}
    write_text_atomically(marker, json.dumps(content, default=str))
    return facts


def _clear(paths: Iterable[Path], *, known: bool) -> None:
    for path in paths:
        if path.exists() and not known:
            msg = f"{path}: is there, but this suite did not make it. Take it away or give another folder with -o."
            raise ConfigError(msg)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
