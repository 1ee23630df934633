"""What a config can execute beyond the components and the grammar that need no trust. Nothing is imported or run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from medseg.bundle import ids
from medseg.bundle.allowed import ARGUMENTS, GLOBALS, WRITTEN, allows_target, is_touchy, why_denied
from medseg.bundle.constants import UnknownError, constant
from medseg.bundle.grammar import Scope, expression_power, import_in, import_problem
from medseg.bundle.references import absolute, is_expression
from medseg.bundle.signatures import signature_of
from medseg.bundle.sources import NotFoundError

_PACKAGES = ("monai", "torch", "ignite", "medseg")
_MODES = ("default", "callable")
_FILE_SUFFIXES = (".json", ".yaml", ".yml")
# Keys and prefixes by which logging.config.dictConfig makes objects.
_FACTORY_KEYS = ("()", ".")
_FACTORY_TEXTS = ("ext://", "cfg://")


@dataclass(frozen=True)
class Power:
    """One thing that a bundle can execute.

    Attributes:
        id_: The config's id, or a file.
        what: What it would do.
        absent: Whether it is the name of a component that does not exist: a slip, rather than a threat.
    """

    id_: str
    what: str
    absent: bool = False


def config_powers(config: dict[str, Any]) -> list[Power]:
    """Everything in a config, its `_meta_` included, that needs trust."""
    imports = dict(_imports(config))
    scope = Scope(modules=_modules(imports), withheld=_around(imports))
    found = [Power(id_, what, absent=_is_absent(config, id_)) for id_, what in _all(config, scope, imports)]
    return list(dict.fromkeys(found))


def _is_absent(config: dict[str, Any], id_: str) -> bool:
    if id_.rpartition(ids.SEP)[2] != "_target_":
        return False
    target = ids.get_at(config, id_)
    if not isinstance(target, str) or target.partition(".")[0] not in _PACKAGES:
        return False
    try:
        signature_of(target)
    except NotFoundError:
        return True
    return False


def _all(
    config: dict[str, Any], scope: Scope, imports: dict[str, ast.Import | ast.ImportFrom]
) -> Iterator[tuple[str, str]]:
    for id_, value in ids.walk(config):
        if isinstance(value, dict):
            yield from _mapping(id_, value)
            yield from _written(config, id_, value)
        elif isinstance(value, str):
            yield from ((id_, what) for what in _text(config, id_, value, scope, imports))
    yield from _mapping("", config)


def _mapping(id_: str, value: dict[Any, Any]) -> Iterator[tuple[str, str]]:
    def below(key: str) -> str:
        return f"{id_}{ids.SEP}{key}" if id_ else key

    for key in _FACTORY_KEYS:
        if key in value:
            yield below(key), f"{value[key]!r} is a factory of a logging config"
    if not ids.is_component(value):
        return
    yield from ((below("_target_"), what) for what in _target(value["_target_"]))
    mode, target = value.get("_mode_", "default"), value["_target_"]
    if mode not in _MODES:
        yield below("_mode_"), f"the mode {mode!r} is none of {', '.join(_MODES)}; debug opens Python's debugger"
    elif mode == "callable" and isinstance(target, str) and is_touchy(target):
        yield below("_mode_"), f"hands {target} on to be called with arguments that cannot be seen here"
    if value.get("_debug_", False) is not False:
        yield below("_debug_"), "_debug_ opens Python's debugger"
    for name, allowed in ARGUMENTS.items():
        if name in value and not _is_let_through(value[name], allowed):
            known = ", ".join(str(a).lower() if isinstance(a, bool) else str(a) for a in allowed)
            yield below(name), f"{name}={value[name]!r} decides what runs or is fetched; only {known} needs no trust"


def _is_let_through(value: Any, allowed: tuple[object, ...]) -> bool:
    """Whether the value is one of those, or a component of a class by one of these names."""
    values = value if isinstance(value, list) else [value]
    known = [str(v["_target_"]).rpartition(".")[2] if ids.is_component(v) else v for v in values]
    return all(any(type(v) is type(a) and v == a for a in allowed) for v in known)


def _written(config: dict[str, Any], id_: str, value: dict[Any, Any]) -> Iterator[tuple[str, str]]:
    """Arguments that name what is written, and come to what it should not be, or to what cannot be told."""
    for name in sorted(WRITTEN.keys() & value.keys()) if ids.is_component(value) else ():
        place = f"{id_}{ids.SEP}{name}"
        try:
            text = constant(config, place)
        except UnknownError:
            text = ""
        if text is not None and not (isinstance(text, str) and text and WRITTEN[name].fullmatch(text)):
            is_file = "name" in name
            what = "is no name of a weights file" if is_file else "may write elsewhere than to a folder here"
            yield place, f"{name}={value[name]!r} {what}"


def _target(target: Any) -> Iterator[str]:
    if not isinstance(target, str):
        yield f"the name to call, {target!r}, is no text"
    elif is_expression(target):
        # A text that an expression makes is looked up among all installed packages.
        if not target[1:].replace(".", "").isidentifier():
            yield f"calls what {target!r} comes to"
    elif target[:1] in ("@", "%"):
        yield f"calls what {target!r} comes to"
    elif not allows_target(target):
        yield f"calls {target}, which {why_denied(target)}"


def _text(
    config: dict[str, Any], id_: str, value: str, scope: Scope, imports: dict[str, ast.Import | ast.ImportFrom]
) -> Iterator[str]:
    if value.startswith(_FACTORY_TEXTS):
        yield f"{value!r} is resolved by a logging config"
    if ("@:" in ids.normalize(value) or "%:" in ids.normalize(value)) and not _plain(id_):
        yield f"{value!r} is relative to keys that are no plain words"
    text = absolute(value, id_)
    if id_ in imports:
        yield from filter(None, [import_problem(imports[id_])])
        if not id_.startswith("imports") and ids.SEP in id_:
            yield "imports a module outside of `imports`"
    elif is_expression(text):
        problem = expression_power(text, scope)
        if problem:
            yield f"{_short(value)} {problem}"
    elif text.startswith("%"):
        yield from _macro(config, text, scope)
    elif text.startswith("@") and text[1:] in scope.withheld:
        yield f"{value!r} hands a module on"


def _macro(config: dict[str, Any], text: str, scope: Scope) -> Iterator[str]:
    target = text[1:]
    if any(suffix in target.lower() for suffix in _FILE_SUFFIXES):
        yield f"{text!r} reads a config file that is not checked"
    elif target in scope.withheld:
        yield f"{text!r} copies a module"
    elif ids.contains(config, target):
        content = ids.get_at(config, target)
        inner = [content, *(v for _, v in ids.walk(content))]
        if any(isinstance(v, str) and ("@:" in ids.normalize(v) or "%" in v[:1]) for v in inner):
            yield f"{text!r} copies what changes its meaning where it is copied to"


def _imports(config: dict[str, Any]) -> Iterator[tuple[str, ast.Import | ast.ImportFrom]]:
    for id_, value in ids.walk(config):
        if is_expression(value) and "import" in value:
            statement = import_in(value)
            if statement is not None:
                yield id_, statement


def _modules(imports: dict[str, ast.Import | ast.ImportFrom]) -> dict[str, str]:
    """The dotted name behind each name that expressions see; a name with two meanings has none that is allowed."""
    names = dict(GLOBALS)
    for statement in imports.values():
        alias = statement.names[0]
        target = alias.name if isinstance(statement, ast.Import) else f"{statement.module}.{alias.name}"
        name = alias.asname or alias.name
        names[name] = target if names.get(name, target) == target else f"two things ({names[name]}, {target})"
    return names


def _around(imports: dict[str, Any]) -> frozenset[str]:
    """The ids of imports and of all that holds them."""
    found: set[str] = set()
    for id_ in imports:
        parts = id_.split(ids.SEP)
        found |= {ids.SEP.join(parts[:n]) for n in range(1, len(parts) + 1)}
    return frozenset(found)


def _plain(id_: str) -> bool:
    return all(part.isidentifier() or part.isdigit() for part in id_.split(ids.SEP))


def _short(value: str) -> str:
    return value if len(value) <= 80 else f"{value[:77]}..."
