"""Training and validation that are mixed up, and what decides how often and in which order cases are seen."""

from __future__ import annotations

from typing import Any

from medseg.bundle import ids
from medseg.bundle.check_arguments import target_of
from medseg.bundle.compose import Composition
from medseg.bundle.constants import UnknownError, constant
from medseg.bundle.findings import Found
from medseg.bundle.known_networks import source_of

_SECTIONS = {"train": "training", "validate": "validation"}
_KNOWN = (*_SECTIONS.values(), "testing")


def splits(composition: Composition) -> Found:
    """Cases of the wrong part, folds that differ, a training that never validates or never shuffles."""
    config = composition.config
    if composition.workflow != "train":
        return
    for side, wanted in _SECTIONS.items():
        place = f"{side}::dataset::data::section"
        given = _known(config, place)
        if isinstance(given, str) and given != wanted and given in _KNOWN:
            yield source_of(config, place) or place, f"{side} takes the cases of {given}. Write {wanted}.", "error"
    yield from _folds(config)
    yield from _order(config)
    for place in ("train::trainer::train_data_loader", "validate::evaluator::val_data_loader"):
        target = target_of(config, place)
        if target is not None and target.endswith("Dataset"):
            yield place, f"{target.rpartition('.')[2]} makes no batches. Name a loader.", "error"
    loader, other = (source_of(config, p) for p in ("validate::evaluator::val_data_loader", "train::dataloader"))
    if loader is not None and loader == other and ids.contains(config, "validate::dataloader"):
        message = "validates on the batches of the training. Write '@validate::dataloader'."
        yield "validate::evaluator::val_data_loader", message, "error"
    epochs, interval = config.get("epochs"), config.get("val_interval")
    if isinstance(epochs, int) and isinstance(interval, int) and interval > epochs > 0:
        yield "val_interval", f"{interval} is more than the {epochs} epochs, so nothing is ever validated.", "warning"


def _folds(config: dict[str, Any]) -> Found:
    held, seen = (_known(config, f"{side}::dataset::data::fold") for side in ("validate", "train"))
    if isinstance(held, int) and isinstance(seen, int) and held != seen:
        message = f"holds out fold {held}, but train leaves out fold {seen}: it scores cases that it has learnt."
        yield "validate::dataset::data::fold", message, "error"


def _order(config: dict[str, Any]) -> Found:
    place = "train::dataloader"
    loader = source_of(config, place)
    target = target_of(config, place)
    if loader is None or target is None or not target.endswith(("make_loader", "DataLoader")):
        return
    given = ids.get_at(config, loader)
    if not given.get("shuffle") and not any(name in given for name in ("sampler", "batch_sampler")):
        message = "training sees the cases in the same order in every epoch. Write shuffle: true."
        yield f"{loader}::shuffle" if "shuffle" in given else loader, message, "warning"


def _known(config: dict[str, Any], id_: str) -> Any:
    try:
        return constant(config, id_)
    except UnknownError:
        return None
