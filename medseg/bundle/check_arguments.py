"""Arguments of another kind than the source asks for: texts for numbers, short lists, mappings, other components."""

from __future__ import annotations

import ast
import difflib
import re
from typing import Any

from medseg.bundle import ids
from medseg.bundle.check_ids import is_of_its_kind
from medseg.bundle.compose import CONTRACT_KEYS
from medseg.bundle.findings import Found
from medseg.bundle.known_networks import source_of
from medseg.bundle.parameters import Parameter, alternatives, head_of, is_misfit, parameters_of
from medseg.bundle.signatures import signature_of

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
# Not "none": some options are called so.
WORDS = {"true": "true", "True": "true", "false": "false", "False": "false", "None": "null", "null": "null"}
_SCALARS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
_PATHS = ("Path", "PathLike")
_SEQUENCES = ("Sequence", "list", "List", "tuple", "Tuple", "Collection", "Iterable")
_MAPPINGS = ("dict", "Dict", "Mapping")


def argument_kinds(config: dict[str, Any], id_: str, component: dict[str, Any]) -> Found:
    """Arguments that are plainly of another kind than the source asks for, found where their value is written.

    Args:
        config: The whole config.
        id_: Where the component stands.
        component: Its mapping, with a target that exists.
    """
    target = component["_target_"]
    annotations = dict(signature_of(target).annotations)
    own = parameters_of(target)
    for name in component:
        wanted = annotations.get(name)
        place = f"{id_}{ids.SEP}{name}"
        source = source_of(config, place)
        if wanted is None or source is None:
            continue
        value = ids.get_at(config, source)
        if source != place and _is_said_elsewhere(source, value):
            continue
        if ids.is_component(value):
            yield from _misfit(config, source, place, target, own.get(name))
        elif isinstance(value, str) and _is_no_choice(own.get(name), value):
            known = own[name].choices
            close = difflib.get_close_matches(value, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            yield source, f"{value!r} is none of {', '.join(known)}.{hint}", "error"
        elif not _fits(wanted, own.get(name), value):
            wanted = "two numbers" if _is_short_pair(own.get(name), value) else wanted
            yield source, f"{target} takes {name}: {wanted}, not {_shown(value)}.", "error"


def _is_no_choice(own: Parameter | None, value: str) -> bool:
    return own is not None and bool(own.choices) and value not in own.choices and not _is_evaluated(value)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"a mapping of {', '.join(map(repr, value))}"
    return "null" if value is None else repr(value)


def _is_said_elsewhere(source: str, value: Any) -> bool:
    """Whether another check looks at such values wherever they stand."""
    if not is_of_its_kind(source, value):
        return True
    if isinstance(value, str):
        return value.strip() in WORDS or (source in CONTRACT_KEYS and NUMBER.fullmatch(value) is not None)
    return isinstance(value, float)


def _misfit(config: dict[str, Any], source: str, place: str, target: str, parameter: Parameter | None) -> Found:
    """A component of a class that the argument cannot be."""
    made = target_of(config, source)
    if parameter is None or made is None or not is_misfit(made, parameter):
        return
    wanted = " | ".join(map(ast.unparse, parameter.annotation))
    name = place.rpartition(ids.SEP)[2]
    yield place, f"{target} takes {name}: {wanted}, not a {made.rpartition('.')[2]}.", "error"


def target_of(config: dict[str, Any], id_: str) -> str | None:
    """The target of the component whose instance stands at an id; None when another thing may stand there."""
    source = source_of(config, id_)
    value = ids.get_at(config, source) if source else None
    if not ids.is_component(value) or not isinstance(value, dict):
        return None
    target = value["_target_"]
    plain = isinstance(target, str) and target[:1] not in ("$", "@", "%")
    whole = value.get("_mode_", "default") == "default" and not value.get("_disabled_", False)
    return target if plain and whole else None


def _fits(annotation: str, own: Parameter | None, value: Any) -> bool:
    parts = alternatives(annotation)
    if value is None:
        return own is None or own.takes_none or not all(_is_never_none(part) for part in parts)
    if _is_evaluated(value):
        return True
    if isinstance(value, str) and NUMBER.fullmatch(value):
        texts = [ast.unparse(part) for part in parts]
        return any("str" in t or not re.search(r"\b(int|float)\b", t) for t in texts if t != "None")
    if _is_short_pair(own, value):
        return False
    return any(_fits_one(part, value) for part in parts)


def _is_short_pair(own: Parameter | None, value: Any) -> bool:
    """Whether a list is of another length than a default that is a pair."""
    return own is not None and own.is_pair and isinstance(value, list) and len(value) != 2


def _is_never_none(part: ast.expr) -> bool:
    head = head_of(part)
    element = part.slice if isinstance(part, ast.Subscript) else None
    if head in _SEQUENCES and element is not None:
        return all(head_of(each) in _SCALARS for each in alternatives(ast.unparse(element)))
    # A path or name that is null may be filled in by who runs the bundle.
    return head in _SCALARS and head != "str"


def _fits_one(part: ast.expr, value: Any) -> bool:
    if _is_evaluated(value):
        return True
    head = head_of(part)
    if head == "None":
        return value is None
    if head in _SCALARS:
        return isinstance(value, _SCALARS[head]) and (head == "bool" or not isinstance(value, bool))
    if head in _MAPPINGS:
        return not isinstance(value, list)
    if head in (*_PATHS, "Callable"):
        return isinstance(value, str)
    if head not in _SEQUENCES:
        return True
    inner = part.slice if isinstance(part, ast.Subscript) else None
    if not isinstance(value, list):
        return isinstance(value, str) and inner is None
    return inner is None or _fit_elements(inner, value)


def _fit_elements(inner: ast.expr, values: list[Any]) -> bool:
    wanted = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    endless = len(wanted) == 1 or ast.unparse(wanted[-1]) == "..."
    if not endless and len(values) != len(wanted):
        return False
    kinds = [alternatives(ast.unparse(each)) for each in wanted]
    for number, value in enumerate(values):
        parts = kinds[0 if endless else number]
        # Strides and kernels may have one number per axis where their annotation says one.
        if not isinstance(value, list) and not any(_fits_one(part, value) for part in parts):
            return False
    return True


def _is_evaluated(value: Any) -> bool:
    return ids.is_component(value) or (isinstance(value, str) and value[:1] in ("$", "@", "%"))
