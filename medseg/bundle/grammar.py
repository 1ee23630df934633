"""The small grammar of `$` expressions that need no trust: names, attributes, arithmetic, comparisons, comprehensions.

An expression is taken apart and never run. It is read exactly as MONAI hands it to `eval`: with `#` turned into `::`
and each `@reference` replaced by a look-up, inside quotes too. What can be reached is closed under everything that the
grammar lets through: every function that an expression can get hold of is in the table of `allowed.py`, so it does not
matter who calls it.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from medseg.bundle.allowed import (
    ATTRIBUTES,
    BUILTINS,
    METHODS,
    MODULES,
    allows_value,
    is_seen,
    own_names,
    why_denied,
)

# monai.bundle.ReferenceResolver: what a reference looks like, and what takes its place.
_REFERENCE = re.compile(r"@(?:\w*)(?:::\w*)*")
_LOOKUP = "__local_refs"
# A name that is bound anywhere in an expression is taken for local everywhere, so none of these may be.
_PYTHONS = frozenset(dir(builtins))
_PLAIN = (
    ast.Expression, ast.Constant, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.List, ast.Tuple,
    ast.Set, ast.Dict, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.Subscript,
    ast.Slice, ast.Starred, ast.Lambda, ast.arguments, ast.arg, ast.JoinedStr, ast.FormattedValue, ast.Call,
    ast.Attribute, ast.Name, ast.keyword, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What the names of a config's expressions stand for.

    Attributes:
        modules: Dotted name behind each imported or built-in name.
        withheld: Ids that hold a module, which no expression may look up.
    """

    modules: dict[str, str]
    withheld: frozenset[str] = field(default_factory=frozenset)


def as_evaluated(text: str) -> str:
    """The code that MONAI evaluates for a `$` text.

    >>> as_evaluated("$@a + 1")
    "__local_refs['a'] + 1"
    """
    text = text.replace("#", "::")
    for found in sorted(_REFERENCE.findall(text), key=len, reverse=True):
        text = text.replace(found, f"{_LOOKUP}['{found[1:]}']")
    return text[1:]


def import_in(text: str) -> ast.Import | ast.ImportFrom | None:
    """The import statement that MONAI runs for a `$` text, if it is one and nothing else."""
    for code in (text[1:], as_evaluated(text)):
        try:
            body = ast.parse(code).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        if len(body) == 1 and isinstance(body[0], ast.Import | ast.ImportFrom):
            return body[0]
    return None


def import_problem(statement: ast.Import | ast.ImportFrom) -> str | None:
    """Why an import needs trust, if it does."""
    alias = statement.names[0]
    if len(statement.names) > 1 or alias.name == "*":
        return "imports several things at once"
    if (alias.asname or alias.name) in _PYTHONS:
        return f"gives {alias.asname or alias.name!r} another meaning"
    if isinstance(statement, ast.Import):
        return _module_problem(alias.name)
    name = f"{statement.module or ''}.{alias.name}"
    if statement.level or not statement.module:
        return "imports from a place that depends on who asks"
    if name in MODULES or allows_value(name) or name in own_names():
        return None
    return f"imports {name}, which {why_denied(name)}"


def _module_problem(name: str) -> str | None:
    # A room of medseg; `medseg.__main__` would start the program anew.
    ours = name.startswith("medseg.") and not any(part.startswith("_") for part in name.split("."))
    known = name in MODULES or ours or name in own_names()
    return None if known else f"imports {name}, which {why_denied(name)}"


def expression_power(text: str, scope: Scope) -> str | None:
    """What in a `$` text goes beyond the grammar; None when nothing does."""
    try:
        tree = ast.parse(as_evaluated(text).lstrip(" \t"), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "is no expression that can be read"
    try:
        found = dict.fromkeys(_Reader(scope, tree).problems(tree.body))
    except RecursionError:
        return "nests too deep to be read"
    return "; ".join(found) or None


class _Reader:
    """Walks one expression, top down; a dotted name is read as a whole."""

    def __init__(self, scope: Scope, tree: ast.AST) -> None:
        self.scope = scope
        self.local = {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
        self.local |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}

    def problems(self, node: ast.AST) -> Iterator[str]:
        """What goes beyond the grammar, in the order of the text."""
        if not isinstance(node, _PLAIN):
            yield f"has {_article(node)}, which is beyond the grammar"
        elif isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            yield f"changes {ast.unparse(node)}"
        elif isinstance(node, ast.Name):
            yield from self._name(node)
        elif isinstance(node, ast.Attribute):
            yield from self._attribute(node)
        elif isinstance(node, ast.Call):
            yield from self._call(node)
        elif isinstance(node, ast.Subscript) and _is_lookup(node.value):
            yield from self._lookup(node)
        elif isinstance(node, ast.arg):
            yield from self._bound(node.arg)
        else:
            for child in ast.iter_child_nodes(node):
                yield from self.problems(child)

    def _name(self, node: ast.Name) -> Iterator[str]:
        name = node.id
        if not isinstance(node.ctx, ast.Load):
            yield from self._bound(name)
        elif name in self.local:
            return
        elif name.startswith("_"):
            yield f"names {name!r}, which {why_denied(name)}"
        elif name in self.scope.modules:
            target = self.scope.modules[name]
            if not allows_value(target):
                yield f"takes {target} as a value, which {why_denied(target)}"
        elif name not in BUILTINS:
            yield f"names {name!r}, which {why_denied(name)}"

    def _bound(self, name: str) -> Iterator[str]:
        if name in self.scope.modules or name in _PYTHONS or name.startswith("_"):
            yield f"gives {name!r} another meaning"

    def _dotted(self, node: ast.expr) -> str | None:
        """The qualified name that a chain of attributes on a module spells."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id in self.local or node.id not in self.scope.modules:
            return None
        return ".".join([self.scope.modules[node.id], *reversed(parts)])

    def _attribute(self, node: ast.Attribute) -> Iterator[str]:
        dotted = self._dotted(node)
        if dotted is not None:
            if not allows_value(dotted):
                yield f"uses {dotted}, which {why_denied(dotted)}"
            return
        if node.attr not in ATTRIBUTES:
            yield f"looks at the attribute {node.attr!r}, which is not among those known to be harmless"
        yield from self.problems(node.value)

    def _call(self, node: ast.Call) -> Iterator[str]:
        function = node.func
        if isinstance(function, ast.Name):
            if function.id in self.local:
                yield f"calls {function.id!r}, which can be anything"
            else:
                yield from self._name(function)
        elif isinstance(function, ast.Attribute) and self._dotted(function) is None:
            if function.attr not in METHODS:
                yield f"calls the method {function.attr!r}, which is not among those known to be harmless"
            yield from self.problems(function.value)
        else:
            # What a reference holds, or an expression gives, was let through where it was made.
            yield from self.problems(function)
        for keyword in node.keywords:
            if keyword.arg is None or is_seen(keyword.arg):
                yield f"gives {keyword.arg or 'arguments by **'}, which must stand in a _target_ to be seen"
        for child in (*node.args, *node.keywords):
            yield from self.problems(child)

    def _lookup(self, node: ast.Subscript) -> Iterator[str]:
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if not isinstance(key, str) or not key:
            yield "looks up a key that depends on the config"
        elif key in self.scope.withheld:
            yield f"looks up {key!r}, which holds a module"


def _is_lookup(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == _LOOKUP


def _article(node: ast.AST) -> str:
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", type(node).__name__).lower()
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
