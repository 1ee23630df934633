"""Values that do not mean what they say, to YAML or to MONAI."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medseg.bundle import ids
from medseg.bundle.check_arguments import NUMBER, WORDS
from medseg.bundle.compose import CONTRACT_KEYS, Composition
from medseg.bundle.documents import Document, Trap
from medseg.bundle.findings import Finding, Fix, Found
from medseg.bundle.references import is_expression
from medseg.bundle.signatures import signature_of
from medseg.bundle.sources import NotFoundError

_SPECIAL = ("_target_", "_disabled_", "_requires_", "_desc_", "_mode_", "_meta_", "_debug_")
# A reference or macro is the whole text, or nothing.
_WHOLE = re.compile(r"[@%](::|#)*\w+((::|#)\w+)*")
_BEGINS = re.compile(r"@(\w+(?:(?:::|#)\w+)*)([^\w:#].*)", re.S)


def document_traps(document: Document, root: Path) -> Iterator[Finding]:
    """What a file's own notation hides."""
    shown = document.path.relative_to(root) if document.path.is_relative_to(root) else document.path
    for trap in document.traps:
        message, level, new = _said(trap)
        fix = Fix(trap.line, trap.text, new) if new else None
        yield Finding(f"{shown}:{trap.line}: {trap.id_}", message, level, fix)


def _said(trap: Trap) -> tuple[str, str, str]:
    text = trap.text
    if trap.kind == "twice":
        return f"the key {text!r} comes twice, and the last one silently wins. Remove one of them.", "error", ""
    if trap.kind == "number":
        plain = repr(float(text))
        better = plain if "." in plain else plain.replace("e", ".0e")
        return f"stock MONAI reads {text} as text, since YAML 1.1 wants a dot. Write {better}.", "error", better
    if trap.kind == "none":
        return "YAML reads None as the text 'None'. Write null.", "error", "null"
    if trap.kind == "switch":
        better = "true" if text.lower() in ("yes", "on", "y") else "false"
        return f"YAML reads {text} as {better}. Write {better}, or quote it to mean text.", "warning", better
    if trap.kind == "key":
        return f"YAML reads the key {text} as no text, so nothing can refer to it. Quote it.", "error", ""
    meant = "in base 8" if trap.kind == "octal" else "in base 60"
    return f"YAML reads {text} as a number {meant}. Write it plainly, or quote it.", "warning", ""


def value_traps(composition: Composition) -> Found:
    """Texts that look like something else, and special keys with a slip in them."""
    for id_, value in ids.walk(composition.config):
        key = id_.rpartition(ids.SEP)[2]
        if key.startswith("_") and key not in _SPECIAL and not _is_plain_argument(composition.config, id_, key):
            yield id_, f"{key!r} is none of MONAI's special keys: {', '.join(_SPECIAL[:5])}.", "error"
        if isinstance(value, dict) and "_target_" not in value:
            yield from _misspelt_target(id_, value)
        if isinstance(value, str):
            yield from ((id_, *said) for said in _text(key, value))


def _is_plain_argument(config: dict[str, Any], id_: str, key: str) -> bool:
    """Whether the component really has an argument with such a name."""
    parent = id_.rpartition(ids.SEP)[0]
    holder = ids.get_at(config, parent) if parent else {}
    target = holder.get("_target_") if isinstance(holder, dict) else None
    if not isinstance(target, str) or target[:1] in ("$", "@", "%"):
        return False
    try:
        return key in signature_of(target).names
    except NotFoundError:
        return False


def _misspelt_target(id_: str, value: dict[Any, Any]) -> Found:
    for key in value:
        slip = isinstance(key, str) and key.strip("_").lower() == "target" and isinstance(value[key], str)
        if slip and ("." in value[key] or value[key][:1].isupper()):
            yield f"{id_}{ids.SEP}{key}", f"{key!r} is an ordinary key. Did you mean '_target_'?", "error"


def _text(key: str, value: str) -> Iterator[tuple[str, str]]:
    word = value.strip()
    if key == "_disabled_" and word.lower() not in ("true", "false") and word[:1] not in ("$", "@", "%"):
        yield f"{value!r} is a text, and to MONAI as good as false. Write true or false.", "error"
    if word in WORDS and key != "_disabled_":
        yield f"{value!r} is a text, and as such true. Write {WORDS[word]} without quotes.", "error"
    elif key in CONTRACT_KEYS and NUMBER.fullmatch(value):
        yield f"{value!r} is a text. Write the number without quotes.", "error"
    elif value[:1] == "@" and not _WHOLE.fullmatch(value):
        begins = _BEGINS.fullmatch(value)
        better = f" Write $@{begins[1]} + {begins[2]!r}." if begins else " Write an expression with $."
        yield f"{value!r} is a text to MONAI: a reference stands alone.{better}", "error"
    elif "#" in value and _hash_is_lost(value):
        yield f"{value!r}: MONAI turns every '#' into '::'. Say it without '#'.", "error"


def _hash_is_lost(value: str) -> bool:
    """Whether a `#` is meant as such, rather than as MONAI's old separator."""
    if not is_expression(value):
        return value[:1] not in ("@", "%") or not _WHOLE.fullmatch(value)
    code = re.sub(r"@\w*((::|#)\w+)*", "_", value[1:])
    try:
        texts = [n.value for n in ast.walk(ast.parse(code.strip())) if isinstance(n, ast.Constant)]
    except (SyntaxError, ValueError, RecursionError):
        return "#" in code
    return any(isinstance(text, str) and "#" in text for text in texts) or "#" in code
