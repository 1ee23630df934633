"""A dataset onto its shelf: fetched, verified, unpacked, and given its name only when it is whole."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from medseg.datasets.archive import Bounds, unpack
from medseg.datasets.cases import find_cases
from medseg.datasets.given import Given, read_given
from medseg.datasets.part import fault_of, need_space
from medseg.datasets.shelf import RECORD, checksum_of, read_record, shelf_of, staging_of
from medseg.datasets.specs import DatasetSpec, FileSpec
from medseg.datasets.synapse import Synapse, open_synapse, page_of
from medseg.datasets.transfer import Rules, Stopped, fetch
from medseg.errors import DataError
from medseg.record import write_text_atomically

_ROOM_FOR_SMALL = 1 << 26  # the published lengths of some small archives are not known


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Told of what happens, from several threads: each of these does nothing unless given."""

    begins: Callable[[FileSpec], None] = lambda _: None
    bytes_came: Callable[[FileSpec, int], None] = lambda _, __: None
    unpacks: Callable[[FileSpec], None] = lambda _: None
    ends: Callable[[FileSpec], None] = lambda _: None
    says: Callable[[str], None] = lambda _: None


def get_dataset(
    spec: DatasetSpec,
    folder: Path | None = None,
    *,
    given: Path | None = None,
    rules: Rules | None = None,
    jobs: int = 4,
    watch: Watch | None = None,
) -> Path:
    """Bring a dataset to its folder; at once when it is there.

    Args:
        spec: The dataset.
        folder: Where to, None for its shelf in `data_home()`.
        given: A folder or an archive that the user has already. Archives and files of the dataset in it are verified
            and unpacked, the rest is fetched; a folder of scans stays where it is and is only noted.
        rules: How patient the transfers are.
        jobs: Files fetched at a time.
        watch: Told of what happens.

    Returns:
        The folder that holds the data: `folder`, or the given folder of scans.

    Raises:
        DataError: When it cannot be had. What has come is kept beside the folder, for the next call.
    """
    folder, watch = (folder or shelf_of(spec.name)).absolute(), watch or Watch()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder, watch):
            return _get(spec, folder, given, replace(rules or Rules(), stop=threading.Event()), jobs, watch)
    except OSError as error:
        msg = f"{folder}: {error.strerror or error}. Choose another place with --out or MEDSEG_DATA, or mend this one."
        raise DataError(msg) from error


def _get(spec: DatasetSpec, folder: Path, given: Path | None, rules: Rules, jobs: int, watch: Watch) -> Path:
    record = read_record(folder)
    if record and not _outdated(record, given):
        return _present(spec, folder, record)
    if record:
        (folder / RECORD).unlink()
    _refuse_other_content(folder)
    if given is None and not spec.files:
        msg = f"{spec.name}: not openly hosted. To get it, {spec.apply}; then give it with --from FOLDER_OR_ARCHIVE."
        raise DataError(msg)
    had = read_given(spec, given) if given else Given()
    on_synapse = [file for file in spec.files if file.synapse_id and file.name not in had.paths]
    synapse = open_synapse(spec) if on_synapse and not (had.scans or had.files) else None
    if had.scans:
        folder.mkdir(exist_ok=True)
        _write_record(spec, folder, folder=str(had.scans), files={})
        return had.scans
    fetching = _Fetching(spec, staging_of(folder), had, rules, watch, synapse)
    try:
        fetching.run(jobs)
        fetching.finish(folder)
    finally:
        if not any(path.is_file() for path in fetching.staging.rglob("*")):
            shutil.rmtree(fetching.staging, ignore_errors=True)
    return folder


def _present(spec: DatasetSpec, folder: Path, record: dict[str, Any]) -> Path:
    if record.get("name") != spec.name:
        msg = f"{folder}: holds {record.get('name')}, not {spec.name}. Choose another folder with --out."
        raise DataError(msg)
    return Path(record.get("folder") or folder)


def _outdated(record: dict[str, Any], given: Path | None) -> bool:
    """Whether a noted folder of scans is gone, or another is given now."""
    noted = record.get("folder")
    return noted is not None and (given is not None or not Path(noted).is_dir())


def _refuse_other_content(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = f"{folder}: holds something else. Choose a new or empty folder with --out."
        raise DataError(msg)


@contextmanager
def _alone(folder: Path, watch: Watch) -> Iterator[None]:
    """Only one process at a time gets the dataset of a folder; the next finds it there."""
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        watch.says(f"another process is fetching {folder.name}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@dataclass
class _Fetching:
    """The files of a dataset on their way: `staging/content`, `staging/archives`, `staging/unpacked`, `state.json`."""

    spec: DatasetSpec
    staging: Path
    had: Given
    rules: Rules
    watch: Watch
    synapse: Synapse | None = None
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
        _write_record(self.spec, content, files=self.done)
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
            find_cases(content, modalities=self.spec.modalities)
        except DataError:
            shutil.rmtree(self.staging, ignore_errors=True)
            raise

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
        facts = self._facts(file, given, f"given: {given}") if given else self._bring(file, archive)
        self.watch.unpacks(file)
        shutil.rmtree(folder, ignore_errors=True)
        need_space(self.staging, facts["bytes"], spare=self.rules.spare_bytes, what=f"unpacking {file.name}")
        bounds = Bounds(n_bytes=max(_ROOM_FOR_SMALL, int(facts["bytes"] * file.max_growth)), n_members=file.max_members)
        unpack(given or archive, folder, bounds=bounds)
        archive.unlink(missing_ok=True)
        return facts

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

    def _need_space(self, files: list[FileSpec]) -> None:
        """Room for everything, and for the largest archive beside what it unpacks to."""
        sizes = [file.n_bytes or 0 for file in files]
        begun = sum(part.stat().st_size for part in self.staging.rglob("*.part"))
        needed = sum(sizes) + max((file.n_bytes or 0 for file in files if file.unpack), default=0) - begun
        need_space(self.staging, max(0, needed), spare=self.rules.spare_bytes, what=self.spec.name)

    def _read_state(self) -> dict[str, Any]:
        try:
            content = json.loads((self.staging / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


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


def _write_record(spec: DatasetSpec, place: Path, **facts: Any) -> None:
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
