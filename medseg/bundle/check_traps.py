"""What MONAI 1.6.1 takes without a word and trips over, or leaves out, when it runs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

from medseg.bundle import ids
from medseg.bundle.compose import Composition
from medseg.bundle.constants import UnknownError, constant
from medseg.bundle.findings import Found
from medseg.bundle.known_networks import class_of
from medseg.bundle.references import is_expression
from medseg.bundle.signatures import signature_of
from medseg.bundle.sources import NotFoundError

# Their further keywords go on to numpy's or torch's pad, which refuses any but these.
_PADDERS = re.compile(r"(Rand)?Zoom(Box)?|(Spatial|Border|Divisible)Pad|CropForeground|ResizeWithPadOrCrop")
_OF_PAD = frozenset({"constant_values", "end_values", "reflect_type", "stat_length", "value"})
_BOOLEAN = re.compile(r"ConvertToMultiChannelBasedOnBratsClasses(d|D|Dict)")
_CASTS = re.compile(r"(CastToType|EnsureType|AsDiscrete)(d|D|Dict)")
_LOADER = re.compile(r"LoadImage(d|D|Dict)")
_META_DICT = re.compile(r"['\"](\w+)_meta_dict['\"]")
_A_GPU = re.compile(r"torch\.device\(\s*['\"]cuda")
_METRICS = ("key_val_metric", "key_train_metric", "additional_metrics")


def monai_traps(composition: Composition) -> Found:
    """Configs that MONAI builds, and that fail or leave something out later."""
    yield from _padding(composition.config)
    yield from _boolean_labels(composition.config)
    yield from _absent_metrics(composition.config)
    yield from _absent_meta_dicts(composition.config)
    yield from _fixed_devices(composition.config)


def _components(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for id_, value in ids.walk(config):
        if ids.is_component(value) and isinstance(value["_target_"], str):
            yield id_, value


def _padding(config: dict[str, Any]) -> Found:
    for id_, value in _components(config):
        if not _PADDERS.fullmatch(class_of(value).removesuffix("d").removesuffix("D").removesuffix("Dict")):
            continue
        try:
            names = signature_of(value["_target_"]).names
        except NotFoundError:
            continue
        for name in value:
            if name not in names and name not in _OF_PAD and name not in (*ids.COMPONENT_KEYS, "_debug_"):
                message = f"{class_of(value)} takes any argument, and hands {name!r} on to a padding that refuses it."
                yield f"{id_}{ids.SEP}{name}", f"{message} Take it out.", "error"


def _boolean_labels(config: dict[str, Any]) -> Found:
    """A squared Dice loss refuses boolean labels, which is what BraTS' regions are."""
    try:
        transforms = constant(config, "train::preprocessing::transforms")
    except UnknownError:
        return
    classes = [class_of(t) if ids.is_component(t) else "" for t in (transforms if isinstance(transforms, list) else [])]
    boolean = [n for n, name in enumerate(classes) if _BOOLEAN.fullmatch(name)]
    if not boolean or any(_casts_labels(t) for t in transforms[boolean[-1] :]):
        return
    for id_, value in _components(config):
        if value.get("squared_pred") is True:
            message = f"refuses the boolean labels of {classes[boolean[-1]]}. Cast them to float32 (CastToTyped) first."
            yield f"{id_}{ids.SEP}squared_pred", message, "error"


def _casts_labels(transform: Any) -> bool:
    if not ids.is_component(transform) or not _CASTS.fullmatch(class_of(transform)):
        return False
    return "label" in str(transform.get("keys")) and ("dtype" in transform or "AsDiscrete" in class_of(transform))


def _absent_metrics(config: dict[str, Any]) -> Found:
    known: set[str] = set()
    for id_, value in _components(config):
        for name in [name for name in _METRICS if value.get(name) is not None]:
            try:
                metrics = constant(config, f"{id_}{ids.SEP}{name}")
            except UnknownError:
                return
            if not isinstance(metrics, dict) or ids.is_component(metrics):
                return
            known.update(map(str, metrics))
    for id_, value in _components(config):
        names = value.get("metrics") if class_of(value) == "MetricsSaver" else None
        for name in names if known and isinstance(names, list) else []:
            if isinstance(name, str) and name not in known and name != "*":
                close = difflib.get_close_matches(name, sorted(known), n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                yield f"{id_}{ids.SEP}metrics", f"no metric is called {name!r}, so none is saved.{hint}", "warning"


def _absent_meta_dicts(config: dict[str, Any]) -> Found:
    loaders = [value for _, value in _components(config) if _LOADER.fullmatch(class_of(value))]
    if not loaders or any(value.get("image_only", True) is not True for value in loaders):
        return
    for id_, value in ids.walk(config):
        for name in _META_DICT.findall(value) if is_expression(value) else ():
            message = f"no item has '{name}_meta_dict': the loaded image itself carries it, as .meta."
            yield id_, f"{message} Read that, or give LoadImaged image_only: false.", "warning"


def _fixed_devices(config: dict[str, Any]) -> Found:
    for id_, value in ids.walk(config):
        if is_expression(value) and _A_GPU.search(value) and "is_available" not in value:
            yield id_, "wants a GPU, and fails on a machine without one. Write @device.", "warning"
