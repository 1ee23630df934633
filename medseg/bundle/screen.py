"""A failure on one screen: what, in which case and file, at which key, how MONAI came there, and what to do."""

from __future__ import annotations

import sysconfig
from collections.abc import Mapping
from pathlib import Path

from medseg.bundle.compose import Composition
from medseg.bundle.culprit import Culprit, chain_of, find_culprit, target_at
from medseg.bundle.hints import hint_for
from medseg.errors import DataError, MedsegError

MAX_LINES = 15
_MOST_CHARACTERS = 600
_MOST_HOPS = 8


def explain(
    error: BaseException,
    composition: Composition | None = None,
    *,
    via: BaseException | None = None,
    log: Path | None = None,
) -> None:
    """Gives the error its screen, which `screen_of` reads; the first one is kept.

    Args:
        error: What is going to be raised.
        composition: The config that ran.
        via: What was caught, whose causes and their frames are looked through; the error itself when None.
        log: Where the whole traceback is written to.
    """
    if getattr(error, "screen", None):
        return
    lines = [f"error: {_cut(cause_of(error))}"]
    if composition is not None:
        lines += _place(find_culprit(via or error, composition.config), composition, said=lines[0])
    if not isinstance(error, MedsegError):
        lines += [f"code: {_code(error)}", f"next: {hint_for(cause_of(error))}"]
    if len(lines) > 1:
        lines.append(f"more: --traceback shows all of it{f'; it is in {log}' if log else ''}")
    error.__dict__["screen"] = lines[:MAX_LINES]


def screen_of(error: BaseException) -> list[str]:
    """The lines for the terminal, at most `MAX_LINES`."""
    explain(error)
    screen: list[str] = error.__dict__["screen"]
    return screen


def first_of(failures: Mapping[str, DataError], *, remark: str) -> DataError:
    """One error for cases that failed: the first in full, the others by name.

    Args:
        failures: What was wrong, by case id.
        remark: Put at the end.
    """
    (_, first), *others = failures.items()
    names = ", ".join(case for case, _ in others[:8]) + (", ..." if len(others) > 8 else "")
    more = f" {len(others)} more failed: {names}." if others else ""
    error = DataError(f"{first}{more} {remark}")
    error.__dict__["screen"] = [f"error: {error}", *screen_of(first)[1:]]
    return error


def cause_of(error: BaseException) -> str:
    """One line: the message for a person, or type and message of the exception that began it."""
    if isinstance(error, MedsegError):
        return " ".join(str(error).split())
    root = chain_of(error)[-1]
    text = " ".join(str(root).split())
    return f"{type(root).__name__}: {text}" if text else type(root).__name__


def _place(culprit: Culprit, composition: Composition, *, said: str) -> list[str]:
    lines = []
    if culprit.case:
        lines.append(f"case: {culprit.case}")
    if culprit.file:
        lines.append(f"file: {culprit.file}")
    if culprit.id_ is not None:
        where, target = composition.where(culprit.id_), target_at(composition.config, culprit.id_)
        lines += [] if where in said else [f"where: {where}{f' ({target})' if target else ''}"]
    if len(culprit.chain) > 1:
        hops = list(culprit.chain)
        shown = hops if len(hops) <= _MOST_HOPS else [*hops[:3], "...", *hops[-4:]]
        lines.append(f"chain: {' -> '.join(shown)}")
    return [_cut(line) for line in lines]


def _code(error: BaseException) -> str:
    """The innermost line of code, as a path below the place where packages are."""
    step = chain_of(error)[-1].__traceback__
    if step is None:
        return "unknown"
    while step.tb_next is not None:
        step = step.tb_next
    path = Path(step.tb_frame.f_code.co_filename)
    packages = Path(sysconfig.get_paths()["purelib"])
    package = Path(__file__).resolve().parents[2]
    shown = next((path.relative_to(top) for top in (packages, package) if path.is_relative_to(top)), path)
    return f"{shown}:{step.tb_lineno} in {step.tb_frame.f_code.co_name}"


def _cut(line: str) -> str:
    return line if len(line) <= _MOST_CHARACTERS else f"{line[: _MOST_CHARACTERS - 4]} ..."
