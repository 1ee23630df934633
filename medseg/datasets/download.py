"""A dataset onto its shelf: fetched, verified, unpacked, and given its name only when it is whole."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from medseg.datasets.fetching import Fetching, write_record
from medseg.datasets.given import Given, read_given
from medseg.datasets.shelf import RECORD, read_record, shelf_of, staging_of
from medseg.datasets.specs import DatasetSpec
from medseg.datasets.synapse import open_synapse
from medseg.datasets.transfer import Rules
from medseg.datasets.watch import Watch
from medseg.errors import DataError


def get_dataset(
    spec: DatasetSpec,
    folder: Path | None = None,
    *,
    given: Path | None = None,
    rules: Rules | None = None,
    jobs: int = 4,
    stream: bool | None = None,
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
        stream: Unpack archives while they come, without keeping them: half the disk, but an archive that a stopped
            run left half way comes anew. None does so only where the disk has no room for both.
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
            rules = replace(rules or Rules(), stop=threading.Event(), says=watch.says)
            return _get(spec, folder, given, rules, jobs, stream, watch)
    except OSError as error:
        msg = f"{folder}: {error.strerror or error}. Choose another place with --out or MEDSEG_DATA, or mend this one."
        raise DataError(msg) from error


def _get(
    spec: DatasetSpec, folder: Path, given: Path | None, rules: Rules, jobs: int, stream: bool | None, watch: Watch
) -> Path:
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
        write_record(spec, folder, folder=str(had.scans), files={})
        return had.scans
    fetching = Fetching(spec, staging_of(folder), had, rules, watch, synapse, stream)
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
