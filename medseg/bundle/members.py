"""Names that the instances of a class have, read from source without importing anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from medseg.bundle.sources import Definition, NotFoundError, ancestry, find_definition, monai_names

# Its `__getattr__` knows parameters, buffers and modules, so a name that is near to one of its methods is a slip.
_TORCH = "torch.nn.modules.module"


@dataclass(frozen=True)
class Members:
    """What instances of a class have.

    Attributes:
        names: What the class and its bases define or set.
        methods: Those of them that are called.
        complete: Whether there can be no other names.
        of_torch: Whether the only other names are those of a torch module's parts.
        readable: Whether all its bases could be read.
    """

    names: frozenset[str]
    methods: frozenset[str]
    complete: bool
    of_torch: bool
    readable: bool


@cache
def members_of(target: str) -> Members | None:
    """What instances of a class have; None when it is no class that can be read.

    >>> sorted(name for name in members_of("json.JSONDecoder").names if "code" in name)
    ['decode', 'raw_decode']
    """
    try:
        name = target if "." in target else monai_names().get(target, "")
        found = find_definition(name) if name else None
    except NotFoundError:
        return None
    if found is None or not isinstance(found.node, ast.ClassDef):
        return None
    names: set[str] = set(dir(object))
    methods: set[str] = set()
    hidden: list[Definition | None] = []
    for cls in ancestry(found):
        if cls is None or not isinstance(cls.node, ast.ClassDef) or cls.node.decorator_list or _is_hidden(cls.node):
            hidden.append(cls)
        if cls is not None:
            names.update(_stored(cls.node))
            methods.update(_methods(cls.node))
    of_torch = bool(hidden) and all(cls is not None and cls.module.name == _TORCH for cls in hidden)
    return Members(frozenset(names), frozenset(methods), not hidden, of_torch, None not in hidden)


def has_member(target: str, name: str) -> bool | None:
    """Whether instances of a class have the name; None when that cannot be told."""
    members = members_of(target)
    if members is None:
        return None
    if name in members.names:
        return True
    # Python looks a name such as __call__ up in the class itself, and never asks __getattr__.
    known = members.readable if name.startswith("__") else members.complete
    return False if known else None


def _stored(node: ast.AST) -> Iterator[str]:
    """Names that the class sets, and its properties."""
    for child in ast.walk(node):
        if isinstance(child, ast.FunctionDef):
            yield child.name
        if isinstance(child, ast.Attribute | ast.Name) and isinstance(child.ctx, ast.Store):
            yield child.attr if isinstance(child, ast.Attribute) else child.id


def _methods(node: ast.AST) -> Iterator[str]:
    for child in ast.walk(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_property(child):
            yield child.name


def _is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in node.decorator_list)


def _is_hidden(node: ast.ClassDef) -> bool:
    """Whether it has names that no statement shows."""
    for child in ast.walk(node):
        if isinstance(child, ast.FunctionDef) and child.name in ("__getattr__", "__getattribute__"):
            return True
        if isinstance(child, ast.Attribute) and child.attr == "__dict__":
            return True
        if isinstance(child, ast.Call) and ast.unparse(child).startswith("setattr(self,"):
            return True
    return False
