"""Which lines of a source file bind which names, kept on disk between runs.

The index holds names and line numbers, nothing that is executed. An entry counts as long as its file has the size and
the times that it had; where the index cannot be read or written, files are parsed whole as if there were none.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

_VERSION = 1


class Place(NamedTuple):
    """Where a statement stands: the name of its class in `ast`, its first and last line, from 1."""

    kind: str
    first: int
    last: int


@dataclass(frozen=True)
class Entry:
    """What the statements of a file bind.

    Attributes:
        names: The statement that binds each name last.
        stars: What it imports everything from: a module's name and the dots before it.
        dynamic: Whether names may appear that no statement binds; None when nobody has asked yet.
    """

    names: Mapping[str, Place]
    stars: tuple[tuple[str, int], ...]
    dynamic: bool | None


class SourceIndex:
    """The entries of many files in one file, written once, when the process ends.

    Args:
        path: The file; it is made when something is to be kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept = _read(path)
        self._new: dict[str, Any] = {}

    def get(self, source: Path) -> Entry | None:
        """What is known of a file as it is now."""
        key, stamp = str(source), _stamp(source)
        found: Any = self._new.get(key) or self._kept.get(key)
        try:
            if stamp is None or found["stamp"] != stamp:
                return None
            names = {str(name): Place(str(kind), int(a), int(b)) for name, (kind, a, b) in found["names"].items()}
            stars = tuple((str(module), int(level)) for module, level in found["stars"])
            return Entry(names, stars, found["dynamic"])
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def put(self, source: Path, entry: Entry) -> None:
        """Keeps it for the next process."""
        stamp = _stamp(source)
        if stamp is None:
            return
        if not self._new:
            atexit.register(self.save)
        self._new[str(source)] = {
            "stamp": stamp,
            "names": dict(entry.names),
            "stars": list(entry.stars),
            "dynamic": entry.dynamic,
        }

    def save(self) -> None:
        """Writes what is new beside what others have written since; without a word where that is not possible."""
        if not self._new:
            return
        entries = {key: entry for key, entry in _read(self.path).items() if Path(key).is_file()} | self._new
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self.path.parent, delete=False, encoding="utf-8") as file:
                json.dump(entries, file, separators=(",", ":"))
            Path(file.name).replace(self.path)
        except OSError:
            return
        self._new = {}


@cache
def source_index() -> SourceIndex:
    """This Python's index: in `$MEDSEG_SOURCES`, else in `~/.cache/medseg/sources`."""
    told = os.environ.get("MEDSEG_SOURCES")
    try:
        folder = Path(told).expanduser() if told else Path.home() / ".cache" / "medseg" / "sources"
    except RuntimeError:  # no home
        folder = Path(os.devnull)
    return SourceIndex(folder / f"v{_VERSION}-py{sys.version_info.major}{sys.version_info.minor}.json")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _stamp(source: Path) -> list[int] | None:
    try:
        found = source.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]
