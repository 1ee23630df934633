"""Pickles among a bundle's files: which functions they would call, read from their opcodes and never run."""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

_PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".bin")
_ARRAYS = (".npy", ".npz")
_NOT_OURS = frozenset({"__pycache__", ".git", "runs", "eval"})
_BLOCK = 1 << 25  # bytes of a file without a table of contents that are looked at
_ZIP = b"PK\x03\x04"
_LEGACY = 4  # pickles in a row at the head of a file that torch wrote before 1.6
# What torch.load(weights_only=True) lets a pickle call, as far as weights need it.
_HARMLESS = re.compile(
    r"(?:collections\.(?:OrderedDict|defaultdict|Counter)|torch\.\w*(?:Storage|Tensor|Size|device|dtype)"
    r"|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2|torch\.serialization\._get_layout"
    r"|torch\.nn\.parameter\.Parameter|torch\.storage\.\w*Storage|torch\.(?:u?int|float|bfloat|complex|bool)\w*"
    r"|_codecs\.encode|numpy\.dtypes\.\w+|numpy\.dtype|numpy\.ndarray"
    r"|numpy\.(?:_core|core)\.multiarray\.(?:scalar|_reconstruct)|builtins\.(?:set|bytearray|complex|dict|list|slice))"
)
_TEXT_OPS = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING")


def pickle_powers(root: Path) -> Iterator[tuple[str, str]]:
    """Each file below the folder whose pickle calls more than weights need, with what it calls."""
    for path in sorted(root.rglob("*")):
        shown = path.relative_to(root)
        if not path.is_file() or _NOT_OURS.intersection(shown.parts):
            continue
        names = sorted(called_by(path))
        if names:
            yield str(shown), f"holds a pickle that calls {', '.join(names[:4])}{' …' if len(names) > 4 else ''}"


def called_by(path: Path) -> set[str]:
    """What the pickles in a file would call, but for what weights need; empty for a file of another kind.

    Files of weights, arrays of Python objects and plain pickles are told apart by their content.
    """
    suffix = path.suffix.lower()
    if suffix not in (*_PICKLES, *_ARRAYS):
        return set()
    try:
        found = _in_zip(path) if zipfile.is_zipfile(path) else set()
        with path.open("rb") as file:
            head = file.read(_BLOCK)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return {"something that cannot be read"}
    if head.startswith(_ZIP):
        return found
    # A zip is told by its end, a pickle by its beginning: a file can be both.
    return found | (_in_array(head) if suffix in _ARRAYS else _in_pickles(head))


def _in_zip(path: Path) -> set[str]:
    found: set[str] = set()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.endswith((".pkl", ".pickle")):
                with archive.open(info) as member:
                    found |= _in_pickles(member.read(_BLOCK))
            elif info.filename.endswith(".npy"):
                with archive.open(info) as member:
                    found |= _in_array(member.read(_BLOCK))
    return found


def _in_array(head: bytes) -> set[str]:
    """A .npy file: an array of Python objects is a pickle behind a header."""
    descr = re.search(rb"'descr':\s*(.+?),\s*'fortran_order'", head[:4096])
    if descr is None or b"O" not in descr[1]:
        return set()
    start = head.find(b"\n") + 1
    return _in_pickles(head[start:]) or {"the constructor of Python objects"}


def _in_pickles(data: bytes) -> set[str]:
    stream, found = io.BytesIO(data), set[str]()
    for _ in range(_LEGACY):
        names, complete = _globals_in(stream)
        found |= names
        if not complete:
            break
    return {name for name in found if not _HARMLESS.fullmatch(name)}


def _globals_in(stream: io.BytesIO) -> tuple[set[str], bool]:
    """Dotted names that one pickle looks up, and whether it came to its end."""
    found: set[str] = set()
    texts: list[str] = []
    memo: dict[int, str] = {}
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name in _TEXT_OPS:
                texts.append(str(argument))
            elif opcode.name == "MEMOIZE":
                memo[len(memo)] = texts[-1] if texts else ""
            elif opcode.name in ("BINGET", "LONG_BINGET", "GET"):
                texts.append(memo.get(int(str(argument)), "?"))
            elif opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
                memo[int(str(argument))] = texts[-1] if texts else ""
            elif opcode.name in ("GLOBAL", "INST"):
                found.add(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL":
                found.add(".".join(texts[-2:]) if len(texts) > 1 else "something unnamed")
            elif opcode.name in ("EXT1", "EXT2", "EXT4"):
                found.add("something registered in copyreg")
    except Exception:
        return found, False
    return found, True
