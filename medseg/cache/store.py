"""The folder with the preprocessed cases: written once, whole or not at all, and read through the page cache."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import numpy.typing as npt
from monai.data.meta_tensor import MetaTensor
from monai.utils.enums import TraceKeys

from medseg.cache.codec import UncacheableError, Writer, decode
from medseg.cache.fingerprint import UnstableError, described_value, files_of, fingerprint
from medseg.errors import ConfigError

_log = logging.getLogger("medseg.cache")
_BLOCK, _TEXT = "block.bin", "item.json"
_ABANDONED_S = 24 * 3600.0  # of a writer on another machine, whose process cannot be asked for
_READ = 1 << 20


class CaseStore:
    """Results of fixed transforms, a folder for each case.

    The folder's name is a hash of the transforms, of the item and of the content of its files: another transform or
    another file is another case. A case is written under a temporary name, flushed and renamed, so that a reader finds
    all of it or nothing; who comes second waits for who came first, and a lock dies with its process. Arrays are mapped
    copy-on-write: all processes share the pages, and what one writes into its arrays, nobody else sees.

    Args:
        folder: Made when absent.
        transforms: The fixed transforms.

    Raises:
        ConfigError: When the folder cannot be made, or a transform holds what cannot be told apart, such as a lambda.
    """

    def __init__(self, folder: str | Path, transforms: Sequence[Callable[..., Any]]) -> None:
        self.folder = Path(folder).expanduser().resolve()
        try:
            self.transforms = fingerprint(transforms)
        except UnstableError as error:
            msg = f"cache_dir: the fixed transforms cannot be told apart from others: {error}. Set cache_dir to null."
            raise ConfigError(msg) from error
        try:
            (self.folder / "files").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"cache_dir {self.folder}: cannot be made ({error.strerror or error}). Choose another folder."
            raise ConfigError(msg) from error
        self._keys: dict[int, str] = {}
        self._full = False
        self._remove_abandoned()

    def get(self, index: int, item: Any, compute: Callable[[], Any]) -> Any:
        """The case, computed and written when it is not there yet.

        Args:
            index: Of the item; its hash is remembered under it.
            item: What the transforms start from.
            compute: Gives the result of the fixed transforms.
        """
        key = self._keys.get(index) or self._keys.setdefault(index, self.key(item))
        place = self.folder / key[:2] / key
        found = self._read(place)
        if found is not None:
            return found
        if self._full:
            return compute()
        try:
            place.parent.mkdir(exist_ok=True)
            with filelock.FileLock(f"{place}.lock"):
                found = self._read(place)
                if found is None:
                    found = compute()
                    # Invertd asks which object a step was; the one that inverts may be of another process.
                    _forget_objects(found)
                    self._write(place, found)
        except OSError as error:
            # A full disk or a folder that is gone makes it slow, not wrong.
            self._full = True
            _log.warning("%s: cannot be written (%s); goes on without it", self.folder, error.strerror or error)
            return compute() if found is None else found
        return found

    def key(self, item: Any) -> str:
        """The name of a case: of transforms, item and the content of its files."""
        content = [(str(path), self._hash_of(path)) for path in files_of(item)]
        text = json.dumps([self.transforms, described_value(item), content])
        return hashlib.sha256(text.encode()).hexdigest()[:40]

    def _hash_of(self, path: Path) -> str:
        """The sha256 of a file; remembered for its path, size and time of change."""
        stat = path.stat()
        name = hashlib.sha256(f"{path.resolve()}\n{stat.st_size}\n{stat.st_mtime_ns}".encode()).hexdigest()[:40]
        note = self.folder / "files" / name
        with suppress(OSError):
            text = note.read_text(encoding="ascii")
            if len(text) == 64:
                return text
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while part := file.read(_READ):
                digest.update(part)
        with suppress(OSError):
            temporary = note.with_name(f".{name}.{os.getpid()}")
            temporary.write_text(digest.hexdigest(), encoding="ascii")
            temporary.replace(note)
        return digest.hexdigest()

    def _read(self, place: Path) -> Any:
        """The case, or None where there is none; one that cannot be read is removed."""
        try:
            text = (place / _TEXT).read_text(encoding="utf-8")
        except OSError:
            return None
        try:
            size = (place / _BLOCK).stat().st_size
            block: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)
            if size:
                block = np.memmap(place / _BLOCK, mode="c", dtype=np.uint8)
            return decode(json.loads(text), np.asarray(block))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
            _log.warning("%s: damaged (%s); made anew", place, error)
            shutil.rmtree(place, ignore_errors=True)
            return None

    def _write(self, place: Path, value: Any) -> None:
        temporary = place.with_name(f".{place.name}.{socket.gethostname()}.{os.getpid()}")
        try:
            temporary.mkdir()
            with (temporary / _BLOCK).open("wb") as file:
                text = json.dumps(Writer(file).encode(value))
                _flush(file)
            with (temporary / _TEXT).open("w", encoding="utf-8") as described:
                described.write(text)
                _flush(described)
            temporary.rename(place)
        except UncacheableError as error:
            self._full = True
            _log.warning("a case holds %s, which the cache cannot keep; goes on without it", error)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _remove_abandoned(self) -> None:
        """Removes what writers left that were killed."""
        for path in self.folder.glob("*/.*"):
            host, _, process = path.name[1:].partition(".")[2].rpartition(".")
            if path.is_dir() and process.isdigit() and _is_abandoned(path, host, int(process)):
                shutil.rmtree(path, ignore_errors=True)


def _forget_objects(value: Any) -> None:
    """Takes out of the record of applied transforms which object each was, as `monai.transforms.reset_ops_id` does."""
    if isinstance(value, MetaTensor):
        _forget_objects(value.applied_operations)
    elif isinstance(value, dict):
        if TraceKeys.ID in value:
            value[TraceKeys.ID] = TraceKeys.NONE
        for inner in value.values():
            _forget_objects(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _forget_objects(inner)


def _is_abandoned(path: Path, host: str, process: int) -> bool:
    if host == socket.gethostname():
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False
    with suppress(OSError):
        return time.time() - path.stat().st_mtime > _ABANDONED_S
    return False


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
