"""What a definition itself says of its parameters, and whether a class is one of those that an annotation names."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from medseg.bundle.members import has_member
from medseg.bundle.sources import Definition, NotFoundError, ancestry, find_definition, monai_names, resolve_base

_SEQUENCES = frozenset({"Sequence", "list", "List", "tuple", "Tuple", "Collection", "Iterable", "Iterator", "set"})
_MAPPINGS = frozenset({"dict", "Dict", "Mapping", "MutableMapping", "OrderedDict"})
_NO_CLASS = frozenset({"int", "float", "bool", "str", "None", "bytes"})


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter as it is written.

    Attributes:
        annotation: What it can be, one element for each alternative.
        default: Its default as an expression; None where it has none.
        place: The function in which it stands.
    """

    annotation: tuple[ast.expr, ...]
    default: ast.expr | None
    place: Definition

    @property
    def takes_none(self) -> bool:
        """Whether None is one of its alternatives, or its default."""
        nothing = any(isinstance(part, ast.Constant) and part.value is None for part in self.annotation)
        return nothing or (isinstance(self.default, ast.Constant) and self.default.value is None)

    @property
    def is_pair(self) -> bool:
        """Whether its default is two floats, which a list of another length would not stand for."""
        if not isinstance(self.default, ast.Tuple) or len(self.default.elts) != 2:
            return False
        return all(isinstance(e, ast.Constant) and isinstance(e.value, float) for e in self.default.elts)

    @property
    def choices(self) -> tuple[str, ...]:
        """The texts that it can be; empty where it can be others too."""
        found: list[str] = []
        for part in self.annotation:
            literal = self._named(part)
            if not isinstance(literal, ast.Subscript) or head_of(literal) != "Literal":
                return ()
            values = literal.slice.elts if isinstance(literal.slice, ast.Tuple) else [literal.slice]
            found += [v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str)]
        return tuple(found)

    def _named(self, part: ast.expr) -> ast.expr | None:
        """What a name in the function's module stands for."""
        bindings = self.place.module.bindings
        statement = bindings[part.id] if isinstance(part, ast.Name) and part.id in bindings else None
        return statement.value if isinstance(statement, ast.Assign) else part


@cache
def parameters_of(target: str) -> Mapping[str, Parameter]:
    """The annotated parameters of a function or of a class's `__init__`; empty where the source does not tell.

    >>> parameters_of("textwrap.indent")
    {}
    """
    try:
        found = definition_of(target)
        maker = None if found is None else _maker(found)
    except NotFoundError:
        return {}
    if maker is None or isinstance(maker.node, ast.ClassDef):
        return {}
    arguments = maker.node.args
    named = [*arguments.args, *arguments.kwonlyargs]
    defaults = [*([None] * (len(arguments.args) - len(arguments.defaults))), *arguments.defaults]
    return {
        a.arg: Parameter(annotation=alternatives(ast.unparse(a.annotation)), default=default, place=maker)
        for a, default in zip(named, [*defaults, *arguments.kw_defaults], strict=False)
        if a.annotation is not None
    }


def definition_of(target: str) -> Definition | None:
    """The definition behind a `_target_`; None where it cannot be read.

    Raises:
        NotFoundError: When nothing of that name exists.
    """
    name = target if "." in target else monai_names().get(target, "")
    return find_definition(name) if name else None


@cache
def alternatives(annotation: str) -> tuple[ast.expr, ...]:
    """The parts of a union.

    >>> [ast.unparse(part) for part in alternatives("Optional[int] | Sequence[int]")]
    ['int', 'None', 'Sequence[int]']
    """
    try:
        tree = ast.parse(annotation.strip("'\""), mode="eval").body
    except SyntaxError:
        return (ast.Name(annotation),)
    return tuple(_split(tree))


def _split(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_split(node.left), *_split(node.right)]
    if isinstance(node, ast.Subscript) and head_of(node) == "Optional":
        return [*_split(node.slice), ast.Constant(None)]
    if isinstance(node, ast.Subscript) and head_of(node) == "Union" and isinstance(node.slice, ast.Tuple):
        return [part for element in node.slice.elts for part in _split(element)]
    return [node]


def head_of(part: ast.expr) -> str:
    """The bare name of an alternative, without its module and what stands in brackets."""
    return ast.unparse(part.value if isinstance(part, ast.Subscript) else part).rpartition(".")[2]


def _maker(found: Definition) -> Definition | None:
    if not isinstance(found.node, ast.ClassDef):
        return found
    for cls in ancestry(found):
        if cls is None or not isinstance(cls.node, ast.ClassDef) or _is_dataclass(cls.node):
            return None
        for statement in cls.node.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                return Definition(cls.module, statement)
    return None


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


def is_misfit(target: str, parameter: Parameter) -> bool:
    """Whether instances of a class are surely none of what a parameter can be."""
    try:
        found = definition_of(target)
    except NotFoundError:
        return False
    if found is None or not isinstance(found.node, ast.ClassDef):
        return False
    return not any(_may_be(target, found, part, parameter.place) for part in parameter.annotation)


def _may_be(target: str, found: Definition, part: ast.expr, place: Definition) -> bool:
    head = head_of(part)
    if head in _NO_CLASS:
        return False
    if head == "Callable":
        return has_member(target, "__call__") is not False
    if head in _SEQUENCES:
        return any(has_member(target, name) is not False for name in ("__iter__", "__getitem__"))
    if head in _MAPPINGS:
        return has_member(target, "__getitem__") is not False
    if head in ("Any", "object") or not isinstance(part, ast.Name | ast.Attribute):
        return True
    # torch's _LRScheduler of old is no base of today's schedulers, and MONAI still says so.
    if any(_has_base(found, name) is not False for name in (head, head.lstrip("_"))):
        return True
    wanted = resolve_base(place.module, part)
    if wanted is None or not isinstance(wanted.node, ast.ClassDef) or "Protocol" in map(head_of, wanted.node.bases):
        return True
    return _has_base(found, wanted.node.name) is not False


def _has_base(found: Definition, name: str) -> bool | None:
    """Whether a class or one of its bases is called so; None when not all of them can be read."""
    known: bool | None = False
    for cls in ancestry(found):
        if cls is None:
            known = None
        elif cls.node.name == name:
            return True
    return known
