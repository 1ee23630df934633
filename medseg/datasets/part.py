"""What has come of a file, kept beside the place that it will have."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from medseg.datasets.connection import Answer
from medseg.datasets.shelf import checksum_of
from medseg.datasets.specs import FileSpec
from medseg.errors import DataError

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Part:
    """What has come of a file, and which version of it that is."""

    def __init__(self, file: FileSpec, target: Path, on_bytes: Callable[[int], None]) -> None:
        self.file = file
        self.target = target
        self.path = target.with_name(target.name + ".part")
        self.note = target.with_name(target.name + ".part.json")
        self.on_bytes = on_bytes
        self.known = self._read_note()
        self.answers = 2 if self.size else 0  # how many answers its bytes may come from
        self.on_bytes(self.size)

    @property
    def size(self) -> int:
        """Bytes that have come."""
        return self.path.stat().st_size if self.path.exists() else 0

    def resumable(self, url: str) -> str | None:
        """The validator to ask the rest of the file with; empty where the checksum will tell. None to begin anew."""
        if not self.size:
            return None
        if self.file.checksum is not None:
            return ""
        return self.known.get("validator") or None if self.known.get("url") == _without_signature(url) else None

    def begin(self, url: str, answer: Answer) -> None:
        """Forget what has come, and note what comes now."""
        self.drop()
        self.known = {"url": _without_signature(url), "validator": answer.validator}
        self.answers = 0
        self.note.write_text(json.dumps(self.known), encoding="utf-8")

    def drop(self) -> None:
        """Throw away what has come."""
        self.on_bytes(-self.size)
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        self.known = {}

    def name(self) -> None:
        """Give the part the file's own name."""
        with self.path.open("rb+") as stream:
            os.fsync(stream.fileno())
        self.path.replace(self.target)
        self.note.unlink(missing_ok=True)

    def kept(self) -> str:
        """For an error: what is there for the next try."""
        return f"{gigabytes(self.size)} of it are kept and will be resumed. " if self.size else ""

    def _read_note(self) -> dict[str, str]:
        with suppress(OSError, ValueError):
            content = json.loads(self.note.read_text(encoding="utf-8"))
            if isinstance(content, dict):
                return {str(key): str(value) for key, value in content.items()}
        return {}


def _without_signature(url: str) -> str:
    """The address without its query, which in a signed one is a secret."""
    return url.partition("?")[0]


@contextmanager
def appending(part: Part) -> Iterator[IO[bytes]]:
    """The part, open at its end.

    Raises:
        DataError: When the disk takes no more.
    """
    try:
        with part.path.open("ab") as stream:
            yield stream
    except OSError as error:
        advice = "Free some space, then run it again." if error.errno in _FULL else "Mend the disk, then run it again."
        msg = f"{part.path} could not be written: {error.strerror or error}. {part.kept()}{advice}"
        raise DataError(msg) from error


def fault_of(path: Path, file: FileSpec) -> str | None:
    """What is wrong with a file: its length or its checksum. None where nothing is."""
    n_bytes = path.stat().st_size
    if file.n_bytes is not None and n_bytes != file.n_bytes:
        return f"{n_bytes} bytes came, {file.n_bytes} are published"
    if file.checksum is not None:
        algorithm, _, wanted = file.checksum.partition(":")
        got = checksum_of(path, algorithm)
        if got != wanted.lower():
            return f"its {algorithm} is {got}, {wanted} is published"
    return None


def need_space(folder: Path, n_bytes: int, *, spare: int, what: str) -> None:
    """Refuse early what will not fit.

    Raises:
        DataError: With what is needed and what is free.
    """
    free = shutil.disk_usage(folder).free
    if free < n_bytes + spare:
        msg = (
            f"{what}: needs {gigabytes(n_bytes)} in {folder}, {gigabytes(free)} are free. "
            f"Free some space, or choose another disk with --out or MEDSEG_DATA."
        )
        raise DataError(msg)


def gigabytes(n_bytes: float) -> str:
    """Bytes for people.

    >>> gigabytes(7608266240), gigabytes(276833)
    ('7.6 GB', '0.28 MB')
    """
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.2g} MB"
