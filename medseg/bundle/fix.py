"""Mends what a rule can mend in a bundle's files; everything else is left to a person."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from medseg.bundle.findings import Finding, Fix
from medseg.record import write_text_atomically


def mend(root: Path, findings: Iterable[Finding]) -> list[str]:
    """Applies the findings' fixes to the files below the bundle's folder.

    A line that no longer holds what was found, or holds it twice, is left alone.

    Args:
        root: The bundle's folder.
        findings: What a check found.

    Returns:
        A line for each change: where, what stood there and what stands there now.
    """
    said: list[str] = []
    by_file: dict[str, list[Fix]] = {}
    for finding in findings:
        if finding.fix is not None:
            by_file.setdefault(finding.file, []).append(finding.fix)
    for name, fixes in by_file.items():
        path = root / name
        if path.is_file() and path.resolve().is_relative_to(root.resolve()):
            said += _mend_file(path, name, list(dict.fromkeys(fixes)))
    return said


def _mend_file(path: Path, name: str, fixes: list[Fix]) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    said: list[str] = []
    for fix in fixes:
        old = next(
            (o for o in _spellings(fix.old) if fix.line <= len(lines) and lines[fix.line - 1].count(o) == 1), None
        )
        if old is None:
            continue
        new = _written(fix.new, path, quoted=old[:1] in "'\"")
        lines[fix.line - 1] = lines[fix.line - 1].replace(old, new)
        said.append(f"{name}:{fix.line}: {old} -> {new}")
    if said:
        write_text_atomically(path, "".join(lines))
    return said


def _spellings(text: str) -> tuple[str, ...]:
    """The text as it may stand in the file, with its quotes first."""
    return f"'{text}'", f'"{text}"', f" {text}", text


def _written(new: str, path: Path, *, quoted: bool) -> str:
    """The new text, in quotes where it is an expression or a JSON text."""
    if new.startswith("$"):
        return f'"{new}"'
    if quoted and (new.startswith("_") or (path.suffix == ".json" and not _is_json(new))):
        return f'"{new}"'
    return new if quoted or path.suffix == ".json" else f" {new}"


def _is_json(text: str) -> bool:
    """Whether the text stands for a number, a boolean or null without quotes."""
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True
