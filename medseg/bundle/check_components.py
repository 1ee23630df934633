"""Components: whether their targets exist and take the arguments that they are given."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

from medseg.bundle import ids
from medseg.bundle.carried import carried_problem
from medseg.bundle.check_arguments import argument_kinds
from medseg.bundle.compose import Composition
from medseg.bundle.findings import Found
from medseg.bundle.signatures import Signature, signature_of
from medseg.bundle.sources import NotFoundError, is_module

_SHOWN = 12  # arguments that a message lists
# Annotations that a text may fit.
_TEXT = re.compile(r"\b(str|Any|object|Hashable|KeysCollection|Path|PathLike|Literal|[A-Z][a-z]*Mode)\b")
_MODES = ("default", "callable", "debug")


def components(composition: Composition) -> Found:
    """Targets that do not exist, and arguments that they do not take, need, or take of another kind."""
    for id_, value in ids.walk(composition.config):
        if not ids.is_component(value) or str(value.get("_disabled_", "")).strip().lower() == "true":
            continue
        mode = value.get("_mode_", "default")
        if mode not in _MODES:
            yield f"{id_}::_mode_", f"{mode!r} is no mode. Known: {', '.join(_MODES)}.", "error"
        target = value["_target_"]
        if not isinstance(target, str):
            yield f"{id_}::_target_", f"{target!r} is no name of a class or function.", "error"
        elif _is_carried(composition.bundle_root, target):
            message = (
                f"{target} is code in the bundle, which finds it only from there. Two such bundles cannot be mixed."
            )
            yield f"{id_}::_target_", message, "warning"
            problem = carried_problem(composition.bundle_root, target)
            if problem:
                yield f"{id_}::_target_", problem, "error"
        elif target[:1] not in ("$", "@", "%"):
            yield from _call(composition.config, id_, target, value)
            yield from _bare_names(composition.config, id_, target, value)


def _is_carried(root: Path, target: str) -> bool:
    """Whether a name stands for a file of the bundle, which is never imported."""
    head = target.partition(".")[0]
    return head.isidentifier() and "." in target and ((root / head).is_dir() or (root / f"{head}.py").is_file())


def _call(config: dict[str, Any], id_: str, target: str, component: dict[str, Any]) -> Found:
    try:
        signature = signature_of(target)
    except NotFoundError as error:
        yield f"{id_}::_target_", f"{target!r} does not exist: {error}", "error"
        return
    if is_module(target):
        yield f"{id_}::_target_", f"{target} is a module. Name the class or function in it that is meant.", "error"
        return
    given = [name for name in component if name not in ids.COMPONENT_KEYS and name != "_debug_"]
    yield from argument_kinds(config, id_, component)
    for name in given:
        if not signature.open_ended and name not in signature.names:
            yield f"{id_}::{name}", f"{target} takes no argument {name!r}.{_instead(name, signature)}", "error"
    if component.get("_mode_", "default") == "callable":
        return
    for name in (*signature.unnamable, *(n for n in signature.required if n not in given)):
        yield id_, f"{target} needs the argument {name!r}.", "error"


def _bare_names(config: dict[str, Any], id_: str, target: str, component: dict[str, Any]) -> Found:
    """Arguments that are a component's name as text, where the source wants no text."""
    try:
        annotations = dict(signature_of(target).annotations)
    except NotFoundError:
        return
    for name, value in component.items():
        wanted = annotations.get(name, "str")
        if isinstance(value, str) and ids.is_component(config.get(value)) and not _TEXT.search(wanted):
            message = f"{value!r} is a text, where {target} takes {wanted}. Write '@{value}'."
            yield f"{id_}{ids.SEP}{name}", message, "error"


def _instead(name: str, signature: Signature) -> str:
    close = difflib.get_close_matches(name, signature.names, n=1, cutoff=0.7)
    if close:
        return f" Did you mean {close[0]!r}?"
    if not signature.names:
        return " It takes none."
    rest = len(signature.names) - _SHOWN
    return f" It takes: {', '.join(signature.names[:_SHOWN])}{f' and {rest} more' if rest > 0 else ''}."
