"""Ids of config items: `a::b::0` names the first element of `b` in `a`, as in MONAI."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

SEP = "::"
# Keys of a component that are no arguments of its target (monai.bundle.ConfigComponent.non_arg_keys).
COMPONENT_KEYS = frozenset({"_target_", "_disabled_", "_requires_", "_desc_", "_mode_"})


def normalize(id_: str) -> str:
    """The id with the new separator; `#` is MONAI's old one.

    >>> normalize("train#trainer")
    'train::trainer'
    """
    return id_.replace("#", SEP)


def is_component(value: object) -> bool:
    """Whether MONAI instantiates this value."""
    return isinstance(value, dict) and "_target_" in value


def get_at(config: Any, id_: str) -> Any:
    """The value at the id.

    Raises:
        KeyError: When nothing is there.

    >>> get_at({"a": {"b": [5, 6]}}, "a::b::1")
    6
    """
    value = config
    for part in normalize(id_).split(SEP):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise KeyError(id_)
    return value


def contains(config: Any, id_: str) -> bool:
    """Whether something is at the id."""
    try:
        get_at(config, id_)
    except KeyError:
        return False
    return True


def set_at(config: dict[str, Any], id_: str, value: Any) -> None:
    """Puts the value at the id, whose parent must be there.

    Raises:
        KeyError: When the parent is not there.
    """
    parent, _, last = normalize(id_).rpartition(SEP)
    holder = get_at(config, parent) if parent else config
    if isinstance(holder, list) and last.isdigit() and int(last) < len(holder):
        holder[int(last)] = value
    elif isinstance(holder, dict):
        holder[last] = value
    else:
        raise KeyError(id_)


def walk(value: Any, id_: str = "") -> Iterator[tuple[str, Any]]:
    """Every id below `id_` with its value, parents first."""
    children: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    for key, child in children:
        child_id = f"{id_}{SEP}{key}" if id_ else str(key)
        yield child_id, child
        yield from walk(child, child_id)


def nearest_id(config: dict[str, Any], id_: str) -> str | None:
    """The id in the config that was probably meant, if any is near."""
    known = [known_id for known_id, _ in walk(config)]
    if SEP in id_:
        close = difflib.get_close_matches(id_, known, n=1, cutoff=0.6)
        return close[0] if close else None
    leaves = {known_id.rpartition(SEP)[2]: known_id for known_id in reversed(known)}
    for names in ([id_] if id_ in leaves else [], list(config), list(leaves)):
        close = difflib.get_close_matches(id_, names, n=1, cutoff=0.6)
        if close:
            return close[0] if close[0] in config else leaves[close[0]]
    return None
