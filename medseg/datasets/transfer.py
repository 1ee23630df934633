"""One file from the web to its name: resumed by Range, from several mirrors, verified before it is named.

What is under the file's own name is always the right file. What has come so far is under `<name>.part`;
`<name>.part.json` says from which address and version it came, so that no other version's bytes are glued to it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from medseg.datasets.connection import Answer, Broken, Failure, Passing, open_url
from medseg.datasets.part import Part, appending, fault_of, need_space
from medseg.datasets.specs import FileSpec
from medseg.errors import DataError

_CHUNK = 1 << 18
_SPACE_EVERY = 1 << 26


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How patient a transfer is.

    Attributes:
        attempts: Failures in a row at one address before the next is tried; a failure after `progress_bytes` does not
            count.
        timeout_s: Longest silence of a server.
        backoff_s: Wait after the first failure; it doubles, up to `longest_wait_s`.
        longest_wait_s: A server that asks for more is left for the next mirror.
        slowest_bytes_per_s: A connection slower than this over `slow_window_s` is dropped and made anew.
        progress_bytes: Bytes that make an attempt worth while.
        spare_bytes: Disk space that stays free.
        plain_http_hosts: Hosts that may be asked without TLS: none, but for tests.
        wait: How to wait; it returns early when `stop` is set.
        says: Told of each failure that is waited out: a busy server may ask for minutes.
        stop: Set it to end every transfer under these rules; the parts are kept.
    """

    attempts: int = 6
    timeout_s: float = 60.0
    backoff_s: float = 1.0
    longest_wait_s: float = 600.0
    slowest_bytes_per_s: float = 1024.0
    slow_window_s: float = 60.0
    progress_bytes: int = 1 << 20
    spare_bytes: int = 1 << 28
    plain_http_hosts: frozenset[str] = frozenset()
    stop: threading.Event = field(default_factory=threading.Event)
    wait: Callable[[float], object] | None = None
    says: Callable[[str], object] = lambda _: None

    def pause(self, failure: Passing, wait_s: float, *, file: FileSpec, url: str) -> None:
        """Wait as long as the server asks for, else so long, unless stopped."""
        seconds = min(wait_s if failure.wait_s is None else failure.wait_s, self.longest_wait_s)
        self.says(f"{file.name}: {host_of(url)}: {failure}; trying again in {seconds:.0f} s")
        (self.wait or self.stop.wait)(seconds)


class Stopped(DataError):
    """The transfer was asked to end; its part is kept."""


def fetch(
    file: FileSpec, target: Path, *, rules: Rules | None = None, on_bytes: Callable[[int], None] | None = None
) -> str:
    """Bring a file to its place.

    Args:
        file: What it is and where it comes from.
        target: The path it gets once it is verified. A right file that is there already is kept.
        rules: How patient to be.
        on_bytes: Told of each block that arrives, and of what was there before; a negative number takes bytes back.

    Returns:
        The address it came from; empty when it was there.

    Raises:
        DataError: When no address gives the right file, or the disk is full. What has come is kept for the next try,
            unless it is known to be wrong.
    """
    rules = rules or Rules()
    if target.is_file() and fault_of(target, file) is None:
        _tell(on_bytes, target.stat().st_size)
        return ""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return _from_any(Part(file, target, on_bytes or (lambda _: None)), rules)
    except OSError as error:
        msg = f"{target}: {error.strerror or error}. Free some space or mend the folder, then run it again."
        raise DataError(msg) from error


def _from_any(part: Part, rules: Rules) -> str:
    """The whole file from the first address that gives it."""
    file, reasons = part.file, []
    for url in file.urls:
        try:
            _from_one(url, part, rules)
        except Failure as failure:
            reasons.append(f"{host_of(url)}: {failure}")
            continue
        return url
    msg = f"{file.name}: no address gave it ({'; '.join(reasons)}). {part.kept()}Try again later, or use --from."
    raise DataError(msg)


def _from_one(url: str, part: Part, rules: Rules) -> None:
    """The whole file from one address.

    Raises:
        Failure: When the address does not give it.
    """
    file, failures, wrong = part.file, 0, 0
    while True:
        before = part.size
        try:
            _attempt(url, part, rules)
        except Passing as failure:
            failures = 1 if part.size - before >= rules.progress_bytes else failures + 1
            if failures >= rules.attempts or (failure.wait_s or 0) > rules.longest_wait_s:
                raise Broken(str(failure)) from failure
            rules.pause(failure, rules.backoff_s * 2 ** (failures - 1), file=file, url=url)
            continue
        fault = fault_of(part.path, part.file)
        if fault is None:
            part.name()
            return
        # Bytes of an earlier run or of another mirror may be to blame: once more from the beginning.
        glued, wrong = part.answers > 1, wrong + 1
        part.drop()
        if not glued or wrong > 1:
            raise Broken(fault)


def _attempt(url: str, part: Part, rules: Rules) -> None:
    """One connection: from where the part ends to the end of the file."""
    if rules.stop.is_set():
        msg = f"{part.file.name}: stopped. {part.kept()}"
        raise Stopped(msg)
    if part.path.exists() and part.size == part.file.n_bytes:
        return
    validator = part.resumable(url)
    offset = 0 if validator is None else part.size
    opened = open_url(
        url, offset=offset, validator=validator or "", timeout_s=rules.timeout_s, hosts=rules.plain_http_hosts
    )
    with opened as answer:
        if answer.finished and (answer.total == offset or (answer.total is None and part.file.checksum)):
            return
        if answer.finished or answer.offset not in (0, offset):
            part.drop()
            msg = f"byte {offset} was asked for and did not come"
            raise Passing(msg)
        total = total_of(answer, part.file)
        if answer.offset == 0:
            part.begin(url, answer)
        part.answers += 1
        need_space(part.path.parent, max(0, (total or 0) - part.size), spare=rules.spare_bytes, what=part.file.name)
        _copy(answer, part, rules, total=total)


def total_of(answer: Answer, file: FileSpec) -> int | None:
    """The length of the whole file.

    Raises:
        Broken: When the server's is not the published one, or nothing could tell a cut file.
    """
    if file.n_bytes is not None and answer.total is not None and answer.total != file.n_bytes:
        msg = f"the server has {answer.total} bytes, {file.n_bytes} are published"
        raise Broken(msg)
    total = answer.total if file.n_bytes is None else file.n_bytes
    if total is None and file.checksum is None and not answer.chunked:
        msg = "the server tells no length and no checksum is published, so a cut file could not be told"
        raise Broken(msg)
    return total


def _copy(answer: Answer, part: Part, rules: Rules, *, total: int | None) -> None:
    """Append what comes.

    Raises:
        Passing: When the connection ends early or is too slow.
        Broken: When more comes than the file has.
        DataError: When the disk is full or the transfer is stopped.
    """
    done, pace = part.size, Pace(rules)
    with appending(part) as stream:
        while block := answer.read(_CHUNK):
            if rules.stop.is_set():
                msg = f"{part.file.name}: stopped. {part.kept()}"
                raise Stopped(msg)
            if total is not None and done + len(block) > total:
                break
            stream.write(block)
            part.on_bytes(len(block))
            if total is not None and (done + len(block)) // _SPACE_EVERY > done // _SPACE_EVERY:
                need_space(part.path.parent, total - done, spare=rules.spare_bytes, what=part.file.name)
            done += len(block)
            pace.add(len(block))
    if block:
        part.drop()
        msg = f"more than {total} bytes came"
        raise Broken(msg)
    end = answer.end if total is None else total
    if end is not None and done < end:
        msg = f"the connection ended after {done} of {end} bytes"
        raise Passing(msg)


class Pace:
    """Drops connections that drip."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.began, self.n_bytes = time.monotonic(), 0

    def add(self, n_bytes: int) -> None:
        """Count what came.

        Raises:
            Passing: When too little came in the last window.
        """
        self.n_bytes += n_bytes
        elapsed = time.monotonic() - self.began
        if elapsed < self.rules.slow_window_s:
            return
        if self.n_bytes < self.rules.slowest_bytes_per_s * elapsed:
            msg = f"only {self.n_bytes / elapsed:.0f} bytes a second came"
            raise Passing(msg)
        self.began, self.n_bytes = time.monotonic(), 0


def host_of(url: str) -> str:
    """The host, for people."""
    return urlsplit(url).hostname or url


def _tell(on_bytes: Callable[[int], None] | None, n_bytes: int) -> None:
    if on_bytes:
        on_bytes(n_bytes)
