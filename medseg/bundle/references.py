"""References `@a::b` and expressions `$...` in a config, as MONAI's resolver reads them."""

from __future__ import annotations

import ast
import builtins
import difflib
import re
from collections.abc import Collection, Iterator
from typing import Any

from medseg.bundle import ids
from medseg.bundle.signatures import signature_of
from medseg.bundle.sources import NotFoundError

# monai.bundle.ReferenceResolver.id_matcher
_REFERENCE = re.compile(r"@(?:\w*)(?:::\w*)*")
_RELATIVE = re.compile(r"[@%](?:::)+")
# What MONAI puts into every expression (monai.bundle.config_parser._default_globals).
_GLOBALS = frozenset({"monai", "torch", "np", "numpy", *dir(builtins)})
_STAND_IN = "reference_"
# Types come from torch's C part, which cannot be read.
_TYPE = re.compile(r"torch\.[a-z]+\d+")
_NUMBERS = """
float16 float32 float64 bfloat16 uint8 uint16 uint32 uint64 int8 int16 int32 int64 complex32 complex64 complex128
qint8 qint32 quint8
"""
_TYPES = tuple(f"torch.{name}" for name in _NUMBERS.split())


def is_expression(value: Any) -> bool:
    """Whether MONAI evaluates the value."""
    return isinstance(value, str) and value.startswith("$")


def absolute(text: str, id_: str) -> str:
    """The text with relative references (`@::x` is `x` one level up) made absolute.

    >>> absolute("@::b", "train::a")
    '@train::b'
    """
    parts = id_.split(ids.SEP)

    def from_top(match: re.Match[str]) -> str:
        above = parts[: len(parts) - match.group().count(ids.SEP)]
        return match.group()[0] + "".join(f"{part}{ids.SEP}" for part in above)

    return _RELATIVE.sub(from_top, ids.normalize(text))


def references_in(value: Any, id_: str) -> list[str]:
    """Ids that a string refers to; the empty id is a bare `@`."""
    if not isinstance(value, str):
        return []
    text = absolute(value, id_)
    found = _REFERENCE.findall(text)
    return [item[1:] for item in found if is_expression(text) or item == text]


def imported_names(config: dict[str, Any]) -> set[str]:
    """Names that `$import x` items bring into every expression."""
    names: set[str] = set()
    for _, value in ids.walk(config):
        statement = _statement(value) if is_expression(value) and "import" in value else None
        if isinstance(statement, ast.Import | ast.ImportFrom):
            alias = statement.names[0]
            # MONAI binds `import a.b` to the name "a.b", which no expression can say: only `import a` binds a.
            names.add(alias.asname or alias.name)
    return names


def expression_problem(text: str, id_: str, names: set[str], keys: Collection[str] = ()) -> str | None:
    """Why an expression cannot be evaluated, if the text alone tells.

    Args:
        text: With its leading `$`.
        id_: Where it stands.
        names: What the config's `$import` items bring.
        keys: Top-level keys of the config, to which an expression refers by `@`.
    """
    code = _REFERENCE.sub(_STAND_IN, absolute(text, id_)[1:])
    if isinstance(_statement("$" + code), ast.Import | ast.ImportFrom):
        return None
    try:
        tree = ast.parse(code.strip(), mode="eval")
    except SyntaxError as error:
        return f"{text!r} is not a Python expression ({error.msg})."
    unknown = sorted(_free_names(tree) - _GLOBALS - names - {_STAND_IN})
    if not unknown:
        return next(_absent(tree), None)
    if unknown[0] in keys:
        return f"{text!r} uses the unknown name {unknown[0]!r}. Write '@{unknown[0]}' for the key of the config."
    dotted = next(
        (f"; '$import {n}' alone binds no name in MONAI" for n in names if n.startswith(unknown[0] + ".")), ""
    )
    return f"{text!r} uses the unknown name {unknown[0]!r}. Add '$import {unknown[0]}' to `imports`{dotted}."


def _absent(tree: ast.AST) -> Iterator[str]:
    """What an expression takes from medseg, MONAI or torch that is not there, or calls by other arguments."""
    for node in ast.walk(tree):
        name = _dotted(node)
        close = difflib.get_close_matches(name, _TYPES, n=1, cutoff=0.85) if name and _TYPE.fullmatch(name) else []
        if close and name not in _TYPES:
            yield f"{name!r} does not exist: torch has no such type. Did you mean {close[0].partition('.')[2]!r}?"
        elif name is not None:
            try:
                signature_of(name)
            except NotFoundError as error:
                yield f"{name!r} does not exist: {error}"
        elif isinstance(node, ast.Call):
            yield from _unbound(node)


def _dotted(node: ast.AST) -> str | None:
    if not isinstance(node, ast.Attribute):
        return None
    text = ast.unparse(node)
    return text if re.fullmatch(r"(medseg|monai|torch)(\.\w+)+", text) else None


def _unbound(call: ast.Call) -> Iterator[str]:
    name = _dotted(call.func)
    try:
        signature = signature_of(name) if name else None
    except NotFoundError:
        return
    if signature is None or signature.open_ended:
        return
    given = [k.arg for k in call.keywords]
    for keyword in given:
        if keyword is not None and keyword not in signature.names:
            close = difflib.get_close_matches(keyword, signature.names, n=1, cutoff=0.5)
            yield f"{name} takes no argument {keyword!r}.{f' Did you mean {close[0]!r}?' if close else ''}"
    if not call.args and None not in given:
        yield from (f"{name} needs the argument {r!r}." for r in signature.required if r not in given)


def circle_from(config: dict[str, Any], id_: str) -> list[str] | None:
    """The ids of a circle of references that resolving `id_` would run into, if there is one."""
    path: list[str] = []
    done: set[str] = set()

    def visit(current: str) -> list[str] | None:
        if current in path:
            return [*path[path.index(current) :], current]
        if current in done or not ids.contains(config, current):
            return None
        path.append(current)
        for needed in _needs(config, current):
            found = visit(needed)
            if found:
                return found
        path.pop()
        done.add(current)
        return None

    return visit(id_)


def _needs(config: dict[str, Any], id_: str) -> Iterator[str]:
    """Ids that must be resolved before `id_`: what its own text and its plain children refer to."""
    value = ids.get_at(config, id_)
    yield from references_in(value, id_)
    for child, content in ids.walk(value, id_):
        yield from references_in(content, child)


def _statement(text: str) -> ast.stmt | None:
    try:
        body = ast.parse(text[1:].strip()).body
    except SyntaxError:
        return None
    return body[0] if body else None


def _free_names(tree: ast.AST) -> set[str]:
    loaded: set[str] = set()
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (loaded if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
    return loaded - bound
