"""Handlers of an engine: texts that stand for none, and those that are attached twice."""

from __future__ import annotations

import ast
from collections import Counter
from typing import Any

from medseg.bundle import ids
from medseg.bundle.check_arguments import target_of
from medseg.bundle.compose import Composition
from medseg.bundle.findings import Found
from medseg.bundle.known_networks import class_of, source_of
from medseg.bundle.members import has_member
from medseg.bundle.parameters import definition_of
from medseg.bundle.references import references_in
from medseg.bundle.sources import NotFoundError

_LISTS = ("train_handlers", "val_handlers")
_METRICS = ("key_train_metric", "key_val_metric", "additional_metrics")


def handlers(composition: Composition) -> Found:
    """Elements of an engine's handlers that are no handlers, and handlers that hear every event twice."""
    config = composition.config
    for id_, value in ids.walk(config):
        if not ids.is_component(value):
            continue
        for name in _LISTS:
            source = source_of(config, f"{id_}{ids.SEP}{name}") if name in value else None
            elements = ids.get_at(config, source) if source else None
            if source and isinstance(elements, list):
                yield from _elements({f"{source}{ids.SEP}{n}": element for n, element in enumerate(elements)})
        validator = target_of(config, f"{id_}{ids.SEP}validator") if "validator" in value else None
        if validator and has_member(validator, "run") is False:
            message = f"{validator.rpartition('.')[2]} cannot run. Name an evaluator."
            yield f"{id_}{ids.SEP}validator", message, "error"
        for name in _METRICS:
            yield from _metric(config, f"{id_}{ids.SEP}{name}")
        if class_of(value) == "HandlerGroup":
            given = {k: v for k, v in value.items() if k not in ids.COMPONENT_KEYS}
            yield from _elements({f"{id_}{ids.SEP}{name}": element for name, element in given.items()})


def unheard(composition: Composition) -> Found:
    """Handlers that have an id of their own, and that no engine or group is given."""
    config = composition.config
    named = {target for id_, value in ids.walk(config) for target in references_in(value, id_)}
    for id_, value in ids.walk(config):
        if not ids.is_component(value) or not isinstance(value["_target_"], str):
            continue
        parts = id_.split(ids.SEP)
        above = [ids.SEP.join(parts[:n]) for n in range(1, len(parts))]
        held = any(ids.is_component(v) or isinstance(v, list) for v in (ids.get_at(config, a) for a in above))
        if held or named.intersection([*above, id_]) or not _is_handler(value["_target_"]):
            continue
        yield id_, f"no engine hears this handler: nothing refers to '@{id_}'. List it, or remove it.", "warning"


def _is_handler(target: str) -> bool:
    return target.startswith(("medseg.engines.", "monai.handlers.")) and has_member(target, "attach") is True


def _metric(config: dict[str, Any], id_: str) -> Found:
    """A metric where names of metrics are wanted."""
    source, target = source_of(config, id_), target_of(config, id_)
    try:
        found = definition_of(target) if target else None
    except NotFoundError:
        return
    if source and target and found is not None and isinstance(found.node, ast.ClassDef):
        name = target.rpartition(".")[2]
        yield source, f"is one {name}; names of metrics are wanted. Write it below a name of its own.", "error"


def _elements(elements: dict[str, Any]) -> Found:
    counts = Counter(e for e in elements.values() if isinstance(e, str) and e.startswith("@"))
    seen: set[str] = set()
    for place, element in elements.items():
        if isinstance(element, str) and element[:1] not in ("$", "@", "%"):
            yield place, f"{element!r} is a text, and no handler. Write '@{element}'.", "error"
        elif isinstance(element, str) and counts[element] > 1 and element in seen:
            yield place, f"{element!r} stands here a second time, and would hear every event twice.", "error"
        elif isinstance(element, str):
            seen.add(element)
