"""Chains of transforms: the components in them, in order, and the keys that each works on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from medseg.bundle import ids
from medseg.bundle.constants import UnknownError, constant
from medseg.bundle.known_networks import source_of


def transforms_in(config: dict[str, Any], key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The components of a chain and where they stand, as far as that can be told.

    Args:
        config: The composed config.
        key: Id of the chain, which has them in `transforms`.
    """
    source = source_of(config, f"{key}::transforms")
    try:
        found = constant(config, source) if source else []
    except UnknownError:
        return
    where = {id(v): id_ for id_, v in ids.walk(config)}
    for part in found if isinstance(found, list) else ():
        if ids.is_component(part):
            yield where.get(id(part), key), part


def keys_at(config: dict[str, Any], id_: str, name: str = "keys") -> list[Any]:
    """The keys that an argument of a component names; none where that cannot be told."""
    try:
        keys = constant(config, f"{id_}{ids.SEP}{name}")
    except UnknownError:
        return []
    return keys if isinstance(keys, list) else [keys]
