"""Numbers of channels on which network, metadata, modalities and regions do not agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from medseg.bundle import ids
from medseg.bundle.compose import Composition
from medseg.bundle.documents import METADATA, Document
from medseg.bundle.findings import Finding
from medseg.bundle.known_networks import NETWORKS, class_of, network_of, source_of

_FORMAT = "network_data_format"


@dataclass(frozen=True)
class _Opinion:
    """A number of channels, and who says so."""

    count: int
    where: str
    what: str


def named_channels(config: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Side and tensor of the metadata, and the key of the config that lists its channels, or a detector's classes."""
    outputs = "regions" if "regions" in config else "label_names"
    return [("inputs", "image", "modalities"), ("outputs", "pred", outputs)]


def channel_counts(composition: Composition, metadata: Document) -> Iterator[Finding]:
    """Numbers of channels on which metadata, network, modalities and regions do not agree; the odd one out is named."""
    for side, tensor, list_key in named_channels(composition.config):
        opinions = list(_metadata_opinions(metadata, side, tensor))
        opinions += _config_opinions(composition, side, list_key)
        counts = Counter(o.count for o in opinions).most_common()
        if len(counts) < 2:
            continue
        majority = counts[0][0] if counts[0][1] > counts[1][1] else None
        for opinion in opinions:
            if opinion.count != majority:
                others = "; ".join(f"{o.what} says {o.count}" for o in opinions if o.count != opinion.count)
                said = f"{opinion.what} says {opinion.count} channel{'s' * (opinion.count != 1)}"
                yield Finding(opinion.where, f"{said}, but {others}.")


def _metadata_opinions(metadata: Document, side: str, tensor: str) -> Iterator[_Opinion]:
    base = f"{_FORMAT}::{side}::{tensor}"
    if not ids.contains(metadata.content, base):
        return
    facts = ids.get_at(metadata.content, base)
    count, names = facts.get("num_channels"), facts.get("channel_def")
    if isinstance(count, int):
        yield _Opinion(count, metadata.where(f"{base}::num_channels", shown=METADATA), f"{tensor}'s num_channels")
    if isinstance(names, dict):
        # By its highest number: a name for background may stand for the channels in between.
        yield _Opinion(len(names), metadata.where(f"{base}::channel_def", shown=METADATA), f"{tensor}'s channel_def")


def _config_opinions(composition: Composition, side: str, list_key: str) -> Iterator[_Opinion]:
    found = network_of(composition.config)
    if found is not None:
        id_, network = found
        facts = NETWORKS[class_of(network)]
        name = facts.inputs if side == "inputs" else facts.outputs
        if isinstance(network.get(name), int):
            place = f"{id_}{ids.SEP}{name}"
            where = composition.where(source_of(composition.config, place) or place)
            yield _Opinion(network[name], where, f"{id_}'s {name}")
    if side == "outputs" and found is not None:
        for one_hot, value in ids.walk(composition.config):
            if one_hot.endswith(f"{ids.SEP}to_onehot") and isinstance(value, int) and not isinstance(value, bool):
                yield _Opinion(value, composition.where(one_hot), "to_onehot")
    names = composition.config.get(list_key)
    if isinstance(names, list) and found is not None:
        yield _Opinion(len(names), composition.where(list_key), list_key)
