"""YAML and JSON files read strictly: no duplicate keys, and the line of every key kept."""

from __future__ import annotations

import bisect
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from medseg.bundle import ids
from medseg.errors import ConfigError

METADATA = "configs/metadata.json"

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# A config is a few hundred values. Aliases that repeat one another can make billions of a few lines.
_MOST_REPEATS = 20_000
# YAML 1.2 floats. PyYAML reads 1e-3 as a string because YAML 1.1 wants a dot and a sign.
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)$")


class _Loader(_Base):  # type: ignore[misc]
    """The safe loader, with `1e-3` a float and dates left as text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


@dataclass(frozen=True)
class Trap:
    """A piece of a file that does not mean what it says.

    Attributes:
        line: Line number, from 1.
        id_: Where it stands.
        text: As written.
        kind: `twice` for a key that comes again, `number` for a float that stock MONAI reads as text, `none` for
            `None`, `switch` for yes, no, on and off, `octal` and `clock` for whole numbers written as 010 and 1:30,
            `key` for a key that is no text.
    """

    line: int
    id_: str
    text: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class Document:
    """One configuration file.

    Attributes:
        path: The file.
        content: Its mapping.
        lines: Line number (from 1) of each `a::b::0` id, as far as known.
        traps: What does not mean what it says.
    """

    path: Path
    content: dict[str, Any]
    lines: dict[str, int] = field(default_factory=dict)
    traps: tuple[Trap, ...] = ()

    def where(self, id_: str, *, shown: str) -> str:
        """The file under the name to show, the line of the id or of what it is in, and the id."""
        parts = id_.split(ids.SEP)
        known = (self.lines.get(ids.SEP.join(parts[:n])) for n in range(len(parts), 0, -1))
        line = next((line for line in known if line), 1)
        return f"{shown}:{line}: {id_}" if id_ else f"{shown}:1"


def parse_value(text: str) -> Any:
    """The value that a piece of YAML stands for; floats like `1e-3` are understood.

    Raises:
        ValueError: When the text is no YAML.

    >>> parse_value("[1e-3, true, t1c]")
    [0.001, True, 't1c']
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(_problem(error)) from error


def read_document(path: Path, *, strict: bool = True) -> Document:
    """A YAML or JSON file whose top level is a mapping.

    Args:
        path: The file.
        strict: Whether a key that comes twice is an error, or a trap in the document, where the last one counts.

    Raises:
        ConfigError: When the file is missing, cannot be parsed, repeats a key or is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read ({error.__class__.__name__}: {error})."
        raise ConfigError(msg) from error
    document = _read_json(path, text) if path.suffix == ".json" else _read_yaml(path, text)
    twice = next((t for t in document.traps if t.kind == "twice"), None)
    if strict and twice is not None:
        msg = f"{path}:{twice.line}: the key {twice.id_!r} comes twice. Remove one of them."
        raise ConfigError(msg)
    return document


def _read_yaml(path: Path, text: str) -> Document:
    walk = _Walk(path)
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                walk.visit(node, "")
            content = {} if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError) as error:
        mark = _mark(error)
        where = f"{path}:{mark.line + 1}" if mark is not None else f"{path}"
        msg = f"{where}: not valid YAML: {_problem(error)}."
        raise ConfigError(msg) from error
    return Document(path=path, content=_mapping(path, content), lines=walk.lines, traps=tuple(walk.traps))


def _mark(error: Exception) -> Any:
    """Where the error is: where the bracket or quote was opened that is not closed, else where it was noticed."""
    opened = re.search(r"flow (sequence|mapping)|quoted scalar|simple key", str(getattr(error, "context", "")))
    return getattr(error, "context_mark" if opened else "problem_mark", None)


class _Walk:
    """Goes through a YAML tree once: notes the line of every key and what does not mean what it says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[str, int] = {}
        self.traps: list[Trap] = []
        self._above: list[int] = []
        self._seen: set[int] = set()
        self._repeats = 0

    def visit(self, node: yaml.Node, id_: str) -> None:
        """Notes the node and all below it."""
        line = node.start_mark.line + 1
        self._repeats += id(node) in self._seen
        if id(node) in self._above or self._repeats > _MOST_REPEATS:
            what = "the alias refers to itself" if id(node) in self._above else "the aliases make it too large"
            msg = f"{self.path}:{line}: {what}. Write it out, or use an '@' reference."
            raise ConfigError(msg)
        self._seen.add(id(node))
        self._above.append(id(node))
        if isinstance(node, yaml.MappingNode):
            self._mapping(node, id_)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._note(f"{id_}::{index}" if id_ else str(index), value, value.start_mark.line + 1)
        elif isinstance(node, yaml.ScalarNode):
            kind = _kind(node)
            if kind:
                self.traps.append(Trap(line, id_, node.value, kind))
        self._above.pop()

    def _mapping(self, node: yaml.MappingNode, id_: str) -> None:
        names: set[str] = set()
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            child = f"{id_}::{name}" if id_ else name
            if name in names:
                self.traps.append(Trap(line, child, name, "twice"))
            names.add(name)
            if not key.tag.endswith(":str") and name != "<<":
                self.traps.append(Trap(line, child, name, "key"))
            self._note(child, value, line)

    def _note(self, id_: str, value: yaml.Node, line: int) -> None:
        self.lines[id_] = line
        self.visit(value, id_)


def _kind(node: yaml.ScalarNode) -> str:
    """How a plain scalar deceives; empty when it does not."""
    tag, text = node.tag.rpartition(":")[2], node.value
    if node.style:
        return ""
    if tag == "float" and _is_text_in_yaml11(text):
        return "number"
    if tag == "bool" and text.lower() not in ("true", "false"):
        return "switch"
    if tag == "str" and text == "None":
        return "none"
    if tag in ("int", "float") and ":" in text:
        return "clock"
    return "octal" if tag == "int" and re.fullmatch(r"[-+]?0[0-7_]+", text) else ""


def _is_text_in_yaml11(text: str) -> bool:
    return isinstance(yaml.safe_load(text), str)


# What a JSON text is made of; it has been parsed before, so nothing else occurs in it.
_JSON_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def _read_json(path: Path, text: str) -> Document:
    try:
        content = _mapping(path, json.loads(text))
    except json.JSONDecodeError as error:
        msg = f"{path}:{error.lineno}: not valid JSON: {error.msg}."
        raise ConfigError(msg) from error
    except RecursionError as error:
        msg = f"{path}: not valid JSON: it nests too deep."
        raise ConfigError(msg) from error
    lines, traps = _json_lines(text)
    return Document(path=path, content=content, lines=lines, traps=traps)


def _json_lines(text: str) -> tuple[dict[str, int], tuple[Trap, ...]]:
    """The line of every id in a JSON text, and the keys that come twice in one object."""
    lines: dict[str, int] = {}
    traps: list[Trap] = []
    stack: list[_Level] = []
    starts = [0, *(m.end() for m in re.finditer("\n", text))]
    for token in _JSON_TOKEN.finditer(text):
        mark, line = token.group(), bisect.bisect_right(starts, token.start())
        top = stack[-1] if stack else None
        if top is not None and mark not in ",:}]" and top.key is None:
            name = str(top.count) if top.is_list else str(json.loads(mark))
            id_ = f"{top.id_}::{name}" if top.id_ else name
            if not top.is_list and name in top.names:
                traps.append(Trap(line, id_, name, "twice"))
            top.names.add(name)
            top.key, lines[id_] = id_, line
            if not top.is_list:
                continue
        if mark in "{[":
            stack.append(_Level(id_=top.key or "" if top else "", is_list=mark == "["))
        elif mark in "}]":
            stack.pop()
        elif mark == "," and top is not None:
            top.key, top.count = None, top.count + 1
    return lines, tuple(traps)


@dataclass(kw_only=True)
class _Level:
    """An object or array that is open while a JSON text is read."""

    id_: str
    is_list: bool
    key: str | None = None
    count: int = 0
    names: set[str] = field(default_factory=set)


def _mapping(path: Path, content: object) -> dict[str, Any]:
    if not isinstance(content, dict):
        msg = f"{path}: the top level is a {type(content).__name__}, not a mapping of keys to values."
        raise ConfigError(msg)
    return content


def _problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it nests too deep"
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return str(problem)
