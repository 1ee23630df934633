"""Which part of a long traceback the user can mend."""

from __future__ import annotations

import errno
import re

from medseg import errors
from medseg.bundle.culprit import chain_of
from medseg.errors import DataError, MedsegError

# A loader worker sends its exception as text: the class and its line stand in the traceback it quotes.
_QUOTED = re.compile(r"^(?:\w+\.)*(\w+Error): (.+)$", re.M)
# monai.utils.module.instantiate
_REFUSED = re.compile(r"Failed to instantiate component '([\w.]+)'")
_DISK = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up", errno.EROFS: "the disk is read-only"}


def user_error(exception: BaseException) -> MedsegError | None:
    """The error behind the exception that a user can mend; None when it is a bug.

    Looks through causes, contexts and the text of exceptions from loader workers.
    """
    for link in chain_of(exception):
        if isinstance(link, MedsegError) and "\n" not in str(link):
            return link
        quoted = _quoted(str(link))
        if quoted is not None:
            return quoted
        if isinstance(link, OSError) and link.errno in _DISK:
            name = f"{link.filename}: " if link.filename else ""
            return DataError(f"{name}cannot write, {_DISK[link.errno]}. Free some space, then resume.")
        refused = _REFUSED.match(str(link))
        if refused is not None and isinstance(link.__cause__, ValueError):
            why = " ".join(str(link.__cause__).split())
            return errors.ConfigError(f"{refused[1]} refuses its arguments: {why}")
        if type(link).__name__ == "OutOfMemoryError":
            msg = "the GPU's memory is used up. Lower batch_size or roi_size, or set device=cpu."
            return errors.ConfigError(msg)
    return None


def _quoted(text: str) -> MedsegError | None:
    if "\n" not in text:
        return None
    for name, line in reversed(_QUOTED.findall(text)):
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, MedsegError):
            return kind(line)
    return None
