"""What is wrong with a bundle, found without importing or running anything of it."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from medseg.bundle import ids
from medseg.bundle.check_keys import argument_files, hidden_keys, unlinked_properties, unread_keys
from medseg.bundle.check_model import channel_counts, label_names, missing_elements, patch_sizes, shapes
from medseg.bundle.check_values import argument_kinds, document_traps, misspelt_keys, value_traps
from medseg.bundle.compose import LAYERS, Composition, compose, config_file
from medseg.bundle.documents import Document, read_document
from medseg.bundle.files import file_problems, unreadable
from medseg.bundle.find import find_bundle, find_preset, list_presets
from medseg.bundle.findings import Finding, Fix, Found
from medseg.bundle.references import circle_from, expression_problem, imported_names, is_expression, references_in
from medseg.bundle.signatures import Signature, signature_of
from medseg.bundle.sources import NotFoundError
from medseg.errors import ConfigError

__all__ = ["Finding", "check_bundle", "check_composition", "require_clean"]

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


def check_bundle(bundle: str | Path, *, presets: Sequence[str] | None = None) -> list[Finding]:
    """Everything that is wrong with a bundle's files and the configs they make.

    Args:
        bundle: Name or path of the bundle.
        presets: Names or paths of presets to lay over it, besides its own. When None, all that a name can reach, of
            which only sizes, counts and the keys that they touch are looked at.

    Raises:
        ConfigError: When no bundle is there.
    """
    root = find_bundle(bundle)
    findings = list(file_problems(root))
    documents: dict[str, Document] = {}
    for name in dict.fromkeys(name for layers in LAYERS.values() for name in layers):
        findings += _read(root, name, documents)
    compositions = []
    for workflow in LAYERS:
        try:
            composition = _compose(root, workflow, documents)
        except ConfigError as error:
            findings.append(unreadable(error, root))
            continue
        if composition is not None:
            compositions.append(composition)
            findings += check_composition(composition)
            findings += _check_against_metadata(composition)
            findings += hidden_keys([documents[n] for n in _layers(root, workflow, documents)], root)
    if len(documents) == sum(
        config_file(root, name) is not None for name in ("common", "train", "inference", "evaluate")
    ):
        findings += unread_keys(compositions)
    findings += argument_files(root, compositions)
    findings += _check_presets(root, presets, documents)
    return sorted(dict.fromkeys(findings), key=_place)


def _place(finding: Finding) -> tuple[str, int]:
    line = finding.where.partition(": ")[0].rpartition(":")[2]
    return finding.file, int(line) if line.isdigit() else 0


def _read(root: Path, name: str, documents: dict[str, Document]) -> Iterator[Finding]:
    path = config_file(root, name)
    if path is None:
        return
    try:
        documents[name] = read_document(path, strict=False)
    except ConfigError as error:
        yield unreadable(error, root)
        return
    yield from document_traps(documents[name], root)


def _layers(root: Path, workflow: str, documents: dict[str, Document]) -> list[str]:
    """The files that make a workflow; the zoo's evaluate.json lies over its train.json."""
    names = LAYERS[workflow]
    evaluate = documents.get("evaluate")
    if workflow == "evaluate" and config_file(root, "common") is None and evaluate is not None:
        keys = [ids.normalize(str(key)) for key in evaluate.content]
        if any(key.startswith("validate") for key in keys):
            names = ("train", "evaluate")
    return [name for name in names if config_file(root, name) is not None]


def _compose(
    root: Path, workflow: str, documents: dict[str, Document], presets: Sequence[str] = ()
) -> Composition | None:
    """The composition of a workflow; None when the bundle lacks one of its files, or it cannot be read."""
    layers = _layers(root, workflow, documents)
    if workflow not in layers or any(name not in documents for name in layers):
        return None
    return compose(root, workflow, presets=presets, documents=[documents[n] for n in layers])


def _check_against_metadata(composition: Composition) -> Iterator[Finding]:
    path = composition.bundle_root / "configs" / "metadata.json"
    try:
        metadata = read_document(path, strict=False)
    except ConfigError:
        return
    for check in (channel_counts, label_names, shapes):
        yield from check(composition, metadata)


def _check_presets(root: Path, presets: Sequence[str] | None, documents: dict[str, Document]) -> Iterator[Finding]:
    """What presets break that the bundle alone does not."""
    wanted = [*map(str, sorted((root / "configs" / "presets").glob("*.*"))), *(presets or ())]
    for name in [*wanted, *(list_presets() if presets is None else ())]:
        try:
            document = read_document(find_preset(name), strict=False)
        except ConfigError as error:
            yield unreadable(error, root)
            continue
        yield from document_traps(document, root)
        for workflow in LAYERS:
            try:
                composition = _compose(root, workflow, documents, presets=[name])
            except ConfigError as error:
                yield unreadable(error, root)
                break
            if composition is None:
                continue
            place = str(document.path.relative_to(root) if document.path.is_relative_to(root) else document.path)
            checks = _CHECKS if name in wanted else _OF_SIZES
            yield from (f for f in _run_checks(composition, checks) if f.where.startswith(f"{place}:"))


def check_composition(composition: Composition) -> list[Finding]:
    """Everything that is wrong with one composed config: targets, arguments, references, expressions, missing ids."""
    return _run_checks(composition, _CHECKS)


def _run_checks(composition: Composition, checks: Sequence[Callable[[Composition], Found]]) -> list[Finding]:
    return [
        Finding(_where(composition, id_), message, level, _fix(composition, id_, message))
        for check in checks
        for id_, message, level in check(composition)
    ]


def _where(composition: Composition, id_: str) -> str:
    """Where an id stands, or the file that should have it."""
    if ids.contains(composition.config, id_.split(ids.SEP)[0]):
        return composition.where(id_)
    path = config_file(composition.bundle_root, composition.workflow)
    return f"configs/{path.name}:1: {id_}" if path is not None else id_


def _fix(composition: Composition, id_: str, message: str) -> Fix | None:
    """The change of a line that a message announces by what to write instead."""
    line = composition.where(id_).partition(": ")[0].rpartition(":")[2]
    if not line.isdigit() or not ids.contains(composition.config, id_):
        return None
    value = ids.get_at(composition.config, id_)
    if message.endswith("without quotes.") and isinstance(value, str):
        new = message.partition(" Write ")[2].split(" ")[0]
        return Fix(int(line), value, value if new == "the" else new)
    if "a reference stands alone. Write $@" in message:
        new = message.partition(" Write ")[2].removesuffix(".")
        return Fix(int(line), value, new)
    if "Did you mean '_target_'?" in message:
        return Fix(int(line), id_.rpartition(ids.SEP)[2], "_target_")
    return None


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


def _missing_ids(composition: Composition) -> Found:
    if composition.workflow == "evaluate" and ids.contains(composition.config, "train::trainer"):
        return  # the zoo's evaluate.json lies over train.json, whose ids have been looked at
    for level, table in (("error", _REQUIRED), ("warning", _EXPECTED)):
        for id_ in table[composition.workflow].split():
            if not ids.contains(composition.config, id_):
                wanted = "MONAI's workflows need it" if level == "error" else "MONAI's consumers look for it"
                yield id_, f"missing from the {composition.workflow} config; {wanted}.", level


def _counts(composition: Composition) -> Found:
    for id_, least in _LEAST.items():
        value = composition.config.get(id_)
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, (int, float)) and not (isinstance(number, int) and number >= least):
                yield id_, f"{number!r} is too small or no whole number; wanted from {least} on.", "error"


def _components(composition: Composition) -> Found:
    for id_, value in ids.walk(composition.config):
        if not ids.is_component(value) or str(value.get("_disabled_", "")).strip().lower() == "true":
            continue
        mode = value.get("_mode_", "default")
        if mode not in _MODES:
            yield f"{id_}::_mode_", f"{mode!r} is no mode. Known: {', '.join(_MODES)}.", "error"
        target = value["_target_"]
        if not isinstance(target, str):
            yield f"{id_}::_target_", f"{target!r} is no name of a class or function.", "error"
        elif _is_carried(composition.bundle_root, target):
            message = (
                f"{target} is code in the bundle, which finds it only from there. Two such bundles cannot be mixed."
            )
            yield f"{id_}::_target_", message, "warning"
        elif target[:1] not in ("$", "@", "%"):
            yield from _call(id_, target, value)


def _is_carried(root: Path, target: str) -> bool:
    """Whether a name stands for a file of the bundle, which is neither imported nor read."""
    head = target.partition(".")[0]
    return head.isidentifier() and "." in target and ((root / head).is_dir() or (root / f"{head}.py").is_file())


def _call(id_: str, target: str, component: dict[str, Any]) -> Found:
    try:
        signature = signature_of(target)
    except NotFoundError as error:
        yield f"{id_}::_target_", f"{target!r} does not exist: {error}", "error"
        return
    given = [name for name in component if name not in ids.COMPONENT_KEYS and name != "_debug_"]
    for name, message in argument_kinds(target, {name: component[name] for name in given}):
        yield f"{id_}::{name}", message, "error"
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


def _references(composition: Composition) -> Found:
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


def _macro(config: dict[str, Any], id_: str, value: str) -> Found:
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
    if target.startswith("_meta_") or not _is_disabled(ids.get_at(config, target)):
        return False
    if is_expression(value):
        return f"@{target}" in _listed(value)
    parent = id_.rpartition(ids.SEP)[0]
    return bool(parent) and isinstance(ids.get_at(config, parent), list)


def _is_disabled(content: Any) -> bool:
    if not ids.is_component(content):
        return False
    flag = content.get("_disabled_", False)
    # Any expression may come to true.
    return flag.strip().lower() == "true" or flag[:1] in ("$", "@") if isinstance(flag, str) else bool(flag)


def _listed(expression: str) -> set[str]:
    """References that stand as elements of a list in an expression."""
    try:
        tree = ast.parse(re.sub(r"@(\w+(?:::\w+)*)", lambda m: f"ref_('{m[1]}')", expression[1:].strip()), mode="eval")
    except SyntaxError:
        return set()
    lists = [n for n in ast.walk(tree) if isinstance(n, ast.List | ast.Tuple)]
    calls = [e for n in lists for e in n.elts if isinstance(e, ast.Call) and ast.unparse(e.func) == "ref_"]
    return {f"@{ast.literal_eval(c.args[0])}" for c in calls if isinstance(c.args[0], ast.Constant)}


def _expressions(composition: Composition) -> Found:
    names = imported_names(composition.config)
    for id_, value in ids.walk(composition.config):
        if is_expression(value):
            problem = expression_problem(value, id_, names)
            if problem:
                yield id_, problem, "error"


def _circles(composition: Composition) -> Found:
    for start in ("initialize", "run", "finalize"):
        circle = circle_from(composition.config, start)
        if circle:
            yield circle[0], f"the references form a circle: {' -> '.join(circle)}.", "error"


_CHECKS: tuple[Callable[[Composition], Found], ...] = (
    _missing_ids,
    _counts,
    _components,
    _references,
    _expressions,
    _circles,
    value_traps,
    misspelt_keys,
    unlinked_properties,
    patch_sizes,
    missing_elements,
)
_OF_SIZES: tuple[Callable[[Composition], Found], ...] = (_counts, value_traps, patch_sizes)
