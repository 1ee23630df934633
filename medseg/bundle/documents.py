"""YAML and JSON files read strictly: no duplicate keys, and the line of every key kept."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from medseg.errors import ConfigError

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# YAML 1.2 floats. PyYAML reads 1e-3 as a string because YAML 1.1 wants a dot and a sign.
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)$")


class _Loader(_Base):  # type: ignore[misc]
    """The safe loader, with `1e-3` a float and dates left as text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


@dataclass(frozen=True, kw_only=True)
class Document:
    """One configuration file.

    Attributes:
        path: The file.
        content: Its mapping.
        lines: Line number (from 1) of each `a::b::0` id, as far as known.
        dotless_floats: Ids whose value stock MONAI would read as text, such as `1e-3`, with that text.
    """

    path: Path
    content: dict[str, Any]
    lines: dict[str, int] = field(default_factory=dict)
    dotless_floats: dict[str, str] = field(default_factory=dict)


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


def read_document(path: Path) -> Document:
    """A YAML or JSON file whose top level is a mapping.

    Raises:
        ConfigError: When the file is missing, cannot be parsed, repeats a key or is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read ({error.__class__.__name__}: {error})."
        raise ConfigError(msg) from error
    return _read_json(path, text) if path.suffix == ".json" else _read_yaml(path, text)


def _read_yaml(path: Path, text: str) -> Document:
    loader = _Loader(text)
    lines: dict[str, int] = {}
    dotless: dict[str, str] = {}
    try:
        node = loader.get_single_node()
        if node is not None:
            _walk(node, "", path=path, lines=lines, dotless=dotless)
        content = {} if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark is not None else f"{path}"
        msg = f"{where}: not valid YAML: {_problem(error)}."
        raise ConfigError(msg) from error
    finally:
        loader.dispose()
    return Document(path=path, content=_mapping(path, content), lines=lines, dotless_floats=dotless)


def _walk(node: yaml.Node, id_: str, *, path: Path, lines: dict[str, int], dotless: dict[str, str]) -> None:
    """Notes the line of every key below the node and refuses a key that comes twice."""
    prefix = f"{id_}::" if id_ else ""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                msg = f"{path}:{line}: the key {prefix + name!r} comes twice. Remove one of them."
                raise ConfigError(msg)
            seen.add(name)
            lines[prefix + name] = line
            _walk(value, prefix + name, path=path, lines=lines, dotless=dotless)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[f"{prefix}{index}"] = value.start_mark.line + 1
            _walk(value, f"{prefix}{index}", path=path, lines=lines, dotless=dotless)
    elif isinstance(node, yaml.ScalarNode) and node.tag.endswith(":float") and _is_text_in_yaml11(node.value):
        dotless[id_] = node.value


def _is_text_in_yaml11(text: str) -> bool:
    return isinstance(yaml.safe_load(text), str)


def _read_json(path: Path, text: str) -> Document:
    def refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key, value in pairs:
            if key in content:
                spots = list(re.finditer(rf"{re.escape(json.dumps(key))}\s*:", text))
                line = text.count("\n", 0, spots[-1].start()) + 1 if spots else 1
                msg = f"{path}:{line}: the key {key!r} comes twice. Remove one of them."
                raise ConfigError(msg)
            content[key] = value
        return content

    try:
        return Document(path=path, content=_mapping(path, json.loads(text, object_pairs_hook=refuse_twice)))
    except json.JSONDecodeError as error:
        msg = f"{path}:{error.lineno}: not valid JSON: {error.msg}."
        raise ConfigError(msg) from error


def _mapping(path: Path, content: object) -> dict[str, Any]:
    if not isinstance(content, dict):
        msg = f"{path}: the top level is a {type(content).__name__}, not a mapping of keys to values."
        raise ConfigError(msg)
    return content


def _problem(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return str(problem)
