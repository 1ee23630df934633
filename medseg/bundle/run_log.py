"""What a run says: everything into its log file, medseg's own lines onto the terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NOISY = ("monai", "ignite", "torch")


class _LogFile(logging.FileHandler):
    """A log file whose own failure, a full disk above all, hides neither the run's output nor its error."""

    def emit(self, record: logging.LogRecord) -> None:
        # The file is opened at the first line, outside of what handleError guards.
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Leaves the line out; logging would print a traceback for each."""

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def run_log(path: Path | None) -> Iterator[None]:
    """Sends logging and warnings to a file, and the logger `medseg` to stderr too.

    Args:
        path: The file, appended to; None for the silent ranks of a distributed run.
    """
    root, own = logging.getLogger(), logging.getLogger("medseg")
    before = root.level, own.level
    handlers: list[tuple[logging.Logger, logging.Handler]] = []
    if path is not None:
        file = _LogFile(path, encoding="utf-8", delay=True)
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        terminal = logging.StreamHandler(sys.stderr)
        terminal.setFormatter(logging.Formatter("%(message)s"))
        handlers = [(root, file), (own, terminal)]
    else:
        handlers = [(root, logging.NullHandler())]
    for logger, handler in handlers:
        logger.addHandler(handler)
    root.setLevel(logging.INFO)
    own.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(before[0])
        own.setLevel(before[1])
        for logger, handler in handlers:
            logger.removeHandler(handler)
            handler.close()


def silence_libraries() -> None:
    """Takes the terminal handlers from MONAI's and Ignite's loggers; what they say reaches the log file."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _NOISY:
            for handler in list(logger.handlers):
                if type(handler) is logging.StreamHandler:
                    logger.removeHandler(handler)
            logger.propagate = True
