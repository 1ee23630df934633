"""What a config's values come to, where that can be told without running anything: counts, sizes, components."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from medseg.bundle import ids
from medseg.bundle.grammar import as_evaluated
from medseg.bundle.references import absolute, is_expression


class UnknownError(Exception):
    """The value depends on more than the config."""


_OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "len": len, "int": int, "float": float, "round": round, "min": min, "max": max, "sum": sum, "abs": abs,
    "list": list, "tuple": tuple, "sorted": sorted, "bool": bool, "str": str,
}  # fmt: skip
_MOST = 10_000


def constant(config: dict[str, Any], id_: str) -> Any:
    """What the value at the id comes to.

    Components come as their mappings.

    Raises:
        UnknownError: When it cannot be told, or nothing is there.

    >>> constant({"a": [1, 2], "b": "$len(@a) * 2", "c": "@b"}, "c")
    4
    """
    try:
        return _Interpreter(config).at(id_)
    except (ArithmeticError, ValueError, TypeError, LookupError, RecursionError, SyntaxError) as error:
        raise UnknownError(id_) from error


def overrun(config: dict[str, Any], id_: str) -> bool:
    """Whether the value at the id asks a list for an element beyond its end."""
    try:
        _Interpreter(config).at(id_)
    except IndexError:
        return True
    except (UnknownError, ArithmeticError, ValueError, TypeError, LookupError, RecursionError, SyntaxError):
        return False
    return False


class _Interpreter:
    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self._open: set[str] = set()

    def at(self, id_: str) -> Any:
        """The value at an id."""
        if id_ in self._open or not ids.contains(self.config, id_):
            raise UnknownError(id_)
        self._open.add(id_)
        value = self.plain(ids.get_at(self.config, id_), id_)
        self._open.discard(id_)
        return value

    def plain(self, value: Any, id_: str) -> Any:
        """The value with references and expressions worked out, in lists too."""
        if isinstance(value, list):
            return [self.plain(v, f"{id_}{ids.SEP}{n}") for n, v in enumerate(value)]
        if not isinstance(value, str):
            return value
        text = absolute(value, id_)
        if is_expression(text):
            return self.node(ast.parse(as_evaluated(text).strip(), mode="eval").body, {})
        return self.at(text[1:]) if text[:1] in ("@", "%") else value

    def node(self, node: ast.expr, names: dict[str, Any]) -> Any:
        """The value of a piece of an expression."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name) and node.id in names:
            return names[node.id]
        if isinstance(node, ast.List | ast.Tuple):
            return [self.node(e, names) for e in node.elts]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
            inner = self.node(node.operand, names)
            return -inner if isinstance(node.op, ast.USub) else not inner
        if isinstance(node, ast.BinOp):
            return self._operate(node.op, self.node(node.left, names), self.node(node.right, names))
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return self._operate(node.ops[0], self.node(node.left, names), self.node(node.comparators[0], names))
        if isinstance(node, ast.IfExp):
            return self.node(node.body if self.node(node.test, names) else node.orelse, names)
        if isinstance(node, ast.Subscript):
            return self._subscript(node, names)
        if isinstance(node, ast.Call):
            return self._call(node, names)
        if isinstance(node, ast.ListComp) and len(node.generators) == 1:
            return self._comprehension(node, names)
        raise UnknownError(ast.dump(node))

    def _operate(self, kind: ast.AST, left: Any, right: Any) -> Any:
        function = _OPERATORS.get(type(kind))
        long = any(isinstance(v, (str, list)) and len(v) > _MOST for v in (left, right))
        repeats = isinstance(kind, ast.Mult) and not all(isinstance(v, (int, float)) for v in (left, right))
        if function is None or long or repeats:
            raise UnknownError(type(kind).__name__)
        return function(left, right)

    def _subscript(self, node: ast.Subscript, names: dict[str, Any]) -> Any:
        key = self.node(node.slice, names)
        if isinstance(node.value, ast.Name) and node.value.id == "__local_refs":
            return self.at(str(key))
        return self.node(node.value, names)[key]

    def _call(self, node: ast.Call, names: dict[str, Any]) -> Any:
        arguments = [self.node(a, names) for a in node.args]
        if isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS and not node.keywords:
            return _FUNCTIONS[node.func.id](*arguments)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "index" and len(arguments) == 1:
            return list(self.node(node.func.value, names)).index(arguments[0])
        raise UnknownError(ast.unparse(node))

    def _comprehension(self, node: ast.ListComp, names: dict[str, Any]) -> list[Any]:
        generator = node.generators[0]
        if not isinstance(generator.target, ast.Name) or generator.ifs:
            raise UnknownError(ast.unparse(node))
        items = self.node(generator.iter, names)
        return [self.node(node.elt, {**names, generator.target.id: item}) for item in items]
