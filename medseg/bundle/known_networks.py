"""Networks whose channels and strides can be told from their arguments, without building them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from medseg.bundle import ids
from medseg.bundle.constants import UnknownError, constant


def _product_of_strides(network: Mapping[str, Any]) -> list[int]:
    steps = [s if isinstance(s, list) else [s] for s in network["strides"]]
    axes = max(len(s) for s in steps)
    return [math.prod(s[axis % len(s)] for s in steps) for axis in range(axes)]


def _size_divisible(network: Mapping[str, Any]) -> list[int]:
    return list(network.get("size_divisible", (1,)))


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
    "RetinaNet": Network(divisor=_size_divisible, outputs="num_classes"),
}


def divisors(network: Mapping[str, Any]) -> list[int]:
    """What the axes of a patch must be multiples of, from a known network's worked-out arguments."""
    try:
        found = NETWORKS[class_of(network)].divisor(network)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return [1]
    return [d if isinstance(d, int) and d > 0 else 1 for d in found] or [1]


def network_of(config: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Id and worked-out arguments of the network, if it is one that is known."""
    id_ = source_of(config, "network_def")
    value = ids.get_at(config, id_) if id_ else None
    if id_ is None or not isinstance(value, dict) or "_target_" not in value or class_of(value) not in NETWORKS:
        return None
    return id_, arguments(config, id_, value)


def arguments(config: dict[str, Any], id_: str, component: dict[str, Any]) -> dict[str, Any]:
    """What the arguments of a component come to, as far as that can be told."""
    known: dict[str, Any] = {}
    for name in component:
        try:
            known[name] = constant(config, f"{id_}{ids.SEP}{name}")
        except UnknownError:
            continue
    return known


def class_of(component: Mapping[str, Any]) -> str:
    """The bare name of what a component makes."""
    return str(component["_target_"]).rpartition(".")[2]


def source_of(config: dict[str, Any], id_: str) -> str | None:
    """Where a chain of references ends."""
    for _ in range(20):
        if not ids.contains(config, id_):
            return None
        value = ids.get_at(config, id_)
        if not (isinstance(value, str) and value.startswith("@")):
            return id_
        id_ = ids.normalize(value[1:])
    return None
