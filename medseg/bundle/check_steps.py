"""What a network's output goes through on its way to a loss or a mask: activations, thresholds, schedules."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from medseg.bundle import ids
from medseg.bundle.chains import keys_at, transforms_in
from medseg.bundle.check_arguments import target_of
from medseg.bundle.compose import Composition
from medseg.bundle.findings import Found
from medseg.bundle.known_networks import class_of, network_of, source_of
from medseg.bundle.members import has_member

_ACTIVATES = re.compile(r"Activations(d|D|Dict)?")
_BINARIZES = re.compile(r"(AsDiscrete|SettleRegions)(d|D|Dict)?")
_OVERLAPS = re.compile(
    r"Generalized(Wasserstein)?DiceLoss|(Masked)?DiceLoss|Dice(CE|Focal)Loss|GeneralizedDiceFocalLoss"
)
_OF_PROBABILITIES = {"BCELoss": "BCEWithLogitsLoss", "NLLLoss": "CrossEntropyLoss"}
_INVERTS = re.compile(r"Invert(d|D|Dict)")
_MOVED = re.compile(r"\$\s*@\w+\.to\([^()]*\)\s*")
_CHANNELS = re.compile(r"(LabelsToRegions|ConvertToMultiChannelBasedOnBratsClasses)(d|D|Dict)?")
_NUMBERS = re.compile(r"RegionsToLabels(d|D|Dict)?")
_SIGMOIDS, _SOFTMAXES = ("BCEWithLogitsLoss",), ("CrossEntropyLoss",)


def steps(composition: Composition) -> Found:
    """Activations that are missing, come twice or contradict one another; losses and schedules used wrongly."""
    config = composition.config
    parts = [(id_, v) for id_, v in ids.walk(config) if ids.is_component(v) and isinstance(v["_target_"], str)]
    # RetinaNet's detector has its own.
    found = network_of(config)
    raw = found is not None and class_of(found[1]) != "RetinaNet"
    for id_, part in parts:
        yield from _alone(id_, part)
        yield from _schedule(config, id_, part)
        yield from _inverse(config, id_, part)
        yield from _parameters(config, id_, part)
        if raw and composition.workflow == "train":
            yield from _loss(config, id_, part)
    for key in ("postprocessing", "validate::postprocessing", "train::postprocessing"):
        yield from _chain(config, key, raw=raw)
    if composition.workflow == "train":
        yield from _contradiction(parts)


def _alone(id_: str, part: dict[str, Any]) -> Found:
    name = class_of(part)
    if part.get("sigmoid") is True and part.get("softmax") is True:
        yield f"{id_}::softmax", "both sigmoid and softmax: MONAI refuses more than one. Take one out.", "error"
    for pattern, wanted in ((_ACTIVATES, "sigmoid softmax other"), (_BINARIZES, "argmax to_onehot threshold rounding")):
        given = [part.get(word) for word in wanted.split()]
        if (
            pattern.fullmatch(name)
            and "SettleRegions" not in name
            and not any(v is not None and v is not False for v in given)
        ):
            yield id_, f"{name} does nothing without one of {', '.join(wanted.split())}.", "error"
    if name == "SGD" and part.get("nesterov") is True and not part.get("momentum"):
        yield f"{id_}::nesterov", "torch refuses nesterov without momentum. Give it momentum: 0.9.", "error"
    milestones = part.get("milestones")
    if (
        isinstance(milestones, list)
        and all(isinstance(m, int) for m in milestones)
        and milestones != sorted(milestones)
    ):
        yield f"{id_}::milestones", f"{milestones} do not rise.", "warning"
    terms, weights = part.get("terms"), part.get("weights")
    if name == "WeightedSum" and terms in ({}, None):
        yield f"{id_}::terms", "a sum of no terms is no loss. Name at least one.", "error"
    if name == "WeightedSum" and isinstance(terms, dict) and isinstance(weights, dict):
        for term in sorted(weights.keys() - terms.keys()):
            yield f"{id_}::weights::{term}", f"no term is called {term!r}; they are {', '.join(terms)}.", "error"


def _schedule(config: dict[str, Any], id_: str, part: dict[str, Any]) -> Found:
    """A schedule that waits for a score, in the hands of what gives it none."""
    source = source_of(config, f"{id_}::lr_scheduler")
    scheduler = ids.get_at(config, source) if source else None
    target = target_of(config, f"{id_}::lr_scheduler") or ""
    if target.startswith("torch.optim.") and not target.startswith("torch.optim.lr_scheduler."):
        yield f"{id_}::lr_scheduler", f"{target} is an optimiser, and no schedule. Name the schedule.", "error"
    if (
        isinstance(scheduler, dict)
        and "_target_" in scheduler
        and class_of(scheduler) == "ReduceLROnPlateau"
        and "step_transform" not in part
    ):
        message = f"ReduceLROnPlateau steps on a score, and {class_of(part)} gives it none."
        yield f"{source}::_target_", f"{message} Choose another schedule, or give a step_transform.", "error"


def _parameters(config: dict[str, Any], id_: str, part: dict[str, Any]) -> Found:
    """An optimiser that is given a network in the place of its parameters."""
    place = f"{id_}::params"
    source = source_of(config, place) if str(part["_target_"]).startswith("torch.optim.") else None
    value = ids.get_at(config, source) if source else None
    target = target_of(config, place) if source else None
    moved = isinstance(value, str) and _MOVED.fullmatch(value) is not None
    if moved or (target is not None and has_member(target, "parameters") is True):
        message = f"is a network, whose parameters are wanted. Write '${str(part['params']).lstrip('$')}.parameters()'."
        yield place, message, "error"


def _inverse(config: dict[str, Any], id_: str, part: dict[str, Any]) -> Found:
    """An inverse by a key that no transform of the chain has moved."""
    if not _INVERTS.fullmatch(class_of(part)):
        return
    chain = source_of(config, f"{id_}::transform")
    moved = [key for step, _ in transforms_in(config, chain or "") for key in keys_at(config, step)]
    for key in keys_at(config, id_, "orig_keys") if moved else ():
        if isinstance(key, str) and key not in moved:
            known = ", ".join(sorted({str(k) for k in moved}))
            yield f"{id_}::orig_keys", f"no transform of {chain} works on {key!r}, only on {known}.", "error"


def _loss(config: dict[str, Any], id_: str, part: dict[str, Any]) -> Found:
    name = class_of(part)
    if name in _OF_PROBABILITIES:
        message = f"the network gives logits, and {name} wants probabilities. Use {_OF_PROBABILITIES[name]}."
        yield f"{id_}::_target_", message, "error"
    if not _OVERLAPS.fullmatch(name):
        return
    if not any(part.get(word) for word in ("sigmoid", "softmax", "other_act")):
        message = f"the network gives logits, and {name} takes them for probabilities. Give it sigmoid or softmax."
        yield id_, message, "warning"
    if part.get("to_onehot_y") is True and _has_channels(config):
        yield f"{id_}::to_onehot_y", "the labels have a channel for each region already. Take it out.", "error"
    if part.get("include_background") is False and isinstance(config.get("regions"), list):
        message = f"leaves out the first of {config['regions']}, which is no background. Take it out."
        yield f"{id_}::include_background", message, "warning"


def _has_channels(config: dict[str, Any]) -> bool:
    return any(_CHANNELS.fullmatch(class_of(t)) for _, t in transforms_in(config, "train::preprocessing"))


def _chain(config: dict[str, Any], key: str, *, raw: bool) -> Found:
    """Masks made of logits, of the wrong activation's values, or before the activation."""
    active, masked, numbered, elsewhere, saved = "", False, False, "", ""
    for id_, part in transforms_in(config, key):
        if not str(part["_target_"]).startswith(("monai.", "medseg.")) and "." in str(part["_target_"]):
            return
        if "pred" not in keys_at(config, id_):
            elsewhere = f"{id_}::keys" if _ACTIVATES.fullmatch(class_of(part)) else elsewhere
            continue
        if _NUMBERS.fullmatch(class_of(part)):
            numbered = True
            if saved:
                yield saved, "saves the channels before they have become one label map. Put it after that.", "error"
        elif class_of(part) == "SaveCased" and part.get("kind", "labels") != "probabilities":
            saved = id_
        elif _CHANNELS.fullmatch(class_of(part)):
            numbered = False
        elif numbered and (_ACTIVATES.fullmatch(class_of(part)) or _BINARIZES.fullmatch(class_of(part))):
            yield id_, "comes after the channels have become one label map. Put it before that.", "error"
        elif _ACTIVATES.fullmatch(class_of(part)):
            active = next((word for word in ("softmax", "sigmoid") if part.get(word)), "other")
            if masked:
                yield id_, "comes after the values have become a mask. Put it before that.", "error"
        elif _BINARIZES.fullmatch(class_of(part)):
            masked = True
            yield from _mask(id_, part, active, raw=raw, elsewhere=elsewhere)


def _mask(id_: str, part: dict[str, Any], active: str, *, raw: bool, elsewhere: str) -> Found:
    threshold = part.get("threshold")
    if isinstance(threshold, (int, float)) and not isinstance(threshold, bool):
        if active in ("sigmoid", "softmax") and not 0 <= threshold < 1:
            yield f"{id_}::threshold", f"{threshold} is no probability; wanted from 0 to below 1.", "error"
        if raw and not active and 0 < threshold < 1 and elsewhere:
            yield elsewhere, "the activation leaves 'pred' alone, which becomes a mask. Name it here.", "warning"
        elif raw and not active and 0 < threshold < 1:
            yield id_, "cuts logits at a probability. Put Activationsd with sigmoid before it.", "warning"
    if part.get("argmax") is True and active == "sigmoid":
        message = "takes one class of channels that sigmoid made independent. Use threshold, or softmax before it."
        yield f"{id_}::argmax", message, "warning"


def _contradiction(parts: list[tuple[str, dict[str, Any]]]) -> Found:
    """Losses and masks of a training that do not agree whether classes exclude one another."""
    said: list[tuple[str, str]] = []
    for id_, part in parts:
        name = class_of(part)
        if not (_OVERLAPS.fullmatch(name) or _ACTIVATES.fullmatch(name) or name in (*_SIGMOIDS, *_SOFTMAXES)):
            continue
        words = [w for w in ("sigmoid", "softmax") if part.get(w) is True]
        words += ["sigmoid"] * (name in _SIGMOIDS) + ["softmax"] * (name in _SOFTMAXES)
        said += [(f"{id_}::{word}" if word in part else id_, word) for word in words[:1]]
    counts = Counter(word for _, word in said).most_common()
    if len(counts) < 2 or counts[0][1] == counts[1][1]:
        return
    for id_, word in said:
        if word != counts[0][0]:
            yield id_, f"{word} here, but {counts[0][0]} in the other losses and activations. Use one.", "warning"
