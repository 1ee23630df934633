"""A hash of what transforms do, and of the files that they start from."""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import os
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medseg import record

_PACKAGE = Path(__file__).resolve().parents[1]
# What the fixed transforms reach into; a change of the code there makes other voxels.
_ROOMS = ("transforms", "volumes", "kernels", "labels", "cache")
_DEEP = 24


class UnstableError(ValueError):
    """Something whose meaning cannot be told from one process to the next, such as a lambda."""


def fingerprint(transforms: Iterable[Callable[..., Any]]) -> str:
    """A hash of the transforms: their classes, all that they were built with, and the versions of the code.

    Raises:
        UnstableError: When a transform holds something that has no name, such as a lambda.
    """
    described = [described_value(transform) for transform in transforms]
    text = json.dumps([described, _code_version()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def described_value(value: Any, depth: int = 0) -> Any:
    """The value as something that JSON holds and that is the same in every process.

    >>> described_value({"keys": ("image",), "dtype": np.float32})
    ['dict', [['keys', ['tuple', ['image']]], ['dtype', 'numpy.float32']]]

    Raises:
        UnstableError: When it has none.
    """
    if depth > _DEEP:
        msg = f"{type(value).__name__} is nested too deeply"
        raise UnstableError(msg)
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return ["float", value.hex()]
    simple = _simple(value)
    if simple is not None:
        return simple
    if isinstance(value, Mapping):
        return ["dict", [[described_value(k, depth + 1), described_value(v, depth + 1)] for k, v in value.items()]]
    if isinstance(value, (list, tuple, set, frozenset)):
        ordered = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        return [type(value).__name__, [described_value(item, depth + 1) for item in ordered]]
    if isinstance(value, functools.partial):
        return ["partial", described_value((value.func, value.args, value.keywords), depth + 1)]
    return _object(value, depth)


def _simple(value: Any) -> Any:
    """Arrays by their bytes, and what has a name by its name."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, (np.ndarray, np.generic)):
        data = np.ascontiguousarray(value)
        if data.dtype.hasobject:
            return None
        return ["array", data.dtype.str, list(np.shape(value)), hashlib.sha256(data.tobytes()).hexdigest()]
    if isinstance(value, enum.Enum):
        return ["enum", _name(type(value)), value.name]
    if isinstance(value, (torch.dtype, torch.device, np.dtype, Path, slice, range, complex, bytes)):
        return [type(value).__name__, str(value)]
    if isinstance(value, str):
        return [_name(type(value)), str(value)]
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType, np.ufunc)):
        return _name(value)
    return value.__name__ if isinstance(value, types.ModuleType) else None


def _name(thing: Any) -> str:
    name = f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', thing.__name__)}"
    if "<" in name:
        msg = f"{name} has no name that another process could find it by; use a function of a module"
        raise UnstableError(msg)
    return name


def _object(value: Any, depth: int) -> Any:
    kind = _name(type(value))
    if isinstance(value, types.MethodType):
        return ["method", value.__func__.__qualname__, described_value(value.__self__, depth + 1)]
    if isinstance(value, np.random.RandomState):
        return kind  # of a transform that draws nothing; one that draws is not fixed
    if not hasattr(value, "__dict__"):
        text = repr(value)
        if " at 0x" in text:
            msg = f"{kind} shows nothing of what it holds"
            raise UnstableError(msg)
        return [kind, text]
    return [kind, [[name, described_value(item, depth + 1)] for name, item in sorted(vars(value).items())]]


@functools.cache
def _code_version() -> str:
    """Versions of the packages, and when medseg's own files of the rooms that matter were changed."""
    files = sorted(path for room in _ROOMS for path in (_PACKAGE / room).rglob("*.py"))
    stamps = [(str(path.relative_to(_PACKAGE)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return json.dumps([record.versions(), stamps])


def files_of(item: Any) -> list[Path]:
    """The files that an item names, those that belong to them, and those in folders that it names, in order."""
    found: dict[Path, None] = {}
    for path in _paths(item):
        for file in _with_companions(path):
            found[file] = None
    return list(found)


def _paths(value: Any) -> Iterable[Path]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key != "case_id":  # a folder may be called as a case is
                yield from _paths(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _paths(inner)
    elif isinstance(value, (str, os.PathLike)):
        path = Path(value)
        try:
            there = len(str(value)) < 4096 and path.exists()
        except (OSError, ValueError):
            there = False
        if there and str(value):
            yield path


def _with_companions(path: Path) -> Sequence[Path]:
    """The file, and with a header (.mhd, .nhdr) all files whose names begin as its does."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    if path.suffix in (".mhd", ".nhdr"):
        return sorted(file for file in path.parent.glob(f"{path.stem}.*") if file.is_file())
    return [path]
