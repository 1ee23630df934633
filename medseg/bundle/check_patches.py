"""Windows, crops and spatial shapes that a network cannot halve as often as it does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from medseg.bundle import ids
from medseg.bundle.check_levels import levels
from medseg.bundle.compose import Composition
from medseg.bundle.constants import UnknownError, constant
from medseg.bundle.documents import METADATA, Document
from medseg.bundle.findings import Finding, Found
from medseg.bundle.known_networks import NETWORKS, arguments, class_of, divisors, network_of, source_of
from medseg.bundle.references import is_expression

_FORMAT = "network_data_format"
# Transforms after which a patch has the size of that argument.
_WINDOWS = re.compile("SlidingWindow|BoxDetector")
_CALLED_WITH = re.compile(r"\broi_size\s*=\s*@([\w:#]+)")
_SIZED = {"spatial_size": "Crop|Resize|Pad|RandAffine|Affine", "roi_size": "Crop|CenterSpatial"}


def patch_sizes(composition: Composition) -> Found:
    """Window and crop sizes that the network cannot halve as often as it does."""
    found = network_of(composition.config)
    if found is None:
        return
    name, network = found
    wrong_axes = list(_axes(composition.config, name, network))
    if wrong_axes:
        yield from wrong_axes
        return
    units = divisors(network)
    for id_, size in _patch_ids(composition.config):
        dims = network.get("spatial_dims", len(units) if len(units) > 1 else None)
        if dims in (1, 2, 3) and len(size) > 1 and len(size) != dims:
            yield id_, f"{size} has {len(size)} axes, but {name} has {dims}.", "error"
            continue
        wrong = [n for n, axis in enumerate(size) if axis > 0 and axis % units[n % len(units)]]
        if wrong:
            wanted = "x".join(str(units[n % len(units)]) for n in range(len(size)))
            message = f"{size} is not divisible by {wanted}, as {name} needs ({class_of(network)})."
            yield id_, f"{message} Choose multiples.", "error"
    for id_, component in ids.walk(composition.config):
        if ids.is_component(component) and class_of(component) in NETWORKS:
            chosen = id_ == name
            problems = levels(composition.config, id_, arguments(composition.config, id_, component))
            # Another network may be chosen by an override; what is wrong with it hinders nobody before that.
            yield from ((place, message, level if chosen else "warning") for place, message, level in problems)


def _axes(config: dict[str, Any], name: str, network: Mapping[str, Any]) -> Found:
    """Strides and kernels that say something for another number of axes than the network has."""
    dims = network.get("spatial_dims")
    for argument in ("strides", "kernel_size", "upsample_kernel_size"):
        source = source_of(config, f"{name}{ids.SEP}{argument}")
        value = ids.get_at(config, source) if source else None
        for n, each in enumerate(value if isinstance(value, list) else ()):
            if isinstance(each, list) and isinstance(dims, int) and len(each) != dims:
                yield f"{source}{ids.SEP}{n}", f"{each} has {len(each)} axes, but {name} has {dims}.", "error"


def _patch_ids(config: dict[str, Any]) -> Iterator[tuple[str, list[int]]]:
    """Ids of the sizes that the network sees, with the sizes; each source once."""
    places = ["roi_size"]
    places += [
        f"{id_}{ids.SEP}roi_size" for id_, v in ids.walk(config) if ids.is_component(v) and _WINDOWS.search(class_of(v))
    ]
    # MONAI's detector is told its window in a call.
    calls = [v for _, v in ids.walk(config) if is_expression(v) and "set_sliding_window_inferer" in v]
    places += [ids.normalize(found) for call in calls for found in _CALLED_WITH.findall(call)]
    last = _last_size(config)
    seen: set[str] = set()
    for place in [*places, *([last] if last else [])]:
        source = source_of(config, place)
        if source is None or source in seen:
            continue
        seen.add(source)
        size = _sizes(config, source)
        if size:
            yield source, size


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
            if ids.is_component(transform) and name in transform and re.search(classes, class_of(transform)):
                id_ = where.get(id(transform))
                return f"{id_}{ids.SEP}{name}" if id_ else None
    return None


def shapes(composition: Composition, metadata: Document) -> Iterator[Finding]:
    """Spatial shapes in the metadata that the network cannot take."""
    found = network_of(composition.config)
    if found is None:
        return
    name, network = found
    units = divisors(network)
    for side, tensor in (("inputs", "image"), ("outputs", "pred")):
        base = f"{_FORMAT}::{side}::{tensor}::spatial_shape"
        shape = ids.get_at(metadata.content, base) if ids.contains(metadata.content, base) else []
        for n, size in enumerate(shape if isinstance(shape, list) else []):
            step, divisor = _step(size), units[n % len(units)]
            if step and step % divisor:
                message = f"{size!r} is not divisible by {divisor}, as {name} needs ({class_of(network)})."
                yield Finding(metadata.where(f"{base}::{n}", shown=METADATA), message)


def _step(size: Any) -> int:
    """What a size in the metadata is a multiple of; 0 where it does not say."""
    if isinstance(size, int) and not isinstance(size, bool):
        return size
    found = re.fullmatch(r"\s*(\d+)\s*\*\s*n\s*|\s*n\s*\*\s*(\d+)\s*", size) if isinstance(size, str) else None
    return int(found[1] or found[2]) if found else 0
