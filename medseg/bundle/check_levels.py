"""Levels of a network on which its arguments do not agree: channels, strides, kernels, blocks, groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medseg.bundle import ids
from medseg.bundle.findings import Found
from medseg.bundle.known_networks import class_of, source_of


def levels(config: dict[str, Any], name: str, network: Mapping[str, Any]) -> Found:
    """Arguments that say something for another number of levels.

    Args:
        config: The whole config.
        name: Where the network stands.
        network: Its worked-out arguments.
    """
    channels, strides = network.get("channels"), network.get("strides")
    if isinstance(channels, list) and isinstance(strides, list) and len(strides) != len(channels) - 1:
        message = f"{len(strides)} strides for {len(channels)} levels of channels; {len(channels) - 1} are wanted."
        yield source_of(config, f"{name}{ids.SEP}strides") or name, message, "error"
    down, up = network.get("blocks_down", (1, 2, 2, 4)), network.get("blocks_up", (1, 1, 1))
    if class_of(network).startswith("SegResNet") and _lengths(down, up) and len(up) != len(down) - 1:
        given = "blocks_up" if "blocks_up" in network else "blocks_down"
        message = f"{len(up)} blocks up for {len(down)} blocks down; {len(down) - 1} are wanted."
        yield f"{name}{ids.SEP}{given}", message, "error"
    yield from _groups(name, network)
    if class_of(network).startswith("Dyn") and isinstance(strides, list):
        yield from _dynamic(config, name, network, strides)


def _lengths(*values: Any) -> bool:
    return all(isinstance(value, (list, tuple)) for value in values)


def _dynamic(config: dict[str, Any], name: str, network: Mapping[str, Any], strides: list[Any]) -> Found:
    kernels = network.get("kernel_size")
    if isinstance(kernels, list) and len(kernels) != len(strides):
        message = f"{len(kernels)} kernels for {len(strides)} strides."
        yield source_of(config, f"{name}{ids.SEP}kernel_size") or name, message, "error"
    ups, filters = network.get("upsample_kernel_size"), network.get("filters")
    if isinstance(ups, list) and len(ups) != len(strides) - 1:
        message = f"{len(ups)} kernels for {len(strides) - 1} steps up; the first stride has none."
        yield f"{name}{ids.SEP}upsample_kernel_size", message, "error"
    if isinstance(filters, list) and len(filters) != len(strides):
        message = f"{len(filters)} filters for {len(strides)} strides."
        yield source_of(config, f"{name}{ids.SEP}filters") or name, message, "error"


def _groups(name: str, network: Mapping[str, Any]) -> Found:
    """Channels that group normalisation cannot share out."""
    argument = "norm" if "norm" in network else "norm_name"
    norm = network.get(argument)
    if not isinstance(norm, list) or len(norm) != 2 or str(norm[0]).lower() != "group" or not isinstance(norm[1], dict):
        return
    groups = norm[1].get("num_groups")
    widths: Any = next((network[n] for n in ("channels", "filters", "init_filters") if n in network), [])
    for width in widths if isinstance(widths, list) else [widths]:
        if isinstance(groups, int) and groups > 0 and isinstance(width, int) and width % groups:
            place = f"{name}{ids.SEP}{argument}{ids.SEP}1{ids.SEP}num_groups"
            yield place, f"{width} channels are not divisible by {groups} groups.", "error"
            return
