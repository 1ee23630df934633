"""What a check finds, where, how bad it is, and whether it can be mended by a rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Fix:
    """A change of one line of a file that keeps its meaning to the reader.

    Attributes:
        line: Line number, from 1.
        old: What stands there.
        new: What is meant.
    """

    line: int
    old: str
    new: str


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        where: File, line and key.
        message: What is wrong and what to do.
        level: `error` when it cannot run or does not do what it says, `warning` when somebody will stumble over it,
            `note` for what is known and cannot be helped.
        fix: The change that mends it, if a rule can.
    """

    where: str
    message: str
    level: str = "error"
    fix: Fix | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"

    @property
    def file(self) -> str:
        """The file that it is in, relative to the bundle where that is possible."""
        return self.where.partition(": ")[0].partition(":")[0]


def printable(text: str) -> str:
    r"""The text with everything escaped that could hide or move other text on a terminal.

    >>> printable("calls os.system\x1b[2K")
    'calls os.system\\x1b[2K'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# Id, message, level: the id is turned into file and line by whoever knows the files.
Found = Iterator[tuple[str, str, str]]
