"""Settings that stand as texts where references are meant, and weights at a place where the bundle has none."""

from __future__ import annotations

from pathlib import Path

from medseg.bundle import ids
from medseg.bundle.compose import Composition
from medseg.bundle.constants import UnknownError, constant
from medseg.bundle.findings import Found
from medseg.bundle.known_networks import class_of

_WEIGHTS = ("model.safetensors", "model.pt", "model.ts")


def settings(composition: Composition) -> Found:
    """Names of settings without their `@`, and a `ckpt_path` beside the weights that come with the bundle."""
    config = composition.config
    for id_, value in ids.walk(config):
        for name, given in value.items() if ids.is_component(value) else ():
            # A word with an underscore names a setting; `image` or `label` may be the key of an item.
            named = isinstance(given, str) and "_" in given and given in config and not ids.is_component(config[given])
            if named and name not in ids.COMPONENT_KEYS and not name.endswith(("key", "keys")):
                message = f"{given!r} is a text to {class_of(value)}. Write '@{given}' for the key of the config."
                yield f"{id_}{ids.SEP}{name}", message, "warning"
        if id_.endswith("transforms") and isinstance(value, list):
            for number, given in enumerate(value):
                if isinstance(given, str) and ids.is_component(config.get(given)):
                    message = f"{given!r} is a text among transforms. Write '@{given}'."
                    yield f"{id_}{ids.SEP}{number}", message, "error"
    yield from _weights(composition)


def _weights(composition: Composition) -> Found:
    root, config = composition.bundle_root, composition.config
    shipped = [f"models/{name}" for name in _WEIGHTS if (root / "models" / name).is_file()]
    try:
        path = constant(config, "ckpt_path") if shipped and composition.workflow != "train" else None
    except UnknownError:
        return
    if not isinstance(path, str) or Path(path).is_absolute() or str(config.get("bundle_root", "")) != ".":
        return
    if path and not (root / path).is_file():
        yield "ckpt_path", f"the bundle has no {Path(path).as_posix()!r}; it has {', '.join(shipped)}.", "warning"
