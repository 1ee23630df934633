"""The signature of a class or function, read from source without importing anything.

What cannot be parsed, such as a class written in C, counts as existing with an unknown signature.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from medseg.bundle.source_files import statements_in
from medseg.bundle.sources import (
    Definition,
    Function,
    NotFoundError,
    ancestry,
    find_definition,
    monai_names,
    nearest_name,
    resolve_base,
)

_DECORATORS = """
abstractmethod alias cache classmethod compatibility contextmanager dataclass dataclass_transform deprecated
deprecated_arg deprecated_arg_default disable export final ignore inference_mode lru_cache no_grad override
runtime_checkable set_module staticmethod total_ordering unused wraps
"""
# Decorators under which a function or class still takes the arguments it declares.
_TRANSPARENT = frozenset(_DECORATORS.split())


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What a callable takes by keyword.

    Attributes:
        names: Every argument that can be given by name.
        required: Those without a default.
        open_ended: Whether it takes any other name too (`**kwargs`).
        unnamable: Required arguments that can be given by position only.
        annotations: The annotation of each named argument that has one, as text.
    """

    names: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    open_ended: bool = False
    unnamable: tuple[str, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()


ANY = Signature(open_ended=True)


@cache
def signature_of(target: str) -> Signature:
    """What a dotted name, or a bare name of MONAI, takes by keyword.

    Args:
        target: As in `_target_`.

    Returns:
        `ANY` where the source does not tell.

    Raises:
        NotFoundError: When nothing of that name exists.
    """
    if "." in target:
        found = find_definition(target)
    else:
        name = monai_names().get(target)
        if name is None and hasattr(builtins, target):
            return ANY
        if name is None:
            close = nearest_name(target, monai_names())
            msg = f"MONAI has no {target!r}.{close}"
            raise NotFoundError(msg)
        found = find_definition(name)
    return ANY if found is None else _signature(found)


def resolve_name(target: str) -> str | None:
    """The dotted name under which the thing itself is defined; None when the source does not tell.

    Raises:
        NotFoundError: When nothing of that name exists.

    >>> resolve_name("monai.transforms.LoadImageD")
    'monai.transforms.io.dictionary.LoadImaged'
    """
    found = find_definition(target)
    return None if found is None else f"{found.module.name}.{found.node.name}"


def _signature(place: Definition) -> Signature:
    if isinstance(place.node, ast.ClassDef):
        return _class_signature(place)
    if not _transparent(place.node.decorator_list):
        return ANY
    names = {_decorator_name(d) for d in place.node.decorator_list}
    return _function_signature(place.node, bound="classmethod" in names)


def _class_signature(place: Definition) -> Signature:
    fields: list[Definition] = []
    for cls in ancestry(place):
        if cls is None or not isinstance(cls.node, ast.ClassDef):
            return ANY
        if not _transparent(cls.node.decorator_list) or _has_metaclass(cls.node) or _is_named_tuple(cls.node):
            return ANY
        if any(_decorator_name(d) == "dataclass" for d in cls.node.decorator_list):
            fields.append(cls)
        methods = {s.name: s for s in statements_in(cls.node.body) if isinstance(s, ast.FunctionDef)}
        maker = methods.get("__init__") or methods.get("__new__")
        if maker is not None and not fields:
            return _maker_signature(cls, maker)
    return _dataclass_signature(fields) if fields else Signature()


def _maker_signature(cls: Definition, maker: ast.FunctionDef) -> Signature:
    """The signature of an `__init__`, joined with the base's where `**kwargs` go on to it and nowhere else."""
    if not _transparent(maker.decorator_list):
        return ANY
    own = _function_signature(maker, bound=True)
    if maker.args.kwarg is None or not isinstance(cls.node, ast.ClassDef) or len(cls.node.bases) != 1:
        return own
    rest = maker.args.kwarg.arg
    calls = [n for n in ast.walk(maker) if isinstance(n, ast.Call) and any(k.arg is None for k in n.keywords)]
    if [ast.unparse(c.func) for c in calls] != ["super().__init__"] or f"**{rest}" not in ast.unparse(calls[0]):
        return own
    parent = resolve_base(cls.module, cls.node.bases[0])
    base = ANY if parent is None else _signature(parent)
    # Names that the body itself takes out of **kwargs stand in it as text.
    named = [n.value for n in ast.walk(maker) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    names = tuple(dict.fromkeys([*own.names, *base.names, *filter(str.isidentifier, named)]))
    return replace(own, names=names, open_ended=base.open_ended, annotations=own.annotations + base.annotations)


def _dataclass_signature(classes: Sequence[Definition]) -> Signature:
    """The fields of a dataclass, its bases first."""
    fields: dict[str, bool] = {}
    annotations: dict[str, str] = {}
    for cls in reversed(classes):
        for statement in cls.node.body:
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            if "ClassVar" in ast.unparse(statement.annotation):
                continue
            annotations[statement.target.id] = ast.unparse(statement.annotation)
            value = "" if statement.value is None else ast.unparse(statement.value)
            if value.startswith(("field(", "dataclasses.field(")):
                if "init=False" in value:
                    continue
                fields[statement.target.id] = "default" not in value
            else:
                fields[statement.target.id] = statement.value is None
    return Signature(
        names=tuple(fields),
        required=tuple(name for name, needed in fields.items() if needed),
        annotations=tuple((name, text) for name, text in annotations.items() if name in fields),
    )


def _function_signature(node: Function, *, bound: bool) -> Signature:
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    skip = 1 if bound and positional else 0
    with_default = len(arguments.defaults)
    required = [a.arg for a in positional[skip : len(positional) - with_default]]
    only_position = {a.arg for a in arguments.posonlyargs}
    required += [a.arg for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is None]
    named = [a.arg for a in positional[skip:] if a.arg not in only_position]
    named += [a.arg for a in arguments.kwonlyargs]
    return Signature(
        names=tuple(dict.fromkeys([*named, *_renamed(node)])),
        required=tuple(name for name in required if name not in only_position),
        open_ended=arguments.kwarg is not None,
        unnamable=tuple(name for name in required if name in only_position),
        annotations=tuple(
            (a.arg, ast.unparse(a.annotation))
            for a in (*arguments.args[skip:], *arguments.kwonlyargs)
            if a.annotation is not None
        ),
    )


def _renamed(node: Function) -> list[str]:
    """Old argument names that MONAI's `deprecated_arg` still takes."""
    names: list[str] = []
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and _decorator_name(decorator).startswith("deprecated_arg"):
            values = [*decorator.args[:1], *(k.value for k in decorator.keywords if k.arg == "name")]
            names += [v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str)]
    return names


def _transparent(decorators: Sequence[ast.expr]) -> bool:
    return all(_decorator_name(d) in _TRANSPARENT for d in decorators)


def _decorator_name(decorator: ast.expr) -> str:
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(function).rpartition(".")[2]


def _is_named_tuple(node: ast.ClassDef) -> bool:
    return any("NamedTuple" in ast.unparse(base) for base in node.bases)


def _has_metaclass(node: ast.ClassDef) -> bool:
    return any(k.arg == "metaclass" and "ABCMeta" not in ast.unparse(k.value) for k in node.keywords)
