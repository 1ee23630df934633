"""Orders of labels and numbers of axes on which metadata.json and a config do not agree."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from medseg.bundle import ids
from medseg.bundle.compose import Composition
from medseg.bundle.documents import METADATA, Document
from medseg.bundle.findings import Finding
from medseg.bundle.known_networks import network_of

_FORMAT = "network_data_format"
# Keys of a config under which labels are listed in their order, and those that medseg's own parts read.
_LISTS = ("labels", "label_names", "regions", "region_names", "class_names", "classes", "label_convention")
_OURS = ("regions", "label_names", "label_convention")
_TEXTS = ("label_classes", "pred_classes")
_MAPS = ("segmentation", "labels", "classes")


def described(composition: Composition, metadata: Document) -> Iterator[Finding]:
    """Labels that channel_def has in another order than the config, and shapes with other axes than the network."""
    yield from _axes(composition.config, metadata)
    names = _at(metadata.content, f"{_FORMAT}::outputs::pred::channel_def")
    if not isinstance(names, dict) or not all(key.isdigit() and isinstance(v, str) for key, v in names.items()):
        return
    for place, own, level in _orders(composition, metadata, names):
        found = _order(metadata, names, own, place, level)
        if found is not None:
            yield found
            return


def _orders(
    composition: Composition, metadata: Document, names: Mapping[str, str]
) -> Iterator[tuple[str, list[str], str]]:
    """Where names stand in an order, the names, and how bad another order is."""
    for id_, own in _lists(composition.config):
        yield composition.where(id_), own, "error" if id_ in _OURS else "warning"
    for key in _TEXTS:
        own = [part.strip() for part in str(metadata.content.get(key, "")).split(",")]
        if len(_matched(names, own)) == len(own):
            yield metadata.where(key, shown=METADATA), own, "warning"


def _at(content: Any, id_: str) -> Any:
    return ids.get_at(content, id_) if ids.contains(content, id_) else None


def _lists(config: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Names in the order of their numbers, by the id of the list."""
    for id_, value in ids.walk(config):
        if id_.rpartition(ids.SEP)[2] not in _LISTS:
            continue
        if isinstance(value, list) and all(isinstance(v, str) for v in value):
            yield id_, value
        elif isinstance(value, dict) and all(isinstance(v, int) for v in value.values()):
            yield id_, sorted(map(str, value), key=lambda name: int(value[name]))
        elif isinstance(value, dict) and all(str(k).isdigit() and isinstance(v, str) for k, v in value.items()):
            yield id_, [value[k] for k in sorted(value, key=int)]


def _order(metadata: Document, names: Mapping[str, str], own: Sequence[str], where: str, level: str) -> Finding | None:
    pairs = _matched(names, own)
    for (first, number), (second, next_number) in pairwise(pairs):
        if number > next_number:
            message = f"{names[str(next_number)]!r} is channel {next_number} here, before {names[str(number)]!r}, but "
            message += f"{first!r} comes before {second!r} in {where}."
            id_ = f"{_FORMAT}::outputs::pred::channel_def::{next_number}"
            return Finding(metadata.where(id_, shown=METADATA), message, level)
    return None


def _matched(names: Mapping[str, str], own: Sequence[str]) -> list[tuple[str, int]]:
    """Own names, each with the one channel whose longer or equal name has all of its words."""
    words = {int(number): _words(name) for number, name in names.items()}
    found: list[tuple[str, int]] = []
    for name in own:
        fitting = [number for number, others in words.items() if _words(name) and _words(name) <= others]
        equal = [number for number in fitting if _words(name) == words[number]]
        chosen = equal if len(equal) == 1 else fitting
        if len(chosen) == 1 and str(chosen[0]) in names:
            found.append((name, chosen[0]))
    numbers = [number for _, number in found]
    return found if len(set(numbers)) == len(numbers) else []


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", name.lower()))


def _axes(config: dict[str, Any], metadata: Document) -> Iterator[Finding]:
    found = network_of(config)
    dims = found[1].get("spatial_dims") if found is not None else None
    for side, tensor in (("inputs", "image"), ("outputs", "pred")):
        base = f"{_FORMAT}::{side}::{tensor}"
        facts = _at(metadata.content, base)
        if found is None or not isinstance(dims, int) or not isinstance(facts, dict):
            continue
        shape = facts.get("spatial_shape")
        is_map = side == "inputs" or (facts.get("type") == "image" and facts.get("format") in _MAPS)
        if is_map and isinstance(shape, list) and len(shape) != dims:
            message = f"{shape} has {len(shape)} axes, but {found[0]} has {dims}."
            yield Finding(metadata.where(f"{base}::spatial_shape", shown=METADATA), message)
