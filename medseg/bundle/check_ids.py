"""What MONAI's workflows and consumers look for in a config, and the kinds and counts that every config has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from medseg.bundle import ids
from medseg.bundle.compose import Composition
from medseg.bundle.constants import UnknownError, constant
from medseg.bundle.findings import Found
from medseg.bundle.signatures import signature_of
from medseg.bundle.sources import NotFoundError

# BUNDLES of the zoo: ids that monai.bundle's workflows need, and those that consumers may ask for.
_REQUIRED: dict[str, str] = {
    "train": """bundle_root device dataset_dir train::trainer train::trainer::max_epochs train::dataset train::inferer
        run""",
    "inference": "bundle_root device dataset_dir dataset evaluator network_def inferer run",
    "evaluate": "bundle_root device dataset_dir dataset evaluator network_def inferer run",
}
_EXPECTED: dict[str, str] = {
    "train": """network_def train::dataset::data train::handlers train::preprocessing
        train::postprocessing train::key_metric val_interval validate::evaluator
        validate::dataset validate::dataset::data validate::dataloader validate::inferer validate::preprocessing
        validate::postprocessing validate::key_metric validate::handlers""",
    "inference": "dataset::data handlers preprocessing postprocessing key_metric",
    "evaluate": "dataset::data handlers preprocessing postprocessing key_metric",
}
# Contract keys that count something, with the least that makes sense.
LEAST = {
    "epochs": 1,
    "val_interval": 1,
    "batch_size": 1,
    "samples_per_epoch": 1,
    "roi_size": 1,
    "num_workers": 0,
    "fold": 0,
    "seed": 0,
}
_A_NUMBER, _A_SWITCH, _A_LIST, _A_TEXT = "a number", "true or false", "a list", "a text"
_A_CONVENTION = "a name or a mapping"
_KINDS = {
    **dict.fromkeys(("epochs", "val_interval", "batch_size", "num_workers", "learning_rate"), _A_NUMBER),
    **dict.fromkeys(("fold", "seed", "samples_per_epoch"), _A_NUMBER),
    **dict.fromkeys(("amp", "tta"), _A_SWITCH),
    **dict.fromkeys(("modalities", "regions", "label_names", "spacing_mm"), _A_LIST),
    **dict.fromkeys(("bundle_root", "dataset_dir", "output_dir"), _A_TEXT),
    "roi_size": "a number or a list of numbers",
    "label_convention": _A_CONVENTION,
}
_MAY_BE_NULL = ("fold", "seed", "samples_per_epoch", "dataset_dir", "label_convention")


def missing_ids(composition: Composition) -> Found:
    """Ids that MONAI or its consumers look up in vain."""
    config = composition.config
    if composition.workflow == "evaluate" and ids.contains(config, "train::trainer"):
        return  # the zoo's evaluate.json lies over train.json, whose ids have been looked at
    astray: set[str] = set()
    for level, table in (("error", _REQUIRED), ("warning", _EXPECTED)):
        for id_ in table[composition.workflow].split():
            if ids.contains(config, id_) or any(id_.startswith(f"{above}{ids.SEP}") for above in astray):
                continue
            places = list(_elsewhere(composition, id_))
            if len(places) == 1:
                astray.add(id_)
                above = places[0].rpartition(ids.SEP)[0]
                stands = f"stands in {above!r}" if above else "stands at the top"
                yield places[0], f"{stands}, where nothing looks for it. Make it {id_}.", level
                continue
            wanted = "MONAI's workflows need it" if level == "error" else "MONAI's consumers look for it"
            yield id_, f"missing from the {composition.workflow} config; {wanted}.", level


def _elsewhere(composition: Composition, id_: str) -> Iterator[str]:
    """Where a nested key stands in the wrong place: wrongly indented, most often."""
    name = id_.rpartition(ids.SEP)[2]
    known = {each for table in (_REQUIRED, _EXPECTED) for each in table[composition.workflow].split()}
    both = f"train{ids.SEP}{name}" in known and f"validate{ids.SEP}{name}" in known
    if ids.SEP not in id_ or both:
        return
    for place, value in ids.walk(composition.config):
        above, _, last = place.rpartition(ids.SEP)
        if last != name or place in known or not ids.is_component(value):
            continue
        holder = ids.get_at(composition.config, above) if above else {}
        if not (ids.is_component(holder) and _takes(holder, name)) and not _is_referred(composition.config, place):
            yield place


def _is_referred(config: dict[str, Any], place: str) -> bool:
    pattern = re.compile(rf"[@%]{re.escape(place)}(?![\w:])")
    return any(isinstance(v, str) and pattern.search(ids.normalize(v)) for _, v in ids.walk(config))


def _takes(component: dict[str, Any], name: str) -> bool:
    try:
        signature = signature_of(str(component["_target_"]))
    except NotFoundError:
        return True
    return name in signature.names


def counts(composition: Composition) -> Found:
    """Contract keys that are of another kind, and those that count something and cannot be so small."""
    config = composition.config
    for id_, wanted in _KINDS.items():
        if id_ in config and not is_of_its_kind(id_, config[id_]):
            given = "null" if config[id_] is None else repr(config[id_])
            yield id_, f"{given} is wrong; {wanted} is wanted.", "error"
    yield from _network(config)
    for id_, least in LEAST.items():
        value = config.get(id_)
        for number in value if isinstance(value, list) else [value]:
            numeric = isinstance(number, (int, float)) and not isinstance(number, bool)
            if numeric and not (isinstance(number, int) and number >= least):
                yield id_, f"{number!r} is too small or no whole number; wanted from {least} on.", "error"


def _network(config: dict[str, Any]) -> Found:
    """A network_def that comes to another thing than a component."""
    try:
        value = constant(config, "network_def")
    except UnknownError:
        return
    if value is not None and not ids.is_component(value):
        yield "network_def", f"comes to {value!r}; a network is wanted, or a reference to one.", "error"


def is_of_its_kind(key: str, value: object) -> bool:
    """Whether a contract key's value is of the kind that every bundle gives it; true for other keys.

    >>> is_of_its_kind("epochs", 3), is_of_its_kind("epochs", "two"), is_of_its_kind("epochs", "$2 * 3")
    (True, False, True)
    """
    wanted = _KINDS.get(key)
    if wanted is None or ids.is_component(value) or (isinstance(value, str) and value[:1] in ("$", "@", "%")):
        return True
    if value is None:
        return key in _MAY_BE_NULL
    if wanted == _A_SWITCH:
        return isinstance(value, (bool, str))  # of texts, elsewhere
    if wanted == _A_TEXT:
        return isinstance(value, str)
    if wanted == _A_CONVENTION:
        return isinstance(value, (str, dict))
    if wanted == _A_LIST:
        return isinstance(value, list)
    numbers = value if isinstance(value, list) and key == "roi_size" else [value]
    return all(_is_number(number) for number in numbers)


def _is_number(value: object) -> bool:
    if isinstance(value, str):  # one in quotes is found elsewhere, an element may be an expression
        return value[:1] in ("$", "@", "%") or value.replace(".", "", 1).lstrip("+-").isdigit()
    return isinstance(value, (int, float)) and not isinstance(value, bool)
