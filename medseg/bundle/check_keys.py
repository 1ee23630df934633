"""Keys that nothing reads or that hide one another; ids that its properties must name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medseg.bundle import ids
from medseg.bundle.compose import CONTRACT_KEYS, Composition
from medseg.bundle.documents import Document
from medseg.bundle.findings import Finding, Found
from medseg.bundle.references import references_in

# Read by MONAI's workflows and consumers, or set by medseg when it runs.
_READ = """
imports initialize run finalize evaluator dataset dataloader inferer handlers preprocessing postprocessing key_metric
network network_def train validate resume save_probabilities ckpt_dir detector detector_ops bundle_root run_name
optimizer loss display batch_size lr_scheduler use_tensorrt use_checkpointing experiment_name
"""
_KNOWN = frozenset(_READ.split()) | CONTRACT_KEYS
# What monai.bundle's check_properties compares: the id of a property, and the argument that must refer to it.
_LINKS = {
    "train": """train::handlers=train::trainer::train_handlers train::preprocessing=train::dataset::transform
        train::postprocessing=train::trainer::postprocessing train::key_metric=train::trainer::key_train_metric
        validate::handlers=validate::evaluator::val_handlers validate::dataset=validate::dataloader::dataset
        validate::inferer=validate::evaluator::inferer validate::preprocessing=validate::dataset::transform
        validate::postprocessing=validate::evaluator::postprocessing
        validate::key_metric=validate::evaluator::key_val_metric""",
    "inference": """handlers=evaluator::val_handlers preprocessing=dataset::transform
        postprocessing=evaluator::postprocessing key_metric=evaluator::key_val_metric""",
}
_VALIDATION = {"validate::evaluator": ("validator",), "val_interval": ("interval",)}


def unread_keys(compositions: Sequence[Composition]) -> Iterator[Finding]:
    """Top-level keys that nothing refers to: the traces of a slip, or left over."""
    used = {root for c in compositions for root in _referred(c.config)}
    missing = sorted(used.difference(*(c.config for c in compositions)))
    seen: set[str] = set()
    for composition in compositions:
        for key, value in composition.config.items():
            if key in used or key in _KNOWN or key in seen or key.startswith("_"):
                continue
            seen.add(key)
            close = difflib.get_close_matches(key, sorted((used | _KNOWN) - {key}), n=1, cutoff=0.8)
            if _is_part(value) or difflib.get_close_matches(key, missing, n=1, cutoff=0.75):
                continue  # an alternative, or the reference to it has the slip and is reported
            if close:
                message = f"nothing reads this key. Did you mean {close[0]!r}?"
                yield Finding(composition.where(key), message)
            else:
                yield Finding(composition.where(key), "nothing reads this key. Remove it, or refer to it.", "warning")


def _is_part(value: Any) -> bool:
    """Whether the value is a component, or holds one: an alternative that an override may choose."""
    return ids.is_component(value) or any(ids.is_component(v) for _, v in ids.walk(value))


def _referred(config: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    for id_, value in ids.walk(config):
        if isinstance(value, str):
            text = f"@{value[1:]}" if value[:1] == "%" else value
            found |= {target.split(ids.SEP)[0] for target in references_in(text, id_)}
    return found


def hidden_keys(documents: Sequence[Document], root: Path) -> Iterator[Finding]:
    """Values that a later file or line silently replaces.

    What lies over inference.yaml by design, an evaluate.yaml, is not looked at.
    """
    shared = next((d for d in documents if d.path.stem == "common"), None)
    for document in documents:
        shown = document.path.relative_to(root)
        keys = [str(key) for key in document.content]
        for n, key in enumerate(keys):
            line = document.lines.get(key, 1)
            id_ = ids.normalize(key)
            if id_.startswith("+"):
                continue
            for later in keys[n + 1 :]:
                other = ids.normalize(later)
                if id_ == other or id_.startswith(f"{other}{ids.SEP}"):
                    where = f"{shown}:{document.lines.get(later, 1)}: {later}"
                    yield Finding(where, f"replaces what line {line} sets by {key!r}. Remove one of them.")
            if shared is not None and document is not shared and _is_own(document) and key in shared.content:
                there = f"{shared.path.relative_to(root)}:{shared.lines.get(key, 1)}"
                message = f"hides the value that {there} sets for every workflow. Set it in one place, or name it anew."
                yield Finding(f"{shown}:{line}: {key}", message)


def _is_own(document: Document) -> bool:
    return document.path.stem in ("train", "inference")


def replaced_steps(documents: Sequence[Document], root: Path) -> Iterator[Finding]:
    """Transforms that a later file puts in the place of all those of an earlier one, of which it repeats none."""
    for n, document in enumerate(documents):
        for key, steps in document.content.items():
            id_ = ids.normalize(str(key))
            if id_.startswith("+") or not id_.endswith(f"{ids.SEP}transforms") or not _targets(steps):
                continue
            for earlier in documents[:n]:
                before = ids.get_at(earlier.content, id_) if ids.contains(earlier.content, id_) else []
                if _targets(before) and not _targets(before) & _targets(steps):
                    there = f"{earlier.path.relative_to(root)}:{earlier.lines.get(id_, 1)}"
                    message = f"takes the place of all {len(before)} steps of {there}. Write '+{key}' to add to them."
                    shown = f"{document.path.relative_to(root)}:{document.lines.get(str(key), 1)}"
                    yield Finding(f"{shown}: {key}", message, "warning")


def _targets(steps: Any) -> set[str]:
    """Names of the components in a list; none where it is no list of components alone."""
    parts = steps if isinstance(steps, list) else []
    return {str(part["_target_"]) for part in parts} if all(map(ids.is_component, parts)) else set()


def unlinked_properties(composition: Composition) -> Found:
    """Inline values where MONAI's `check_properties` wants a reference to the property of that name."""
    config = composition.config
    for pair in _LINKS.get(composition.workflow, _LINKS["inference"]).split():
        id_, place = pair.split("=")
        yield from _unlinked(config, id_, place)
    handlers = config.get("train", {}).get("handlers") if isinstance(config.get("train"), dict) else None
    for n, handler in enumerate(handlers if isinstance(handlers, list) else ()):
        if isinstance(handler, dict) and str(handler.get("_target_", "")).endswith("ValidationHandler"):
            for id_, (name,) in _VALIDATION.items():
                if name in handler:
                    yield from _unlinked(config, id_, f"train::handlers::{n}::{name}")


def _unlinked(config: dict[str, Any], id_: str, place: str) -> Found:
    if not ids.contains(config, place):
        return
    value = ids.get_at(config, place)
    given = isinstance(value, str) and (value.startswith("$") or ids.normalize(value) == f"@{id_}")
    if value is not None and not given:
        if isinstance(value, str) and value.startswith("@"):
            yield place, f"MONAI's check_properties wants '@{id_}' here. Write that.", "error"
        else:
            yield place, f"MONAI's check_properties wants a reference here. Define {id_} and write '@{id_}'.", "error"
