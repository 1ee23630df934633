"""Whether the network, the patches, the labels and the metadata of a bundle agree with one another."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from medseg.bundle import ids
from medseg.bundle.compose import Composition
from medseg.bundle.constants import UnknownError, constant
from medseg.bundle.documents import Document
from medseg.bundle.findings import Finding, Found
from medseg.bundle.references import is_expression
from medseg.errors import ConfigError
from medseg.labels import CONVENTIONS, get_convention

_FORMAT = "network_data_format"
_LOOKED_FOR = re.compile(r"@(\w+(?:::\w+)*)\.index\((['\"])(.*?)\2\)")
# Transforms after which a patch has the size of that argument.
_SIZED = {"spatial_size": "Crop|Resize|Pad|RandAffine|Affine", "roi_size": "Crop|CenterSpatial"}


def _product_of_strides(network: Mapping[str, Any]) -> list[int]:
    steps = [s if isinstance(s, list) else [s] for s in network["strides"]]
    axes = max(len(s) for s in steps)
    return [math.prod(s[axis % len(s)] for s in steps) for axis in range(axes)]


def _power_of_levels(network: Mapping[str, Any]) -> list[int]:
    return [2 ** (len(network.get("blocks_down", (1, 2, 2, 4))) - 1)]


@dataclass(frozen=True, kw_only=True)
class Network:
    """What is known of a class of networks.

    Attributes:
        divisor: The numbers that the axes of a patch must be divisible by, from the arguments.
        inputs: Names of the argument for the channels that come in.
        outputs: Names of the argument for the channels that go out.
    """

    divisor: Callable[[Mapping[str, Any]], list[int]]
    inputs: str = "in_channels"
    outputs: str = "out_channels"


# By what its levels halve, in MONAI 1.6.1's sources.
NETWORKS: dict[str, Network] = {
    "UNet": Network(divisor=_product_of_strides),
    "Unet": Network(divisor=_product_of_strides),
    "AttentionUnet": Network(divisor=_product_of_strides),
    "DynUNet": Network(divisor=_product_of_strides),
    "DynUnet": Network(divisor=_product_of_strides),
    "SegResNet": Network(divisor=_power_of_levels),
    "SegResNetVAE": Network(divisor=_power_of_levels),
    "BasicUNet": Network(divisor=lambda _: [16]),
    "BasicUNetPlusPlus": Network(divisor=lambda _: [16]),
    "VNet": Network(divisor=lambda _: [16]),
    "UNETR": Network(divisor=lambda _: [16]),
    "SwinUNETR": Network(divisor=lambda _: [32]),
    "FlexibleUNet": Network(divisor=lambda _: [32]),
}


def patch_sizes(composition: Composition) -> Found:
    """Window and crop sizes that the network cannot halve as often as it does."""
    found = _network(composition.config)
    if found is None:
        return
    name, network = found
    divisors = _divisors(network)
    for id_, size in _patch_ids(composition.config):
        dims = network.get("spatial_dims")
        if isinstance(dims, int) and len(size) > 1 and len(size) != dims:
            yield id_, f"{size} has {len(size)} axes, but {name} has {dims}.", "error"
            continue
        wrong = [n for n, axis in enumerate(size) if axis > 0 and axis % divisors[n % len(divisors)]]
        if wrong:
            wanted = "x".join(str(divisors[n % len(divisors)]) for n in range(len(size)))
            message = f"{size} is not divisible by {wanted}, as {name} needs ({_class(network)})."
            yield id_, f"{message} Choose multiples.", "error"
    yield from _levels(name, network)


def _levels(name: str, network: Mapping[str, Any]) -> Found:
    channels, strides = network.get("channels"), network.get("strides")
    if isinstance(channels, list) and isinstance(strides, list) and len(strides) != len(channels) - 1:
        message = f"{len(strides)} strides for {len(channels)} levels of channels; {len(channels) - 1} are wanted."
        yield f"{name}{ids.SEP}strides", message, "error"
    kernels = network.get("kernel_size")
    if not isinstance(kernels, list) or not isinstance(strides, list) or not _class(network).startswith("Dyn"):
        return
    if len(kernels) != len(strides):
        yield f"{name}{ids.SEP}kernel_size", f"{len(kernels)} kernels for {len(strides)} strides.", "error"


def _divisors(network: Mapping[str, Any]) -> list[int]:
    try:
        found = NETWORKS[_class(network)].divisor(network)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return [1]
    return [d if isinstance(d, int) and d > 0 else 1 for d in found] or [1]


def _patch_ids(config: dict[str, Any]) -> Iterator[tuple[str, list[int]]]:
    """Ids of the sizes that the network sees, with the sizes; each source once."""
    places = ["roi_size"]
    places += [
        f"{id_}{ids.SEP}roi_size" for id_, v in ids.walk(config) if ids.is_component(v) and "SlidingWindow" in _class(v)
    ]
    last = _last_size(config)
    seen: set[str] = set()
    for place in [*places, *([last] if last else [])]:
        source = _source(config, place)
        if source is None or source in seen:
            continue
        seen.add(source)
        size = _sizes(config, source)
        if size:
            yield source, size


def _source(config: dict[str, Any], id_: str) -> str | None:
    """Where a chain of references ends."""
    for _ in range(20):
        if not ids.contains(config, id_):
            return None
        value = ids.get_at(config, id_)
        if not (isinstance(value, str) and value.startswith("@")):
            return id_
        id_ = ids.normalize(value[1:])
    return None


def _sizes(config: dict[str, Any], id_: str) -> list[int]:
    try:
        value = constant(config, id_)
    except UnknownError:
        return []
    sizes = value if isinstance(value, list) else [value]
    return sizes if all(isinstance(s, int) and not isinstance(s, bool) for s in sizes) else []


def _last_size(config: dict[str, Any]) -> str | None:
    """The size that a training patch has in the end."""
    try:
        transforms = constant(config, "train::preprocessing::transforms")
    except UnknownError:
        return None
    where = {id(v): id_ for id_, v in ids.walk(config)}
    for transform in reversed(transforms if isinstance(transforms, list) else []):
        for name, classes in _SIZED.items():
            if ids.is_component(transform) and name in transform and re.search(classes, _class(transform)):
                id_ = where.get(id(transform))
                return f"{id_}{ids.SEP}{name}" if id_ else None
    return None


def _network(config: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Id and worked-out arguments of the network, if it is one that is known."""
    id_ = _source(config, "network_def")
    value = ids.get_at(config, id_) if id_ else None
    if id_ is None or not isinstance(value, dict) or "_target_" not in value or _class(value) not in NETWORKS:
        return None
    return id_, _arguments(config, id_, value)


def _arguments(config: dict[str, Any], id_: str, component: dict[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for name in component:
        try:
            known[name] = constant(config, f"{id_}{ids.SEP}{name}")
        except UnknownError:
            continue
    return known


def _class(component: Mapping[str, Any]) -> str:
    return str(component["_target_"]).rpartition(".")[2]


@dataclass(frozen=True)
class _Opinion:
    """A number of channels, and who says so."""

    count: int
    where: str
    what: str


def channel_counts(composition: Composition, metadata: Document) -> Iterator[Finding]:
    """Numbers of channels on which metadata, network, modalities and regions do not agree; the odd one out is named."""
    for side, tensor, list_key in (("inputs", "image", "modalities"), ("outputs", "pred", "regions")):
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
        yield _Opinion(count, in_metadata(metadata, f"{base}::num_channels"), f"{tensor}'s num_channels")
    if isinstance(names, dict):
        # By its highest number: a name for background may stand for the channels in between.
        yield _Opinion(len(names), in_metadata(metadata, f"{base}::channel_def"), f"{tensor}'s channel_def")


def _config_opinions(composition: Composition, side: str, list_key: str) -> Iterator[_Opinion]:
    found = _network(composition.config)
    if found is not None:
        id_, network = found
        facts = NETWORKS[_class(network)]
        name = facts.inputs if side == "inputs" else facts.outputs
        if isinstance(network.get(name), int):
            yield _Opinion(network[name], composition.where(f"{id_}{ids.SEP}{name}"), f"{id_}'s {name}")
    if side == "outputs" and found is not None:
        for one_hot, value in ids.walk(composition.config):
            if one_hot.endswith(f"{ids.SEP}to_onehot") and isinstance(value, int) and not isinstance(value, bool):
                yield _Opinion(value, composition.where(one_hot), "to_onehot")
    names = composition.config.get(list_key)
    if isinstance(names, list) and found is not None:
        yield _Opinion(len(names), composition.where(list_key), list_key)


def label_names(composition: Composition, metadata: Document) -> Iterator[Finding]:
    """Regions, modalities and conventions that do not fit one another or the metadata's names of channels."""
    config = composition.config
    yield from _conventions(composition)
    for side, tensor, key in (("inputs", "image", "modalities"), ("outputs", "pred", "regions")):
        base = f"{_FORMAT}::{side}::{tensor}::channel_def"
        names = ids.get_at(metadata.content, base) if ids.contains(metadata.content, base) else None
        own = config.get(key)
        if isinstance(names, dict) and isinstance(own, list) and all(isinstance(o, str) for o in own):
            yield from _names(metadata, base, names, own, key)


def _names(metadata: Document, base: str, names: dict[str, Any], own: list[str], key: str) -> Iterator[Finding]:
    for number, name in names.items():
        place = [n for n, o in enumerate(own) if _same(str(name), o)]
        if place and number.isdigit() and int(number) not in place:
            message = f"{name!r} is channel {number} here, but {own[place[0]]!r} is number {place[0]} of {key}."
            yield Finding(in_metadata(metadata, f"{base}::{number}"), message)


def _same(long: str, short: str) -> bool:
    """Whether a channel's name stands for a short one: alike, or by the first letters of its words."""
    words = re.findall(r"[a-z0-9]+", long.lower())
    return short.lower() in ("".join(words), "".join(w[0] for w in words))


def missing_elements(composition: Composition) -> Found:
    """Elements that an expression looks for in a list that has no such element."""
    for id_, value in ids.walk(composition.config):
        for target, _, element in _LOOKED_FOR.findall(value) if is_expression(value) else ():
            try:
                known = constant(composition.config, target)
            except UnknownError:
                continue
            if isinstance(known, list) and element not in known:
                yield id_, f"{element!r} is not in @{target}, which is {known}.", "error"


def _conventions(composition: Composition) -> Iterator[Finding]:
    config = composition.config
    main = config.get("label_convention")
    for id_, value in ids.walk(config):
        if id_.rpartition(ids.SEP)[2] not in ("label_convention", "convention") or not isinstance(value, str):
            continue
        if value[:1] in ("$", "@", "%"):
            continue
        if value not in CONVENTIONS:
            known = ", ".join(CONVENTIONS)
            yield Finding(composition.where(id_), f"no label convention is named {value!r}. Known: {known}.")
        elif id_ != "label_convention" and isinstance(main, str) and value != main:
            message = f"{value!r} differs from label_convention, which is {main!r}. Write '@label_convention'."
            yield Finding(composition.where(id_), message)
    regions = config.get("regions")
    wanted = _regions_of(main)
    if wanted and isinstance(regions, list) and regions != wanted:
        message = f"{regions} are not the regions of {main}, in its order: {wanted}."
        yield Finding(composition.where("regions"), message)


def _regions_of(convention: Any) -> list[str]:
    if not isinstance(convention, (str, dict)) or str(convention)[:1] in ("$", "@", "%"):
        return []
    try:
        return list(get_convention(convention).regions)
    except ConfigError:
        return []


def shapes(composition: Composition, metadata: Document) -> Iterator[Finding]:
    """Spatial shapes in the metadata that the network cannot take."""
    found = _network(composition.config)
    if found is None:
        return
    name, network = found
    divisors = _divisors(network)
    for side, tensor in (("inputs", "image"), ("outputs", "pred")):
        base = f"{_FORMAT}::{side}::{tensor}::spatial_shape"
        shape = ids.get_at(metadata.content, base) if ids.contains(metadata.content, base) else []
        for n, size in enumerate(shape if isinstance(shape, list) else []):
            step, divisor = _step(size), divisors[n % len(divisors)]
            if step and step % divisor:
                message = f"{size!r} is not divisible by {divisor}, as {name} needs ({_class(network)})."
                yield Finding(in_metadata(metadata, f"{base}::{n}"), message)


def _step(size: Any) -> int:
    """What a size in the metadata is a multiple of; 0 where it does not say."""
    if isinstance(size, int) and not isinstance(size, bool):
        return size
    found = re.fullmatch(r"\s*(\d+)\s*\*\s*n\s*|\s*n\s*\*\s*(\d+)\s*", size) if isinstance(size, str) else None
    return int(found[1] or found[2]) if found else 0


def in_metadata(metadata: Document, id_: str) -> str:
    """File, line and id of a field of the metadata."""
    parts = id_.split(ids.SEP)
    known = (metadata.lines.get(ids.SEP.join(parts[:n])) for n in range(len(parts), 0, -1))
    line = next((line for line in known if line), 1)
    return f"configs/metadata.json:{line}: {id_}"
