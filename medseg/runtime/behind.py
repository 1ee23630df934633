"""Work that goes on behind the caller's back, one piece at a time: a case is written while the next is computed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self


class Behind:
    """A thread that does one piece of work while the caller goes on with the next.

    What was handed over is always done: when a piece fails, when the caller fails or is interrupted. Of several errors
    the one of the earliest piece is raised, in the caller's thread. A context manager, which may be entered again.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._last: Future[None] | None = None
        self._failed = False

    def __enter__(self) -> Self:
        self._pool, self._last, self._failed = ThreadPoolExecutor(1, thread_name_prefix="medseg-write"), None, False
        return self

    def hand_over(self, work: Callable[[], None]) -> None:
        """Lets the thread do it next, and waits for the piece before.

        Raises:
            Exception: What the piece before raised.
            RuntimeError: Outside of the `with`.
        """
        if self._pool is None:
            msg = "Behind: work is handed over inside its `with` only."
            raise RuntimeError(msg)
        before, self._last = self._last, self._pool.submit(work)
        self._wait_for(before)

    def catch_up(self) -> None:
        """Waits until nothing is under way.

        Raises:
            Exception: What the last piece raised.
        """
        last, self._last = self._last, None
        self._wait_for(last)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pool, self._pool = self._pool, None
        try:
            if pool is not None:
                pool.shutdown()
        finally:
            # An error of the caller's own is about a later piece; only an interrupt goes before.
            if not self._failed and (error is None or isinstance(error, Exception)):
                self.catch_up()

    def _wait_for(self, piece: Future[None] | None) -> None:
        if piece is None:
            return
        try:
            piece.result()
        except BaseException:
            self._failed = True
            raise
