"""What is wrong with a bundle, found without importing or running anything of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from medseg.bundle import ids
from medseg.bundle.check_args import argument_files
from medseg.bundle.check_attributes import attributes
from medseg.bundle.check_augment import augmentations
from medseg.bundle.check_chains import chains
from medseg.bundle.check_channels import channel_counts
from medseg.bundle.check_components import components
from medseg.bundle.check_described import described
from medseg.bundle.check_detection import detection_networks
from medseg.bundle.check_handlers import handlers, unheard
from medseg.bundle.check_ids import counts, missing_ids
from medseg.bundle.check_item_keys import item_keys
from medseg.bundle.check_keys import hidden_keys, replaced_steps, unlinked_properties, unread_keys
from medseg.bundle.check_labels import conventions, label_names
from medseg.bundle.check_layers import layer_arguments
from medseg.bundle.check_logging import logging_problems
from medseg.bundle.check_options import unknown_options
from medseg.bundle.check_packages import required_packages
from medseg.bundle.check_patches import patch_sizes, shapes
from medseg.bundle.check_plans import laid_over, plan_files
from medseg.bundle.check_ranges import impossible_values
from medseg.bundle.check_references import circles, expressions, missing_elements, references
from medseg.bundle.check_run import run_lists
from medseg.bundle.check_sampling import label_sampling
from medseg.bundle.check_settings import settings
from medseg.bundle.check_splits import splits
from medseg.bundle.check_steps import steps
from medseg.bundle.check_traps import monai_traps
from medseg.bundle.check_values import document_traps, value_traps
from medseg.bundle.compose import LAYERS, Composition, compose, config_file
from medseg.bundle.documents import Document, read_document
from medseg.bundle.files import file_problems, unreadable
from medseg.bundle.find import find_bundle, find_preset, list_presets
from medseg.bundle.findings import Finding, Fix, Found
from medseg.errors import ConfigError

__all__ = ["Finding", "check_bundle", "check_composition", "require_clean"]


def check_bundle(bundle: str | Path, *, presets: Sequence[str] | None = None) -> list[Finding]:
    """Everything that is wrong with a bundle's files and the configs they make.

    Args:
        bundle: Name or path of the bundle.
        presets: Names or paths of presets to lay over it, besides its own. When None, all that a name can reach, of
            which only sizes, counts and the keys that they touch are looked at.

    Raises:
        ConfigError: When no bundle is there.
    """
    root = find_bundle(bundle, whole=False)
    findings = [*file_problems(root), *logging_problems(root)]
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
            layers = [documents[n] for n in _layers(root, workflow, documents)]
            findings += [*hidden_keys(layers, root), *replaced_steps(layers, root)]
    if len(documents) == sum(
        config_file(root, name) is not None for name in ("common", "train", "inference", "evaluate")
    ):
        findings += unread_keys(compositions)
        findings += _check_plans(root, compositions)
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
    for check in (channel_counts, label_names, shapes, described, required_packages):
        yield from check(composition, metadata)


def _check_plans(root: Path, compositions: Sequence[Composition]) -> Iterator[Finding]:
    """What the bundle's own plans break that the bundle alone does not."""
    for path in plan_files(root) if compositions else ():
        changed, findings = laid_over(compositions, path)
        yield from findings
        place = f"{path.relative_to(root)}:"
        for composition in changed:
            found = (*check_composition(composition), *conventions(composition))
            yield from (f for f in found if f.where.startswith(place))


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


_CHECKS: tuple[Callable[[Composition], Found], ...] = (
    missing_ids,
    counts,
    components,
    references,
    expressions,
    attributes,
    circles,
    value_traps,
    item_keys,
    unlinked_properties,
    patch_sizes,
    impossible_values,
    unknown_options,
    detection_networks,
    monai_traps,
    missing_elements,
    run_lists,
    splits,
    steps,
    handlers,
    unheard,
    layer_arguments,
    label_sampling,
    augmentations,
    settings,
    chains,
)
_OF_SIZES: tuple[Callable[[Composition], Found], ...] = (counts, value_traps, impossible_values, patch_sizes)
