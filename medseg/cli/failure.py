"""What the terminal shows of a failure."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

_VARIABLE = "MEDSEG_TRACEBACK"


def _remember(wanted: bool) -> bool:
    if wanted:
        os.environ[_VARIABLE] = "1"
    return wanted


# The option of every verb that runs a bundle; MEDSEG_TRACEBACK=1 does the same for any command.
Traceback = Annotated[
    bool, typer.Option("--traceback", help="Show the whole traceback of a failure.", callback=_remember, is_eager=True)
]


def show(error: BaseException) -> None:
    """Prints a failure to stderr: one screen, behind the whole traceback where that was asked for."""
    from medseg.bundle.screen import screen_of

    if os.environ.pop(_VARIABLE, ""):
        traceback.print_exception(type(error), error, error.__traceback__)
    sys.stderr.write("\n".join(screen_of(error)) + "\n")
