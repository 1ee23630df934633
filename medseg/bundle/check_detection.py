"""Detection networks: whether pyramid, anchors, classes and sizes fit one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from medseg.bundle import ids
from medseg.bundle.compose import Composition
from medseg.bundle.findings import Found
from medseg.bundle.known_networks import arguments, class_of, source_of

# The pyramid halves the coarsest stage once more, for a level of its own.
_EXTRA_LEVELS = 1
_EXTRA_STRIDE = 2
_GROUPS = 8  # of the group normalisation
_AXES = 3
_ANCHORS = ("anchors_with_shapes", "AnchorGeneratorWithAnchorShape")


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """What is known of a feature extractor.

    Attributes:
        levels: How many maps it gives.
        strides: Voxels from one cell of the coarsest map to the next, along each axis.
    """

    levels: int
    strides: list[int]


def _resnet(extractor: Mapping[str, Any]) -> Pyramid:
    layers = extractor.get("returned_layers", [1, 2])
    # The first convolution, a pooling that halves, and stages that halve from the second on.
    strides = [2 * s * 2 ** (max(layers) - 1) * _EXTRA_STRIDE for s in extractor.get("conv1_stride", [2, 2, 1])]
    return Pyramid(levels=len(layers) + _EXTRA_LEVELS, strides=strides)


def _light(extractor: Mapping[str, Any]) -> Pyramid:
    stages = len(extractor.get("channels", [32, 64]))
    strides = [s * 2**stages * _EXTRA_STRIDE for s in extractor.get("fold", [2, 2, 1])]
    return Pyramid(levels=stages + _EXTRA_LEVELS, strides=strides)


# medseg/networks/feature_pyramid.py
_PYRAMIDS: dict[str, Callable[[Mapping[str, Any]], Pyramid]] = {
    "resnet_feature_pyramid": _resnet,
    "light_feature_pyramid": _light,
}


def detection_networks(composition: Composition) -> Found:
    """What does not fit in the detection networks of a config, whether chosen or not, and in their anchors."""
    config = composition.config
    anchors = [(id_, arguments(config, id_, value)) for id_, value in _all_of(config, _ANCHORS)]
    for _, found in anchors:
        yield from _widths(config, found)
    for id_, value in _all_of(config, ("RetinaNet",)):
        network = arguments(config, id_, value)
        yield from _classes(config, id_, network)
        yield from _anchors_at_a_cell(config, id_, network, anchors)
        yield from _extractor(config, id_, network, anchors)


def _all_of(config: dict[str, Any], names: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    for id_, value in ids.walk(config):
        if ids.is_component(value) and class_of(value) in names:
            yield id_, value


def _widths(config: dict[str, Any], anchors: dict[str, Any]) -> Found:
    shapes = anchors.get("base_anchor_shapes")
    for number, shape in enumerate(shapes if isinstance(shapes, list) else []):
        if not isinstance(shape, list) or len(shape) != _AXES or not all(_is_number(s) and s > 0 for s in shape):
            place = _place(config, "base_anchor_shapes")
            yield place, f"anchor {number} is {shape!r}; three widths above 0 are wanted, in voxels.", "error"


def _classes(config: dict[str, Any], id_: str, network: dict[str, Any]) -> Found:
    names, count = config.get("label_names"), network.get("num_classes", 1)
    if isinstance(names, list) and isinstance(count, int) and count != len(names):
        message = f"{count} classes, but label_names has {len(names)}. Write $len(@label_names)."
        yield f"{id_}{ids.SEP}num_classes", message, "error"


def _anchors_at_a_cell(config: dict[str, Any], id_: str, network: dict[str, Any], anchors: list[Any]) -> Found:
    count = network.get("num_anchors", 3)
    for anchor_id, found in anchors:
        shapes = found.get("base_anchor_shapes")
        if isinstance(shapes, list) and isinstance(count, int) and count != len(shapes):
            message = f"{count} anchors at each place, but base_anchor_shapes of {anchor_id} has {len(shapes)}."
            yield f"{id_}{ids.SEP}num_anchors", message, "error"


def _extractor(config: dict[str, Any], id_: str, network: dict[str, Any], anchors: list[Any]) -> Found:
    place = source_of(config, f"{id_}{ids.SEP}feature_extractor")
    value = ids.get_at(config, place) if place else None
    if place is None or not isinstance(value, dict) or not ids.is_component(value):
        return
    if class_of(value) not in _PYRAMIDS:
        return
    extractor = arguments(config, place, value)
    yield from _widths_of_layers(place, extractor)
    yield from _channels_in(config, place, extractor)
    try:
        pyramid = _PYRAMIDS[class_of(value)](extractor)
    except (TypeError, ValueError):
        return
    yield from _strides(config, id_, network, pyramid)
    for anchor_id, found in anchors:
        scales = found.get("feature_map_scales", [1, 2, 4])
        if isinstance(scales, list) and len(scales) != pyramid.levels:
            message = f"{len(scales)} scales, but {place} ({class_of(value)}) has {pyramid.levels} levels."
            yield source_of(config, f"{anchor_id}{ids.SEP}feature_map_scales") or anchor_id, message, "error"


def _strides(config: dict[str, Any], id_: str, network: dict[str, Any], pyramid: Pyramid) -> Found:
    divisible = network.get("size_divisible", [16, 16, 8])
    if not isinstance(divisible, list) or len(divisible) != len(pyramid.strides) or not all(map(_is_number, divisible)):
        return
    if any(size % stride for size, stride in zip(divisible, pyramid.strides, strict=True)):
        place = source_of(config, f"{id_}{ids.SEP}size_divisible") or id_
        message = f"{divisible} are no multiples of {pyramid.strides}, the strides of {id_}'s coarsest level."
        yield place, f"{message} Boxes would lie beside their objects.", "error"


def _widths_of_layers(place: str, extractor: dict[str, Any]) -> Found:
    channels, blocks = extractor.get("channels"), extractor.get("blocks")
    if isinstance(channels, list) and isinstance(blocks, list) and len(channels) != len(blocks):
        message = f"{len(blocks)} numbers of blocks for {len(channels)} stages of channels."
        yield f"{place}{ids.SEP}blocks", message, "error"
    for name in ("stem", "channels", "out_channels"):
        value = extractor.get(name, [])
        sizes = value if isinstance(value, list) else [value]
        if any(isinstance(size, int) and size % _GROUPS for size in sizes):
            yield f"{place}{ids.SEP}{name}", f"{value} must be multiples of {_GROUPS}.", "error"


def _channels_in(config: dict[str, Any], place: str, extractor: dict[str, Any]) -> Found:
    modalities, count = config.get("modalities"), extractor.get("in_channels", 1)
    if isinstance(modalities, list) and isinstance(count, int) and count != len(modalities):
        id_ = f"{place}{ids.SEP}in_channels" if "in_channels" in extractor else place
        yield id_, f"takes {count} channels, but modalities has {len(modalities)}.", "error"


def _place(config: dict[str, Any], key: str) -> str:
    """The id under which an argument that several components share stands, or the component's own."""
    found = next((id_ for id_, _ in ids.walk(config) if id_.rpartition(ids.SEP)[2] == key), key)
    return source_of(config, found) or found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
