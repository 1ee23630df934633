"""The files of a dataset on their way to one folder, and the record of how they got there."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from medseg.datasets.archive import Bounds, unpack, unpack_incoming
from medseg.datasets.given import Given, check_scans
from medseg.datasets.incoming import Incoming, NotStreamable
from medseg.datasets.part import fault_of, need_space
from medseg.datasets.shelf import RECORD, checksum_of
from medseg.datasets.specs import DatasetSpec, FileSpec
from medseg.datasets.synapse import Synapse, page_of
from medseg.datasets.transfer import Rules, Stopped, fetch
from medseg.datasets.watch import Watch
from medseg.errors import DataError
from medseg.record import write_text_atomically

_ROOM_FOR_SMALL = 1 << 26  # the published lengths of some small archives are not known


@dataclass
class Fetching:
    """The files of a dataset on their way: `staging/content`, `staging/archives`, `staging/unpacked`, `state.json`."""

    spec: DatasetSpec
    staging: Path
    had: Given
    rules: Rules
    watch: Watch
    synapse: Synapse | None = None
    stream: bool | None = None
    done: dict[str, Any] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, jobs: int) -> None:
        """Fetch every file that is not done; the first that fails ends them all.

        Raises:
            DataError: Of that file.
        """
        (self.staging / "content").mkdir(parents=True, exist_ok=True)
        self.done = self._read_state()
        # What is given may be another file of that name than the last time.
        waiting = [file for file in self.files if file.name not in self.done or file.name in self.had.paths]
        if self.synapse:  # only it knows how long they are
            waiting = [self.synapse.looked_up(file) if file.synapse_id else file for file in waiting]
        self.stream = self._choose_streaming(waiting)
        self._need_space(waiting)
        with ThreadPoolExecutor(jobs) as pool:
            futures = [pool.submit(self._get, file) for file in waiting]
            try:
                errors = [error for future in as_completed(futures) if (error := self._error_of(future.exception()))]
            except BaseException:
                self.rules.stop.set()
                raise
        for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
            raise error

    @property
    def files(self) -> tuple[FileSpec, ...]:
        """What the dataset is made of."""
        return self.had.files or self.spec.files

    def finish(self, folder: Path) -> None:
        """Put everything together and give it the folder's name."""
        content = self.staging / "content"
        for file in self.files:
            source = self.staging / "unpacked" / file.name
            inner = source / file.inner
            if source.is_dir():
                _merge(inner if file.inner and inner.is_dir() else source, content)
        if self.had.files:
            self._check_scans(content)
        write_record(self.spec, content, files=self.done)
        if folder.is_dir():
            folder.rmdir()
        content.replace(folder)
        shutil.rmtree(self.staging, ignore_errors=True)

    def _check_scans(self, content: Path) -> None:
        """Refuse an archive of something else: nothing is published that would tell it earlier.

        Raises:
            DataError: When it holds no case of the dataset.
        """
        try:
            check_scans(self.spec, content)
        except DataError as error:
            shutil.rmtree(self.staging, ignore_errors=True)
            names = ", ".join(file.name for file in self.files)
            fault = str(error).removeprefix(f"{content}: ").replace(f"{content}/", "")
            msg = f"{names}: not taken as {self.spec.name}: {fault}"
            raise DataError(msg) from error

    def _error_of(self, error: BaseException | None) -> BaseException | None:
        if error:
            self.rules.stop.set()
        return error

    def _get(self, file: FileSpec) -> None:
        self.watch.begins(file)
        if file.unpack:
            facts = self._get_archive(file)
        else:
            target = self.staging / "content" / file.name
            facts = self._bring(file, target)
        with self.lock:
            self.done[file.name] = facts
            write_text_atomically(self.staging / "state.json", json.dumps(self.done, indent=1))
        self.watch.ends(file)

    def _get_archive(self, file: FileSpec) -> dict[str, Any]:
        archive, folder = self.staging / "archives" / file.name, self.staging / "unpacked" / file.name
        given = self.had.paths.get(file.name)
        if self.stream and not given:
            with suppress(NotStreamable):
                return self._unpack_incoming(file, folder)
        facts = self._facts(file, given, f"given: {given}") if given else self._bring(file, archive)
        self.watch.unpacks(file)
        shutil.rmtree(folder, ignore_errors=True)
        need_space(self.staging, facts["bytes"], spare=self.rules.spare_bytes, what=f"unpacking {file.name}")
        unpack(given or archive, folder, bounds=_bounds(file, facts["bytes"]))
        archive.unlink(missing_ok=True)
        return facts

    def _unpack_incoming(self, file: FileSpec, folder: Path) -> dict[str, Any]:
        """Unpack an archive while it comes.

        Raises:
            DataError: As `unpack_incoming`.
            NotStreamable: When it cannot be had so; the bytes that have come are taken back.
        """
        told = self.synapse.looked_up(file) if file.synapse_id and self.synapse else file
        shutil.rmtree(folder, ignore_errors=True)
        counted = 0

        def on_bytes(n_bytes: int) -> None:
            nonlocal counted
            counted += n_bytes
            self.watch.bytes_came(file, n_bytes)

        self.watch.unpacks(file)
        try:
            with Incoming(told, rules=self.rules, on_bytes=on_bytes) as source:
                checksum = unpack_incoming(source, folder, bounds=_bounds(file, source.total))
                origin = page_of(told) if told.synapse_id else source.mirrors[0]
        except NotStreamable:
            on_bytes(-counted)
            raise
        published = told.checksum is not None
        return {"bytes": counted, "checksum": checksum, "checksum_published": published, "origin": origin}

    def _bring(self, file: FileSpec, target: Path) -> dict[str, Any]:
        """A file at its place, and what is known of it."""
        given = self.had.paths.get(file.name)
        if given:
            facts = self._facts(file, given, f"given: {given}")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(given, target)
            return facts

        def on_bytes(n_bytes: int) -> None:
            self.watch.bytes_came(file, n_bytes)

        if file.synapse_id and self.synapse:
            told = self.synapse.fetch(file, target, rules=self.rules, on_bytes=on_bytes)
            return self._facts(told, target, page_of(told), verified=True)
        url = fetch(file, target, rules=self.rules, on_bytes=on_bytes)
        return self._facts(file, target, url or "was there", verified=True)

    def _facts(self, file: FileSpec, path: Path, origin: str, *, verified: bool = False) -> dict[str, Any]:
        """Length and checksum for the record: the published one, else the sha256 of what came."""
        fault = None if verified else fault_of(path, file)
        if fault:
            msg = f"{path}: {fault}. It is damaged or another version; get it again."
            raise DataError(msg)
        checksum = file.checksum or f"sha256:{checksum_of(path, 'sha256')}"
        return {
            "bytes": path.stat().st_size,
            "checksum": checksum,
            "checksum_published": file.checksum is not None,
            "origin": origin,
        }

    def _choose_streaming(self, files: list[FileSpec]) -> bool:
        """Whether archives are unpacked while they come: as asked, else where the disk has no room for both."""
        if self.stream is not None:
            return self.stream
        room = shutil.disk_usage(self.staging).free - self.rules.spare_bytes
        tight = self._needed(files, kept=True) > room >= self._needed(files, kept=False)
        if tight:
            self.watch.says("the disk has no room for the archives too: they are unpacked while they come")
        return tight

    def _need_space(self, files: list[FileSpec]) -> None:
        needed = self._needed(files, kept=not self.stream)
        need_space(self.staging, needed, spare=self.rules.spare_bytes, what=self.spec.name)

    def _needed(self, files: list[FileSpec], *, kept: bool) -> int:
        """Bytes for everything and, where archives are kept, for the largest beside what it unpacks to."""
        begun = sum(part.stat().st_size for part in self.staging.rglob("*.part"))
        largest = max((file.n_bytes or 0 for file in files if file.unpack), default=0) if kept else 0
        return max(0, sum(file.n_bytes or 0 for file in files) + largest - begun)

    def _read_state(self) -> dict[str, Any]:
        try:
            content = json.loads((self.staging / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


def _bounds(file: FileSpec, n_bytes: int) -> Bounds:
    """What an archive of this length may unpack to."""
    return Bounds(n_bytes=max(_ROOM_FOR_SMALL, int(n_bytes * file.max_growth)), n_members=file.max_members)


def _merge(source: Path, target: Path) -> None:
    """Move what a folder holds into another; what an interrupted merge has moved is moved already.

    Raises:
        DataError: When both have a file of one name.
    """
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if place.is_dir() and entry.is_dir():
            _merge(entry, place)
        elif place.exists():
            msg = f"{place.name}: two archives of the dataset hold it. Please report this."
            raise DataError(msg)
        else:
            entry.replace(place)


def write_record(spec: DatasetSpec, place: Path, **facts: Any) -> None:
    """Note beside the data what it is and how it got there."""
    content = {
        "name": spec.name,
        "title": spec.title,
        "licence": spec.licence,
        "citation": spec.citation,
        "homepage": spec.homepage,
        "source": spec.source,
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **facts,
    }
    write_text_atomically(place / RECORD, json.dumps(content, indent=2) + "\n")
