"""Values that do not mean what they say, to YAML or to MONAI."""

from __future__ import annotations

import ast
import difflib
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from medseg.bundle import ids
from medseg.bundle.compose import CONTRACT_KEYS, Composition
from medseg.bundle.documents import Document, Trap
from medseg.bundle.findings import Finding, Fix, Found
from medseg.bundle.references import is_expression
from medseg.bundle.signatures import signature_of
from medseg.bundle.sources import NotFoundError

_SPECIAL = ("_target_", "_disabled_", "_requires_", "_desc_", "_mode_", "_meta_", "_debug_")
# Not "none": some options are called so.
_WORDS = {"true": "true", "True": "true", "false": "false", "False": "false", "None": "null", "null": "null"}
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
# A reference or macro is the whole text, or nothing.
_WHOLE = re.compile(r"[@%](::|#)*\w+((::|#)\w+)*")
_BEGINS = re.compile(r"@(\w+(?:(?:::|#)\w+)*)([^\w:#].*)", re.S)
_SIMPLE: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
_SEQUENCES = ("Sequence", "list", "List", "tuple", "Tuple", "Collection", "Iterable")


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


def misspelt_keys(composition: Composition) -> Found:
    """Keys of items that one transform alone uses, a slip away from a key that others use."""
    uses = [
        (f"{id_}{ids.SEP}{name}", key)
        for id_, value in ids.walk(composition.config)
        if ids.is_component(value)
        for name in value
        if name == "keys" or name.endswith(("_key", "_keys"))
        for key in (value[name] if isinstance(value[name], list) else [value[name]])
        if isinstance(key, str) and key.isidentifier()
    ]
    # Lists of keys that several transforms share.
    uses += [
        (name, key)
        for name, value in composition.config.items()
        if name.endswith("_keys") and isinstance(value, list)
        for key in value
        if isinstance(key, str) and key.isidentifier()
    ]
    counts = Counter(key for _, key in uses)
    for id_, key in uses:
        others = [k for k, n in counts.items() if n > 1 and k.isalpha() and k.rstrip("s") != key.rstrip("s")]
        once = counts[key] == 1 and key.isalpha()
        swapped = [k for k in others if sorted(k) == sorted(key)]  # letters in another order
        close = (swapped or difflib.get_close_matches(key, others, n=1, cutoff=0.8)) if once else []
        if close:
            yield id_, f"no other transform knows the key {key!r}. Did you mean {close[0]!r}?", "error"


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
    if word in _WORDS and key != "_disabled_":
        yield f"{value!r} is a text, and as such true. Write {_WORDS[word]} without quotes.", "error"
    elif key in CONTRACT_KEYS and _NUMBER.fullmatch(value):
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


def argument_kinds(target: str, component: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Arguments whose value is plainly of another kind than the source's annotation asks for."""
    try:
        annotations = dict(signature_of(target).annotations)
    except NotFoundError:
        return
    for name, value in component.items():
        wanted = annotations.get(name)
        if wanted is not None and not _fits(_parts(wanted), value):
            yield name, f"{target} takes {name}: {wanted}, not {value!r}."


@cache
def _parts(annotation: str) -> list[str]:
    try:
        tree = ast.parse(annotation.strip("'\""), mode="eval").body
    except SyntaxError:
        return [annotation]
    found: list[str] = []
    waiting: list[ast.expr] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            waiting += [node.left, node.right]
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Optional":
            waiting += [node.slice, ast.Constant(None)]
        elif (
            isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Union" and isinstance(node.slice, ast.Tuple)
        ):
            waiting += node.slice.elts
        else:
            found.append(ast.unparse(node))
    return found


def _fits(parts: list[str], value: Any) -> bool:
    if _is_evaluated(value) or value is None:
        return True
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return any("str" in p or not re.search(r"\b(int|float)\b", p) for p in parts if p != "None")
    return any(_fits_one(part, value) for part in parts)


def _fits_one(part: str, value: Any) -> bool:
    if part == "None":
        return False
    head, _, inner = part.partition("[")
    if head in _SIMPLE:
        return isinstance(value, _SIMPLE[head]) and (head == "bool" or not isinstance(value, bool))
    if head not in _SEQUENCES:
        return True
    if not isinstance(value, list):
        return isinstance(value, str) and not inner
    element = inner.rstrip("]").split(",")[0].strip()
    return element not in _SIMPLE or all(_is_evaluated(v) or _fits_one(element, v) for v in value)


def _is_evaluated(value: Any) -> bool:
    if isinstance(value, dict):
        return True
    return isinstance(value, str) and value[:1] in ("$", "@", "%")
