"""Arguments of the layers that a network is told by name and arguments, such as `norm: [GROUP, {num_groups: 8}]`."""

from __future__ import annotations

import difflib
from typing import Any

from medseg.bundle import ids
from medseg.bundle.compose import Composition
from medseg.bundle.findings import Found
from medseg.bundle.known_networks import NETWORKS, class_of, source_of
from medseg.bundle.signatures import signature_of
from medseg.bundle.sources import NotFoundError

# In monai.networks.layers.factories, by the name in small letters; those for three axes stand for all.
_CLASSES = {
    "group": "GroupNorm",
    "instance": "InstanceNorm3d",
    "batch": "BatchNorm3d",
    "localresponse": "LocalResponseNorm",
    "relu": "ReLU",
    "leakyrelu": "LeakyReLU",
    "prelu": "PReLU",
    "elu": "ELU",
    "gelu": "GELU",
    "softmax": "Softmax",
}
_LAYERS = ("norm", "norm_name", "act", "act_name")


def layer_arguments(composition: Composition) -> Found:
    """Arguments that torch's layer of that name does not take."""
    config = composition.config
    for id_, component in ids.walk(config):
        if not ids.is_component(component) or class_of(component) not in NETWORKS:
            continue
        for name in _LAYERS:
            source = source_of(config, f"{id_}{ids.SEP}{name}")
            layer = ids.get_at(config, source) if source else None
            if source and isinstance(layer, list) and len(layer) == 2 and isinstance(layer[1], dict):
                yield from _layer(f"{source}{ids.SEP}1", str(layer[0]).lower(), layer[1])


def _layer(id_: str, name: str, given: dict[str, Any]) -> Found:
    if name not in _CLASSES:
        return
    try:
        signature = signature_of(f"torch.nn.{_CLASSES[name]}")
    except NotFoundError:
        return
    for key in given if signature.names and not signature.open_ended else ():
        if key not in signature.names:
            close = difflib.get_close_matches(key, signature.names, n=1, cutoff=0.5)
            hint = f"Did you mean {close[0]!r}?" if close else f"It takes: {', '.join(signature.names)}."
            yield f"{id_}{ids.SEP}{key}", f"torch.nn.{_CLASSES[name]} takes no argument {key!r}. {hint}", "error"
