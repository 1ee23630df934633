"""Logging configs among a bundle's files, which `python -m monai.bundle` has evaluated by `logging.config`."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator
from pathlib import Path

from medseg.bundle import ids
from medseg.bundle.documents import read_document
from medseg.errors import ConfigError

_CLASSES = frozenset(
    f"{prefix}{name}"
    for name in ("StreamHandler", "FileHandler", "NullHandler", "Formatter")
    for prefix in ("", "logging.")
)
_STREAMS = ("sys.stdout", "sys.stderr")
_EVALUATED = ("args", "kwargs")
_STRUCTURED = (".json", ".yaml", ".yml")


def logging_powers(root: Path) -> Iterator[tuple[str, str]]:
    """Where and what, for each line of a logging config that makes more than plain handlers."""
    for path in sorted((root / "configs").rglob("*")):
        if "log" not in path.stem.lower() and path.suffix not in (".conf", ".ini", ".cfg"):
            continue
        shown = path.relative_to(root)
        if path.suffix in (".conf", ".ini", ".cfg"):
            yield from ((f"{shown}{line}", what) for line, what in _ini(path))
        elif path.suffix in _STRUCTURED and path.is_file():
            yield from ((f"{shown}{line}", what) for line, what in _structured(path))


def _ini(path: Path) -> Iterator[tuple[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        text = path.read_text(encoding="utf-8")
        parser.read_string(text)
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        yield "", f"cannot be read ({error.__class__.__name__})"
        return
    for section in parser.sections():
        for key, value in parser.items(section):
            if not _is_harmless(key, value):
                spot = re.search(
                    rf"^\s*{re.escape(key)}\s*[=:]\s*{re.escape(value.splitlines()[0])}", text, re.M | re.I
                )
                line = f":{text.count(chr(10), 0, spot.start()) + 1}" if spot else ""
                yield line, f"[{section}] {key}={value.strip()} is evaluated by a logging config"


def _is_harmless(key: str, value: str) -> bool:
    if key == "class":
        return value.strip() in _CLASSES
    return key not in _EVALUATED or _is_literal(value)


def _is_literal(text: str) -> bool:
    for stream in _STREAMS:
        text = text.replace(stream, "None")
    try:
        ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


def _structured(path: Path) -> Iterator[tuple[str, str]]:
    try:
        document = read_document(path)
    except ConfigError as error:
        yield "", f"cannot be read ({error})"
        return
    for id_, value in ids.walk(document.content):
        last = id_.rpartition(ids.SEP)[2]
        odd_class = last == "class" and str(value) not in _CLASSES
        if last == "()" or odd_class or (isinstance(value, str) and value.startswith(("cfg://", "ext://"))):
            line = f":{document.lines[id_]}" if id_ in document.lines else ""
            yield line, f"{id_}: {value!r} is resolved by a logging config"
