"""Files of values that lie over a bundle: its presets and plans, and whether their values fit what they replace."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from medseg.bundle import ids
from medseg.bundle.check_ids import is_of_its_kind
from medseg.bundle.compose import Composition
from medseg.bundle.documents import Document, read_document
from medseg.bundle.files import unreadable
from medseg.bundle.findings import Finding
from medseg.bundle.override_files import PLANS
from medseg.bundle.overrides import Override, apply_override
from medseg.errors import ConfigError


def plan_files(root: Path) -> list[Path]:
    """The plans that a bundle carries."""
    return [path for path in sorted((root / PLANS).glob("*")) if path.suffix in (".yaml", ".yml", ".json")]


def laid_over(compositions: Sequence[Composition], path: Path) -> tuple[list[Composition], list[Finding]]:
    """The compositions with a plan's values in them, and what of the plan cannot be laid over any.

    Args:
        compositions: Those of the bundle.
        path: The plan's file.
    """
    root = compositions[0].bundle_root
    try:
        document = read_document(path, strict=False)
    except ConfigError as error:
        return [], [unreadable(error, root)]
    findings = list(_unknown_keys(compositions, document))
    changed = []
    for composition in compositions:
        copied = replace(composition, config=copy.deepcopy(composition.config), sources=dict(composition.sources))
        findings += _lay(copied, document)
        changed.append(copied)
    return changed, list(dict.fromkeys(findings))


def _unknown_keys(compositions: Sequence[Composition], document: Document) -> Iterator[Finding]:
    for key in map(str, document.content):
        id_ = ids.normalize(key.removeprefix("+"))
        if not any(ids.contains(c.config, id_.partition(ids.SEP)[0]) for c in compositions):
            close = next(filter(None, (ids.nearest_id(c.config, id_) for c in compositions)), None)
            hint = f" Did you mean {close!r}?" if close else ""
            yield Finding(_where(compositions[0], document, key), f"the bundle has no such key.{hint}")


def _lay(composition: Composition, document: Document) -> Iterator[Finding]:
    for key, value in document.content.items():
        id_ = ids.normalize(str(key).removeprefix("+"))
        if not ids.contains(composition.config, id_):
            continue
        override = Override(id_=id_, value=copy.deepcopy(value), extend=str(key).startswith("+"))
        try:
            apply_override(composition.config, override)
        except ConfigError as error:
            # What every bundle's key must be is said once, by the check of the composition.
            ids.set_at(composition.config, id_, copy.deepcopy(value))
            if is_of_its_kind(id_, value):
                message = str(error).removeprefix(f"{id_}: ")
                yield Finding(_where(composition, document, str(key)), message)
        for known in [k for k in composition.sources if k == id_ or k.startswith(f"{id_}{ids.SEP}")]:
            del composition.sources[known]
        composition.sources[id_] = document


def _where(composition: Composition, document: Document, key: str) -> str:
    root, path = composition.bundle_root, document.path
    shown = path.relative_to(root) if path.is_relative_to(root) else path
    return document.where(key, shown=str(shown))
