"""A file that is read while it comes, for unpacking without a copy of the archive on the disk.

It is resumed by Range when the connection breaks, taken from the next mirror when one gives up, paced like any other
transfer, and hashed as it passes. What is made of it has to wait for `finish`: only there its length and checksum are
known to be right.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType

from medseg.datasets.connection import Answer, Broken, Failure, Passing, open_url
from medseg.datasets.specs import FileSpec
from medseg.datasets.transfer import Pace, Rules, Stopped, host_of, total_of
from medseg.errors import DataError

_CHUNK = 1 << 18
_MOST_TAIL_BYTES = 1 << 26  # a zip's directory of 250,000 entries has some 40 MB


class NotStreamable(Exception):
    """The server cannot serve this file so that it is read while it comes: take it whole."""


class Incoming:
    """A file on the web, to be read once from its beginning to its end.

    While `scanning` is set it may be read anywhere, for the directory at the end of a zip; what is read so is kept and
    compared with the bytes that come in their turn.

    Args:
        file: What it is and where it comes from.
        rules: How patient to be.
        on_bytes: Told of each block that arrives.
    """

    def __init__(self, file: FileSpec, *, rules: Rules, on_bytes: Callable[[int], object]) -> None:
        self.file = file
        self.rules = rules
        self.on_bytes = on_bytes
        self.position = 0  # where the reader is
        self.offset = 0  # what has come in its turn
        self.scanning = False
        algorithm = (file.checksum or "sha256:").partition(":")[0]
        self.digest = hashlib.new(algorithm, usedforsecurity=False)
        self.mirrors = list(file.urls)
        self.reasons: list[str] = []
        self.validator = ""
        self.ahead = b""  # came in its turn, not yet read
        self.tail = b""
        self.open = ExitStack()
        self.answer: Answer | None = None
        self.failures, self.since = 0, 0
        self._connect_first()

    @property
    def tail_start(self) -> int:
        """Where what is kept of the end begins."""
        return self.total - len(self.tail)

    def __enter__(self) -> Incoming:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connection."""
        self.open.close()
        self.answer = None

    def seekable(self) -> bool:
        """For zipfile, which seeks to where it is or further on."""
        return True

    def tell(self) -> int:
        """Where the reader is."""
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the reader."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.total}[whence]
        self.position = max(0, base + offset)
        return self.position

    def peek(self, n_bytes: int) -> bytes:
        """The first bytes, before anything is read."""
        while len(self.ahead) < n_bytes and (block := self._pull()):
            self.ahead += block
        return self.ahead[:n_bytes]

    def read(self, n_bytes: int = -1) -> bytes:
        """So many bytes, fewer at the end of the file.

        Raises:
            DataError: When no address gives them, or the reader has gone back.
            NotStreamable: When the end is wanted first and the server gives no parts.
        """
        wanted = min(n_bytes, self.total - self.position) if n_bytes >= 0 else self.total - self.position
        if wanted <= 0:
            return b""
        if self.scanning and self.position < self.tail_start:
            self._fetch_tail(self.position)
        if self.tail and self.position >= self.tail_start:
            begin = self.position - self.tail_start
            self.position += wanted
            return self.tail[begin : begin + wanted]
        return self._read_in_turn(wanted)

    def finish(self) -> str:
        """Take the rest in, and check the whole.

        Returns:
            Its checksum, as in `FileSpec`.

        Raises:
            DataError: When the length or the checksum is not the published one.
        """
        while self._pull():
            pass
        self.close()
        got = self.digest.hexdigest()
        wanted = self.file.checksum.partition(":")[2].lower() if self.file.checksum else got
        if got != wanted:
            msg = f"{self.file.name}: its {self.digest.name} is {got}, {wanted} is published. Get it again."
            raise DataError(msg)
        return f"{self.digest.name}:{got}"

    def _read_in_turn(self, wanted: int) -> bytes:
        start = self.offset - len(self.ahead)
        if self.position < start:
            msg = f"{self.file.name}: its entries do not follow each other. Fetch it without --stream."
            raise DataError(msg)
        while start < self.position:  # what lies between two entries
            step = min(len(self.ahead), self.position - start)
            self.ahead, start = self.ahead[step:], start + step
            if start < self.position and not self.ahead:
                self.ahead = self._pull()
        parts, missing = [], wanted
        while missing:
            block = self.ahead or self._pull()
            self.ahead = block[missing:]
            parts.append(block[:missing])
            missing -= len(parts[-1])
        self.position += wanted
        return b"".join(parts)

    def _pull(self) -> bytes:
        """The next block in its turn; empty at the end.

        Raises:
            DataError: When no address gives it, or it is not what came of the end before.
        """
        while self.offset < self.total:
            if self.rules.stop.is_set():
                msg = f"{self.file.name}: stopped. "
                raise Stopped(msg)
            try:
                block = self._receive()
            except Passing as failure:
                self._again(failure)
            except Broken as failure:
                self._next_mirror(failure)
            else:
                self._check_against_tail(block)
                self.digest.update(block)
                self.offset += len(block)
                self.on_bytes(len(block))
                return block
        return b""

    def _receive(self) -> bytes:
        answer = self.answer or self._connect(self.offset)
        block = answer.read(min(_CHUNK, self.total - self.offset))
        if not block:
            msg = f"the connection ended after {self.offset} of {self.total} bytes"
            raise Passing(msg)
        self.pace.add(len(block))
        return block

    def _connect_first(self) -> None:
        """Learn the length; the connection stays open for the first bytes."""
        while True:
            try:
                answer = self._connect(0)
                total = total_of(answer, self.file)
                break
            except Passing as failure:
                self._again(failure)
            except Broken as failure:
                self._next_mirror(failure)
        if total is None:
            self.close()
            raise NotStreamable
        self.total, self.validator = total, answer.validator

    def _connect(self, offset: int) -> Answer:
        """An answer that begins at this byte.

        Raises:
            Failure: When the address does not give it.
        """
        self.close()
        if offset and not (self.file.checksum or self.validator):
            msg = "the connection broke, and nothing would tell another version's bytes"
            raise Broken(msg)
        validator = "" if self.file.checksum else self.validator
        opened = open_url(
            self.mirrors[0],
            offset=offset,
            validator=validator if offset else "",
            timeout_s=self.rules.timeout_s,
            hosts=self.rules.plain_http_hosts,
        )
        answer = self.open.enter_context(opened)
        if offset:
            self._check_continues(answer, offset)
        self.answer, self.pace = answer, Pace(self.rules)
        return answer

    def _check_continues(self, answer: Answer, offset: int) -> None:
        """Refuse another version; skip what has come where the server gives no parts."""
        if answer.finished or (answer.offset == 0 and not self.file.checksum):
            msg = "the file has changed on the server"
            raise Broken(msg)
        if total_of(answer, self.file) not in (None, self.total) or answer.offset not in (0, offset):
            msg = f"byte {offset} of {self.total} was asked for and did not come"
            raise Passing(msg)
        skip = offset - answer.offset
        while skip:
            block = answer.read(min(_CHUNK, skip))
            if not block:
                msg = "the connection ended early"
                raise Passing(msg)
            skip -= len(block)

    def _fetch_tail(self, start: int) -> None:
        """Keep the end of the file from this byte on.

        Raises:
            NotStreamable: When the server gives no part, or too much is wanted.
        """
        if self.total - start > _MOST_TAIL_BYTES:
            raise NotStreamable
        for attempt in range(self.rules.attempts):
            try:
                self.tail = self._part(start, self.tail_start - start) + self.tail
                return
            except Passing as failure:
                self.rules.pause(failure, self.rules.backoff_s * 2**attempt, file=self.file, url=self.mirrors[0])
            except Broken as failure:
                raise NotStreamable from failure
        raise NotStreamable

    def _part(self, start: int, n_bytes: int) -> bytes:
        """So many bytes from the middle of the file.

        Raises:
            Failure: When the address does not give them.
        """
        hosts, timeout_s = self.rules.plain_http_hosts, self.rules.timeout_s
        part = bytearray()
        with open_url(self.mirrors[0], offset=start, validator="", timeout_s=timeout_s, hosts=hosts) as answer:
            if answer.offset != start or answer.finished:
                msg = "it gives no parts of a file"
                raise Broken(msg)
            while len(part) < n_bytes:
                block = answer.read(min(_CHUNK, n_bytes - len(part)))
                if not block:
                    msg = "the connection ended early"
                    raise Passing(msg)
                part += block
        return bytes(part)

    def _check_against_tail(self, block: bytes) -> None:
        begin = max(self.offset, self.tail_start)
        end = self.offset + len(block)
        if self.tail and begin < end:
            kept = self.tail[begin - self.tail_start : end - self.tail_start]
            if kept != block[begin - self.offset :]:
                msg = f"{self.file.name}: its end came differently a second time. Get it again."
                raise DataError(msg)

    def _again(self, failure: Passing) -> None:
        """Wait before the next attempt at this address, or leave it for the next."""
        self.close()
        self.failures = 1 if self.offset - self.since >= self.rules.progress_bytes else self.failures + 1
        self.since = self.offset
        if self.failures >= self.rules.attempts or (failure.wait_s or 0) > self.rules.longest_wait_s:
            self._next_mirror(failure)
        else:
            wait_s = self.rules.backoff_s * 2 ** (self.failures - 1)
            self.rules.pause(failure, wait_s, file=self.file, url=self.mirrors[0])

    def _next_mirror(self, failure: Failure) -> None:
        """Go to the next address.

        Raises:
            DataError: When there is none, or nothing would tell whether it has the same bytes.
        """
        self.close()
        self.reasons.append(f"{host_of(self.mirrors.pop(0))}: {failure}")
        self.failures, self.validator = 0, self.validator if self.offset else ""
        if not self.mirrors or (self.offset and not self.file.checksum):
            told = "; ".join(self.reasons)
            msg = f"{self.file.name}: no address gave it ({told}). Try again later, or use --from."
            raise DataError(msg)
