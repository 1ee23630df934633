"""Files that are either the old one or the new one, never half of one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from medseg.errors import DataError


class _Recorded:
    """A file that remembers the error of a failed write: torch.save's own message hides it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def temporary_files(folder: Path) -> list[Path]:
    """What interrupted writes left in the folder."""
    return sorted(folder.glob(".*.tmp")) if folder.is_dir() else []


def write_atomically(path: Path, write: Callable[[Any], object]) -> None:
    """Let `write` fill a temporary file next to the path, make it durable, and put it in the path's place.

    Raises:
        DataError: the disk is full, or the file cannot be written. The file that was there is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    recorded: _Recorded | None = None
    try:
        with temporary.open("wb") as file:
            recorded = _Recorded(file)
            write(recorded)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        cause = error if isinstance(error, OSError) else recorded.error if recorded else None
        if cause is None:
            raise
        raise DataError(_line(path, cause)) from error


def _line(path: Path, error: OSError) -> str:
    state = "the previous one is intact" if path.exists() else "nothing was there before"
    return f"{path} could not be written: {error.strerror or error}; {state}."


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def save_atomically(path: Path, content: Any) -> None:
    """`torch.save` that never leaves half a file."""
    write_atomically(path, lambda file: torch.save(content, file))
