"""Definitions found in source files without importing them.

Importing MONAI takes seconds and can run anything; parsing the few files on the way to a name takes milliseconds.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from medseg.bundle.source_files import Module, statements_in

_PLAIN_BASES = frozenset({"object", "Generic", "Protocol", "ABC"})
_EXTENSIONS = ("*.so", "*.pyd")
Function = ast.FunctionDef | ast.AsyncFunctionDef


class NotFoundError(LookupError):
    """Nothing of that name exists; the message says how far the path leads."""


@dataclass(frozen=True)
class Definition:
    """A definition and the module that it stands in."""

    module: Module
    node: ast.ClassDef | Function


def find_definition(target: str) -> Definition | None:
    """The definition behind a dotted name; None when it exists but cannot be read."""
    module_name, rest = _split(target)
    if not rest:
        return None
    module = _module(module_name)
    if module is None:
        return None
    place = _lookup(module, rest[0], frozenset())
    for attribute in rest[1:]:
        if place is None or not isinstance(place.node, ast.ClassDef):
            return None
        place = _member(place, attribute)
    return place


def is_module(target: str) -> bool:
    """Whether a dotted name stands for a module and nothing else.

    >>> is_module("json.decoder"), is_module("json.loads")
    (True, False)
    """
    parent, _, name = target.rpartition(".")
    if not parent or _split(target)[1]:
        return False
    package = _module(parent)
    return package is not None and name not in package.bindings and not package.stars and not package.is_dynamic


def _split(target: str) -> tuple[str, list[str]]:
    """The longest importable module at the head of the name, and the attributes after it."""
    parts = target.split(".")
    for count in range(1, len(parts) + 1):
        if _location(".".join(parts[:count])) is None:
            if count == 1:
                msg = f"the package {parts[0]!r} is not installed."
                raise NotFoundError(msg)
            return ".".join(parts[: count - 1]), parts[count - 1 :]
    return target, []


@cache
def _location(name: str) -> Path | None:
    """The file or folder of a module; None when there is none. Imports nothing."""
    parent, _, last = name.rpartition(".")
    if not parent:
        return _top_location(name)
    folder = _location(parent)
    if folder is None or not folder.is_dir():
        return None
    for path in (folder / last, folder / f"{last}.py"):
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            return path
    return next((p for pattern in _EXTENSIONS for p in folder.glob(f"{last}.{pattern}")), None)


def _top_location(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    # A built-in module has no file; this one stands for "there, but not readable".
    return Path(spec.origin) if spec.has_location and spec.origin else Path(__file__).with_suffix(".builtin")


@cache
def _module(name: str) -> Module | None:
    """The parsed module; None when it has no source."""
    location = _location(name)
    if location is None:
        return None
    path = location / "__init__.py" if location.is_dir() else location
    if path.suffix != ".py" or not path.is_file():
        return None
    try:
        return Module(name, path)
    except (SyntaxError, ValueError):
        return None


def _lookup(module: Module, name: str, seen: frozenset[tuple[str, str]]) -> Definition | None:
    """What a name in a module stands for; None when it exists but cannot be read."""
    if (module.name, name) in seen:
        return None
    seen |= {(module.name, name)}
    statement = module.bindings.get(name)
    if statement is None:
        return _lookup_stars(module, name, seen)
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return Definition(module, statement)
    if isinstance(statement, ast.ImportFrom):
        original = next(a.name for a in statement.names if (a.asname or a.name) == name)
        return _lookup_in(module.absolute(statement), original, seen)
    if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Name):
        return _lookup(module, statement.value.id, seen)
    optional = _optional_import(statement)
    return _lookup_in(*optional, seen) if optional else None


def _optional_import(statement: ast.stmt) -> tuple[str, str] | None:
    """Module and name in `Name, has_it = optional_import("module", ..., name="Name")`, MONAI's way to import."""
    call = statement.value if isinstance(statement, ast.Assign) else None
    if not isinstance(call, ast.Call) or ast.unparse(call.func) != "optional_import":
        return None
    named = {k.arg: k.value for k in call.keywords}
    # optional_import(module, version, version_checker, name)
    given = [
        call.args[0] if call.args else named.get("module"),
        call.args[3] if len(call.args) > 3 else named.get("name"),
    ]
    values = [each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return (values[0], values[1]) if len(values) == 2 else None


def _lookup_in(module_name: str, name: str, seen: frozenset[tuple[str, str]]) -> Definition | None:
    """What `from module import name` brings; None for a submodule or where there is no source."""
    source = _module(module_name)
    return None if source is None else _lookup(source, name, seen)


def _lookup_stars(module: Module, name: str, seen: frozenset[tuple[str, str]]) -> Definition | None:
    readable = True
    for star in module.stars:
        source = _module(star)
        if source is None:
            readable = False
            continue
        try:
            return _lookup(source, name, seen)
        except NotFoundError:
            continue
    if not readable or module.is_dynamic or _location(f"{module.name}.{name}") is not None:
        return None
    msg = f"{module.name} has no {name!r}.{nearest_name(name, module.bindings)}"
    raise NotFoundError(msg)


def _member(place: Definition, name: str) -> Definition | None:
    """A method of a class or of its bases."""
    for cls in ancestry(place):
        if cls is None or not isinstance(cls.node, ast.ClassDef):
            return None
        for statement in statements_in(cls.node.body):
            if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and statement.name == name:
                return Definition(cls.module, statement)
            if isinstance(statement, ast.Assign | ast.AnnAssign) and f"{name} =" in ast.unparse(statement):
                return None
    if isinstance(place.node, ast.ClassDef):
        msg = f"{place.module.name}.{place.node.name} has no {name!r}."
        raise NotFoundError(msg)
    return None


def ancestry(place: Definition, depth: int = 0) -> Iterator[Definition | None]:
    """The class and its bases, left to right and upwards; None for one that cannot be read."""
    yield place
    if not isinstance(place.node, ast.ClassDef) or depth > 30:
        yield None
        return
    for base in place.node.bases:
        name = base.value if isinstance(base, ast.Subscript) else base
        if ast.unparse(name).rpartition(".")[2] in _PLAIN_BASES:
            continue
        parent = resolve_base(place.module, name)
        if parent is None:
            yield None
        else:
            yield from ancestry(parent, depth + 1)


def resolve_base(module: Module, expression: ast.expr) -> Definition | None:
    """The class that a base-class expression names."""
    try:
        if isinstance(expression, ast.Name):
            return _lookup(module, expression.id, frozenset())
        if isinstance(expression, ast.Attribute):
            head, *rest = ast.unparse(expression).split(".")
            statement = module.bindings.get(head)
            if isinstance(statement, ast.Import):
                full = next(a.name for a in statement.names if (a.asname or a.name.partition(".")[0]) == head)
                return find_definition(".".join([full if _alias(statement, head) else head, *rest]))
            if isinstance(statement, ast.ImportFrom):
                original = next(a.name for a in statement.names if (a.asname or a.name) == head)
                return find_definition(".".join([module.absolute(statement), original, *rest]))
    except NotFoundError:
        return None
    return None


def _alias(statement: ast.Import, head: str) -> bool:
    return any(a.asname == head for a in statement.names)


def monai_names() -> dict[str, str]:
    """Dotted name of each class and function of MONAI, by its bare name."""
    return {name: found[0] for name, found in monai_definitions().items()}


@cache
def monai_definitions() -> dict[str, list[str]]:
    """Dotted names of all classes and functions of MONAI that have one bare name."""
    root = _location("monai")
    if root is None:
        return {}
    pattern = re.compile(r"^(?:class|def)\s+(\w+)|^((?:\w+\s*=\s*)+)(?:\w+)\s*$", re.M)
    names: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        for definition, aliases in pattern.findall(path.read_text(encoding="utf-8")):
            for name in [definition] if definition else [a.strip() for a in aliases.split("=") if a.strip()]:
                names.setdefault(name, []).append(f"{module}.{name}")
    return names


def listed_names(package: str) -> list[str]:
    """The names in a package's `__all__`; empty when there is no such package or list."""
    try:
        module = _module(package)
    except NotFoundError:
        return []
    statement = None if module is None else module.bindings.get("__all__")
    return list(ast.literal_eval(statement.value)) if isinstance(statement, ast.Assign) else []


def nearest_name(name: str, known: Iterable[str]) -> str:
    """The end of an error that says which name was probably meant."""
    close = difflib.get_close_matches(name, [k for k in known if not k.startswith("_")], n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
