"""A case as one block of bytes, to be mapped, and a description in JSON: no pickles, so reading it can run nothing."""

from __future__ import annotations

import enum
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from monai.data.meta_tensor import MetaTensor

ALIGNED = 4096  # bytes, so that a crop's pages are its own
_SMALL = 512  # bytes; smaller arrays stand side by side
_TRUSTED = ("monai", "medseg")
_KIND = "t"


class UncacheableError(TypeError):
    """A value that the format does not hold."""


class Writer:
    """Writes arrays into a file and describes them.

    Args:
        file: Open for writing in binary.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size = file, 0

    def encode(self, value: Any) -> Any:
        """The description of a value, its arrays written.

        Raises:
            UncacheableError: When the format does not hold it.
        """
        if value is None or type(value) in (bool, int, str, float):
            return value
        if isinstance(value, MetaTensor):
            if value.pending_operations:
                msg = "a volume with lazy operations that are not applied yet"
                raise UncacheableError(msg)
            parts = [self.encode(part) for part in (value.as_tensor(), dict(value.meta), value.applied_operations)]
            return {_KIND: "meta", "v": parts}
        if isinstance(value, torch.Tensor):
            return {**self._array(_numpy_of(value)), _KIND: "tensor"}
        if isinstance(value, (np.ndarray, np.generic)):
            return {**self._array(np.asarray(value)), _KIND: "array" if isinstance(value, np.ndarray) else "number"}
        if isinstance(value, Mapping) and type(value) is dict:
            return {_KIND: "dict", "v": [[self.encode(key), self.encode(item)] for key, item in value.items()]}
        if type(value) in (list, tuple):
            return {_KIND: type(value).__name__, "v": [self.encode(item) for item in value]}
        return self._named(value)

    def _named(self, value: Any) -> Any:
        if isinstance(value, torch.dtype):
            return {_KIND: "dtype", "v": str(value).removeprefix("torch.")}
        if isinstance(value, torch.device):
            return {_KIND: "device", "v": str(value)}
        if isinstance(value, Path):
            return {_KIND: "path", "v": str(value)}
        kind = type(value)
        if isinstance(value, (enum.Enum, str)) and kind.__module__.partition(".")[0] in _TRUSTED:
            plain = value.value if isinstance(value, enum.Enum) else str(value)
            return {_KIND: "named", "c": [kind.__module__, kind.__qualname__], "v": self.encode(plain)}
        msg = f"{kind.__module__}.{kind.__qualname__}"
        raise UncacheableError(msg)

    def _array(self, array: npt.NDArray[Any]) -> dict[str, Any]:
        if array.dtype.hasobject:
            msg = "an array of Python objects"
            raise UncacheableError(msg)
        step = ALIGNED if array.nbytes > _SMALL else 16
        self.file.write(b"\0" * (-self.size % step))
        self.size += -self.size % step
        start = self.size
        self.file.write(np.ascontiguousarray(array).data if array.size else b"")
        self.size += array.nbytes
        return {"o": start, "d": array.dtype.str, "s": list(array.shape)}


def _numpy_of(tensor: torch.Tensor) -> npt.NDArray[Any]:
    try:
        return tensor.detach().cpu().numpy()
    except (TypeError, RuntimeError) as error:
        msg = f"a tensor of {tensor.dtype}"
        raise UncacheableError(msg) from error


def decode(node: Any, block: npt.NDArray[np.uint8]) -> Any:
    """The value of a description; arrays are views of the block.

    Args:
        node: What `Writer.encode` gave.
        block: All bytes of the file.
    """
    if not isinstance(node, dict):
        return node
    kind: str = node[_KIND]
    value: Any = node.get("v")
    if kind in ("tensor", "array", "number"):
        return _array(node, block)
    if kind == "meta":
        tensor, meta, operations = (decode(part, block) for part in value)
        return MetaTensor(tensor, meta=meta, applied_operations=operations)
    if kind == "dict":
        return {decode(key, block): decode(item, block) for key, item in value}
    if kind in ("list", "tuple"):
        items = [decode(item, block) for item in value]
        return items if kind == "list" else tuple(items)
    if kind == "named":
        return _class_of(*node["c"])(decode(value, block))
    return {"dtype": lambda name: getattr(torch, name), "device": torch.device, "path": Path}[kind](value)


def _array(node: dict[str, Any], block: npt.NDArray[np.uint8]) -> Any:
    dtype, shape = np.dtype(node["d"]), tuple(node["s"])
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if node["o"] + size > block.size:
        msg = "the block is shorter than its description says"
        raise ValueError(msg)
    array = block[node["o"] : node["o"] + size].view(dtype).reshape(shape)
    if node[_KIND] == "tensor":
        return torch.from_numpy(array)
    return array if node[_KIND] == "array" else array[()]


def _class_of(module: str, name: str) -> Any:
    if module.partition(".")[0] not in _TRUSTED:
        msg = f"{module}.{name} is no class of MONAI or medseg"
        raise ValueError(msg)
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if not (isinstance(found, type) and issubclass(found, (enum.Enum, str))):
        msg = f"{module}.{name} is no enumeration and no text"
        raise ValueError(msg)
    return found
