"""Processes that prepare scans: one bad scan stops no other, Ctrl-C lets those under way finish, none is orphaned."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path

from medseg.datasets.prepared_scan import prepare_scan
from medseg.errors import DataError, MedsegError
from medseg.kernels.resample import Triple
from medseg.volumes import volume_suffix
from medseg.volumes.metaimage_files import read_header


@dataclass(frozen=True, kw_only=True)
class Task:
    """A scan to prepare."""

    case_id: str
    source: Path
    target: Path
    spacing_mm: Triple


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a task.

    Attributes:
        case_id: The scan.
        target: Its file.
        source: Name, bytes and time of change of each source file, as they were before the first was read.
        old_shape: Voxels of the source.
        shape: Voxels written.
        n_bytes: Bytes of the target.
        seconds: Wall time, reading and writing included.
        error: Why it failed; empty when it did not.
    """

    case_id: str
    target: Path
    source: list[list[str | int]]
    old_shape: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    n_bytes: int = 0
    seconds: float = 0.0
    error: str = ""

    @property
    def done(self) -> bool:
        """Whether the file is there."""
        return not self.error


def fingerprint(path: Path) -> list[list[str | int]]:
    """Name, bytes and time of change (ns) of a scan's files: of a .mhd also those of its voxels.

    Raises:
        DataError: When the header of a .mhd is damaged.
        OSError: When a file is missing.
    """
    files = [path]
    if volume_suffix(path) == ".mhd":
        files.append(read_header(path).data)
    facts = [(file.name, file.stat()) for file in dict.fromkeys(files)]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in facts]


def run_tasks(tasks: Sequence[Task], *, workers: int, take: Callable[[Outcome], None]) -> None:
    """Do the tasks in so many processes, and hand over each outcome as it comes.

    When this is interrupted, tasks under way are finished and handed over, and the others are left.

    Args:
        tasks: In the order in which they are begun.
        workers: How many processes; with 1 the work is done in this one.
        take: Called in this process.

    Raises:
        DataError: When the system ended a worker.
    """
    if workers <= 1:
        for task in tasks:
            take(do_task(task))
        return
    # Not forked: a fork of a process with threads can hang.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    with _deaf_to_interrupts():
        left = {pool.submit(do_task, task) for task in tasks}
    try:
        for future in as_completed(list(left)):
            take(future.result())
            left.discard(future)
    except BrokenProcessPool as error:
        msg = "a worker was ended by the system, most likely for memory. Run it again with fewer --workers."
        raise DataError(msg) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for future in left:
            if future.done() and not future.cancelled() and not future.exception():
                take(future.result())


def do_task(task: Task) -> Outcome:
    """Prepare one scan; what is wrong with it is told in the outcome."""
    start = time.perf_counter()
    try:
        source = fingerprint(task.source)
    except (OSError, DataError):
        source = []  # the reader below says it better
    try:
        made = prepare_scan(task.source, task.target, spacing_mm=task.spacing_mm)
        n_bytes = task.target.stat().st_size
    except (MedsegError, OSError, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        seconds = time.perf_counter() - start
        return Outcome(case_id=task.case_id, target=task.target, source=source, seconds=seconds, error=reason)
    return Outcome(
        case_id=task.case_id,
        target=task.target,
        source=source,
        old_shape=made.old_shape,
        shape=made.shape,
        n_bytes=n_bytes,
        seconds=time.perf_counter() - start,
    )


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """What is started here ignores Ctrl-C from its first moment on; only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _start_worker() -> None:
    """Ctrl-C is the parent's to answer; when the parent is gone, so is the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent:
        parent.join()
        os._exit(1)
