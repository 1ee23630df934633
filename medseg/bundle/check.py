"""What is wrong with a bundle, found without importing or running anything of it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.bundle import ids
from medseg.bundle.compose import LAYERS, Composition, bundle_documents, compose, config_file
from medseg.bundle.documents import Document
from medseg.bundle.files import file_problems
from medseg.bundle.find import find_bundle
from medseg.bundle.references import circle_from, expression_problem, imported_names, is_expression, references_in
from medseg.bundle.signatures import Signature, signature_of
from medseg.bundle.sources import NotFoundError
from medseg.errors import ConfigError

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
_MODES = ("default", "callable", "debug")
# Contract keys that count something, with the least that makes sense.
_LEAST = {
    "epochs": 1,
    "val_interval": 1,
    "batch_size": 1,
    "samples_per_epoch": 1,
    "roi_size": 1,
    "num_workers": 0,
    "fold": 0,
    "seed": 0,
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        where: File, line and key.
        message: What is wrong and what to do.
        level: `error` when it cannot run, `warning` when somebody will stumble over it.
    """

    where: str
    message: str
    level: str = "error"

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


_Found = Iterator[tuple[str, str, str]]


def check_bundle(bundle: str | Path) -> list[Finding]:
    """Everything that is wrong with a bundle's files and the configs they make.

    Raises:
        ConfigError: When no bundle is there.
    """
    root = find_bundle(bundle)
    findings = [Finding(where, message, level) for where, message, level in file_problems(root)]
    for workflow in LAYERS:
        if config_file(root, workflow) is None:
            continue
        try:
            findings += [f for d in bundle_documents(root, workflow) for f in _check_document(d, root)]
            findings += check_composition(compose(root, workflow))
        except ConfigError as error:
            findings.append(Finding(workflow, str(error).replace(f"{root}/", "")))
    return list(dict.fromkeys(findings))


def check_composition(composition: Composition) -> list[Finding]:
    """Everything that is wrong with one composed config: targets, arguments, references, expressions, missing ids."""
    checks: tuple[Callable[[Composition], _Found], ...] = (
        _missing_ids,
        _counts,
        _components,
        _references,
        _expressions,
        _circles,
    )
    return [
        Finding(composition.where(id_), message, level)
        for check in checks
        for id_, message, level in check(composition)
    ]


def require_clean(composition: Composition) -> None:
    """Refuses a config that cannot run.

    Raises:
        ConfigError: With the first error.
    """
    errors = [f for f in check_composition(composition) if f.level == "error"]
    if errors:
        more = f" ({len(errors) - 1} more: medseg bundle check {composition.name})" if len(errors) > 1 else ""
        msg = f"{errors[0]}{more}"
        raise ConfigError(msg)


def _missing_ids(composition: Composition) -> _Found:
    for level, table in (("error", _REQUIRED), ("warning", _EXPECTED)):
        for id_ in table[composition.workflow].split():
            if not ids.contains(composition.config, id_):
                wanted = "MONAI's workflows need it" if level == "error" else "MONAI's consumers look for it"
                yield id_, f"missing from the {composition.workflow} config; {wanted}.", level


def _counts(composition: Composition) -> _Found:
    for id_, least in _LEAST.items():
        value = composition.config.get(id_)
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, (int, float)) and not (isinstance(number, int) and number >= least):
                yield id_, f"{number!r} is too small or no whole number; wanted from {least} on.", "error"


def _components(composition: Composition) -> _Found:
    for id_, value in ids.walk(composition.config):
        if not ids.is_component(value) or str(value.get("_disabled_", "")).strip().lower() == "true":
            continue
        mode = value.get("_mode_", "default")
        if mode not in _MODES:
            yield f"{id_}::_mode_", f"{mode!r} is no mode. Known: {', '.join(_MODES)}.", "error"
        target = value["_target_"]
        if not isinstance(target, str):
            yield f"{id_}::_target_", f"{target!r} is no name of a class or function.", "error"
        elif target[:1] not in ("$", "@", "%"):
            yield from _call(id_, target, value)


def _call(id_: str, target: str, component: dict[str, Any]) -> _Found:
    try:
        signature = signature_of(target)
    except NotFoundError as error:
        yield f"{id_}::_target_", f"{target!r} does not exist: {error}", "error"
        return
    given = [name for name in component if name not in ids.COMPONENT_KEYS and name != "_debug_"]
    for name in given:
        if not signature.open_ended and name not in signature.names:
            yield f"{id_}::{name}", f"{target} takes no argument {name!r}.{_instead(name, signature)}", "error"
    if component.get("_mode_", "default") == "callable":
        return
    for name in (*signature.unnamable, *(n for n in signature.required if n not in given)):
        yield id_, f"{target} needs the argument {name!r}.", "error"


def _instead(name: str, signature: Signature) -> str:
    close = difflib.get_close_matches(name, signature.names, n=1, cutoff=0.5)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" It takes: {', '.join(signature.names)}." if signature.names else " It takes none."


def _references(composition: Composition) -> _Found:
    config = composition.config
    for id_, value in ids.walk(config):
        for target in references_in(value, id_):
            if not target:
                yield id_, f"{value!r}: MONAI reads every '@' in an expression as a reference to a key.", "error"
            elif not _is_known(composition, target):
                close = ids.nearest_id(config, target)
                hint = f" Did you mean '@{close}'?" if close else ""
                yield id_, f"'@{target}' refers to a key that the config lacks.{hint}", "error"
            elif _is_none_in_list(config, id_, value, target):
                yield id_, f"'@{target}' is _disabled_ and leaves None in the list. Write it inline instead.", "error"
        if isinstance(value, str) and value.startswith("%"):
            yield from _macro(config, id_, value)
        elif isinstance(value, str) and "#" in value and not _is_old_id(value):
            yield id_, f"{value!r}: MONAI turns every '#' into '::'. Say it without '#'.", "error"


def _macro(config: dict[str, Any], id_: str, value: str) -> _Found:
    target = ids.normalize(value[1:])
    if any(f".{suffix}{ids.SEP}" in f"{target}{ids.SEP}" for suffix in ("json", "yaml", "yml")):
        message = f"{value!r} is read from the working directory, which differs between users. Use a reference."
        yield id_, message, "warning"
    elif not ids.contains(config, target):
        yield id_, f"{value!r} copies a key that the config lacks.", "error"


def _is_known(composition: Composition, target: str) -> bool:
    # `_meta_` is metadata.json, which MONAI adds when it runs.
    return target.startswith("_meta_") or ids.contains(composition.config, target)


def _is_none_in_list(config: dict[str, Any], id_: str, value: str, target: str) -> bool:
    if is_expression(value) or target.startswith("_meta_"):
        return False
    parent = id_.rpartition(ids.SEP)[0]
    content = ids.get_at(config, target)
    in_list = bool(parent) and isinstance(ids.get_at(config, parent), list)
    return in_list and ids.is_component(content) and bool(content.get("_disabled_", False))


def _is_old_id(value: str) -> bool:
    """Whether `#` separates the parts of a reference, as in `@train#trainer`."""
    return value[:1] in ("@", "$") and all(
        part[:1].isidentifier() or part[:1].isdigit() for part in value.split("#")[1:]
    )


def _expressions(composition: Composition) -> _Found:
    names = imported_names(composition.config)
    for id_, value in ids.walk(composition.config):
        if is_expression(value):
            problem = expression_problem(value, id_, names)
            if problem:
                yield id_, problem, "error"


def _circles(composition: Composition) -> _Found:
    for start in ("initialize", "run", "finalize"):
        circle = circle_from(composition.config, start)
        if circle:
            yield circle[0], f"the references form a circle: {' -> '.join(circle)}.", "error"


def _check_document(document: Document, root: Path) -> Iterator[Finding]:
    shown = document.path.relative_to(root)
    for trap in document.traps:
        if trap.kind == "number":
            plain = repr(float(trap.text))
            better = plain if "." in plain else plain.replace("e", ".0e")
            where = f"{shown}:{trap.line}: {trap.id_}"
            yield Finding(where, f"stock MONAI reads {trap.text} as text, since YAML 1.1 wants a dot. Write {better}.")
