"""Chains that work on what is not loaded yet, and activations that part regions which overlap."""

from __future__ import annotations

import re
from typing import Any

from medseg.bundle import ids
from medseg.bundle.chains import keys_at, transforms_in
from medseg.bundle.compose import Composition
from medseg.bundle.findings import Found
from medseg.bundle.known_networks import class_of
from medseg.bundle.references import references_in
from medseg.errors import ConfigError
from medseg.labels import are_exclusive, get_convention

_LOADS = re.compile(r"Load(Image|Case)(d|D|Dict)")
_ACTIVATES = re.compile(r"Activations(d|D|Dict)?")
_PREPROCESSING = ("preprocessing", "train::preprocessing", "validate::preprocessing")
_POSTPROCESSING = ("postprocessing", "train::postprocessing", "validate::postprocessing")


def chains(composition: Composition) -> Found:
    """Steps before the scan is loaded, and a softmax over regions of which a voxel may be in several."""
    config = composition.config
    for key in _PREPROCESSING:
        yield from _loaded_late(config, key)
    if _overlap(config.get("label_convention")):
        for key in _POSTPROCESSING:
            for id_, part in transforms_in(config, key):
                if _ACTIVATES.fullmatch(class_of(part)) and part.get("softmax") is True:
                    message = "a voxel may be in several of the regions, and softmax gives it to one. Use sigmoid."
                    yield f"{id_}{ids.SEP}softmax", message, "warning"


def _overlap(convention: Any) -> bool:
    if not isinstance(convention, (str, dict)):
        return False
    try:
        return not are_exclusive(get_convention(convention))
    except ConfigError:
        return False


def _loaded_late(config: dict[str, Any], key: str) -> Found:
    steps = list(transforms_in(config, key))
    first = next((n for n, (_, part) in enumerate(steps) if _LOADS.fullmatch(class_of(part))), 0)
    if not any(keys_at(config, id_) for id_, _ in steps[:first]):
        return
    loader = steps[first][0]
    named = (id_ for id_, value in ids.walk(config) if loader in references_in(value, id_) and "+" in str(value))
    message = f"{first} steps come before {class_of(steps[first][1])}, and have nothing to work on. Put it first."
    yield next(named, loader), message, "error"
