"""A bundle's files, presets and overrides laid over one another into one plain config."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from medseg.bundle import ids
from medseg.bundle.documents import Document, read_document
from medseg.bundle.find import find_bundle, find_preset
from medseg.bundle.override_files import PLANS, is_override_file, spread
from medseg.bundle.overrides import apply_override, extend, parse_override
from medseg.errors import ConfigError
from medseg.record import write_text_atomically

# The file that a workflow cannot do without comes last before its overlays.
LAYERS: dict[str, tuple[str, ...]] = {
    "train": ("common", "train"),
    "inference": ("common", "inference"),
    "evaluate": ("common", "inference", "evaluate"),
}
_CONTRACT = """
bundle_root dataset_dir datalist fold output_dir ckpt_path device amp seed epochs val_interval batch_size num_workers
cache_dir roi_size samples_per_epoch learning_rate modalities label_convention handlers tta runtime max_memory_mb
network_def
"""
CONTRACT_KEYS = frozenset(_CONTRACT.split())
# The loader is the one part below the top level that a distributed run must reach.
_LOADER_IDS = ("train::dataloader", "train::sampler")
_ADDED = "+train::handlers"  # and the handlers, which it may add to
# The resolved config in a run folder, and what in it says where it ran rather than what was learnt.
CONFIG = "config.yaml"
_OF_THE_PLACE = frozenset(
    ["bundle_root", "output_dir", "ckpt_path", "device", "dataset_dir", "datalist", "fold", "num_workers"]
)
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, kw_only=True)
class Composition:
    """One resolved config.

    Attributes:
        bundle_root: The bundle's folder.
        workflow: `train`, `inference` or `evaluate`.
        config: The plain config, as MONAI's ConfigParser takes it.
        sources: The file that set each top-level or overlaid id.
    """

    bundle_root: Path
    workflow: str
    config: dict[str, Any]
    sources: dict[str, Document] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.bundle_root.name

    def with_values(self, values: Mapping[str, Any]) -> Composition:
        """A copy in which the ids have these values.

        Raises:
            ConfigError: When the config lacks one of the ids.
        """
        config = copy.deepcopy(self.config)
        for id_, value in values.items():
            if not ids.contains(config, id_):
                msg = f"{self.name}: the {self.workflow} config has no key {id_!r}, which medseg must set. Add it."
                raise ConfigError(msg)
            ids.set_at(config, id_, value)
        return replace(self, config=config)

    def with_token(self, token: str) -> Composition:
        """A copy with one `KEY=VALUE` token applied.

        Raises:
            ConfigError: For an unknown key or a value of the wrong kind.
        """
        copied = replace(self, config=copy.deepcopy(self.config), sources=dict(self.sources))
        apply_token(copied, token)
        return copied

    def where(self, id_: str) -> str:
        """File, line and id of a value, for a message."""
        parts = ids.normalize(id_).split(ids.SEP)
        for length in range(len(parts), 0, -1):
            source = self.sources.get(ids.SEP.join(parts[:length]))
            if source is not None:
                return f"{_place(source, id_, self.bundle_root)}: {id_}"
        return f"override: {id_}" if self.sources else id_

    def write(self, path: Path) -> str:
        """Writes the config as YAML that stock MONAI reads alike; returns the file's sha256.

        Raises:
            DataError: When it cannot be written.
        """
        text = to_yaml(self.config)
        write_text_atomically(path, text)
        return hashlib.sha256(text.encode()).hexdigest()


def compose(
    bundle: str | os.PathLike[str],
    workflow: str,
    *,
    presets: Sequence[str] = (),
    overrides: Sequence[str] = (),
    run: Path | None = None,
    documents: Sequence[Document] | None = None,
) -> Composition:
    """The config of a bundle's workflow with a run's model, presets and overrides laid over it, in this order.

    Args:
        bundle: Name or path of the bundle.
        workflow: `train`, `inference` or `evaluate`.
        presets: Names or paths of presets.
        overrides: `KEY=VALUE` tokens, and `@FILE` for a file of them, by path or by its name in the bundle's plans.
        run: Folder of a training run of this bundle, whose network, modalities and other shared values count.
        documents: The bundle's files, when they have been read already.

    Raises:
        ConfigError: For a bundle, preset, file, key or value that cannot be.
    """
    root = find_bundle(bundle, whole=documents is None)
    composition = Composition(bundle_root=root, workflow=workflow, config={})
    read = bundle_documents(composition.bundle_root, workflow) if documents is None else documents
    for document in read:
        _lay(composition, document)
    if run is not None:
        _lay_run(composition, read_document(run / CONFIG))
    for preset in presets:
        _lay_preset(composition, read_document(find_preset(preset)))
    for token in _spread(composition, overrides):
        apply_token(composition, token)
    return composition


def _spread(composition: Composition, tokens: Sequence[str]) -> list[str]:
    """The tokens of files (`@FILE`) and the others."""
    if not any(map(is_override_file, tokens)):
        return list(tokens)
    names = {name for layers in LAYERS.values() for name in layers}
    everywhere = {key for name in names for key in _top_keys(composition.bundle_root, name)}
    plans = composition.bundle_root / PLANS
    return spread(tokens, keys=composition.config.keys(), elsewhere=everywhere, plans=plans)


def apply_token(composition: Composition, token: str) -> None:
    """Applies one `KEY=VALUE` token in place."""
    override = parse_override(token)
    apply_override(composition.config, override)
    if not override.extend:
        _forget(composition, override.id_)


def bundle_documents(root: Path, workflow: str, *, strict: bool = True) -> list[Document]:
    """The files that make up a workflow of the bundle.

    Args:
        root: The bundle's folder.
        workflow: `train`, `inference` or `evaluate`.
        strict: As in `read_document`.

    Raises:
        ConfigError: When the workflow's own file is missing, or one cannot be read.
    """
    found = [(name, config_file(root, name)) for name in LAYERS[workflow]]
    for name, path in found:
        if path is None and name in ("train", "inference"):
            msg = f"{root.name}: the bundle has no configs/{name}.yaml, so it cannot {workflow}."
            raise ConfigError(msg)
    return [read_document(path, strict=strict) for _, path in found if path is not None]


def config_file(root: Path, name: str) -> Path | None:
    """The bundle's config file of that name, whatever its suffix."""
    return next((p for s in _SUFFIXES if (p := root / "configs" / f"{name}{s}").is_file()), None)


def to_yaml(config: Mapping[str, Any]) -> str:
    """The config as YAML in the order of its keys."""
    return yaml.dump(dict(config), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """Repeats a value that stands twice, since aliases make a config hard to read."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _lay(composition: Composition, document: Document) -> None:
    """Lays one of the bundle's files over the config, as monai's load_config_files does."""
    for key, value in document.content.items():
        _set(composition, str(key), copy.deepcopy(value), document)


def _set(composition: Composition, key: str, value: Any, document: Document) -> None:
    id_ = ids.normalize(key.removeprefix("+"))
    known = ids.contains(composition.config, id_)
    try:
        if key.startswith("+"):
            first = len(ids.get_at(composition.config, id_)) if isinstance(value, list) and known else 0
            extend(composition.config, id_, value, where=str(document.path))
            composition.sources.update(_added(document, key, id_, first=first) if known else {id_: document})
        else:
            ids.set_at(composition.config, id_, value)
            _forget(composition, id_)
            composition.sources[id_] = document
    except KeyError:
        line = document.lines.get(key)
        where = f"{document.path}:{line}" if line else str(document.path)
        msg = f"{where}: {key!r} has no parent in the files before it."
        raise ConfigError(msg) from None


def _added(document: Document, key: str, id_: str, *, first: int) -> dict[str, Document]:
    """Where each element of a `+key` came from: the file, its lines under the ids that the elements have now."""
    content = document.content[key]
    names = (
        {str(n): str(first + n) for n in range(len(content))} if isinstance(content, list) else {n: n for n in content}
    )
    found: dict[str, Document] = {}
    for old, new in names.items():
        here, there = f"{key}{ids.SEP}{old}", f"{id_}{ids.SEP}{new}"
        lines = {
            there + known.removeprefix(here): line
            for known, line in document.lines.items()
            if known == here or known.startswith(here + ids.SEP)
        }
        found[there] = replace(document, lines=lines)
    return found


def _lay_run(composition: Composition, document: Document) -> None:
    """Lays what common.yaml shares between training and prediction over the config, as the run had it."""
    if Path(str(document.content.get("bundle_root", ""))).name != composition.bundle_root.name:
        return
    common, *others = (
        _top_keys(composition.bundle_root, name) for name in ("common", "train", *LAYERS["evaluate"][1:])
    )
    for key in sorted(common.difference(_OF_THE_PLACE, *others) & document.content.keys()):
        _set(composition, key, copy.deepcopy(document.content[key]), document)


def _top_keys(root: Path, name: str) -> set[str]:
    """Top-level keys that a file of the bundle sets or reaches into."""
    path = config_file(root, name)
    keys = read_document(path).content if path is not None else ()
    return {ids.normalize(str(key).removeprefix("+")).partition(ids.SEP)[0] for key in keys}


def _lay_preset(composition: Composition, document: Document) -> None:
    for key, value in document.content.items():
        id_ = ids.normalize(str(key).removeprefix("+"))
        if id_ not in CONTRACT_KEYS and not id_.startswith(_LOADER_IDS) and str(key) != _ADDED:
            line = document.lines.get(str(key))
            where = f"{document.path}:{line}" if line else str(document.path)
            allowed = ", ".join([*sorted(CONTRACT_KEYS), *_LOADER_IDS, _ADDED])
            msg = f"{where}: a preset may not touch {id_!r}, only {allowed}. Set it in the bundle or as an override."
            raise ConfigError(msg)
        # A preset lies over any workflow of any bundle; what that one does not have, it does not need.
        if ids.contains(composition.config, id_):
            _set(composition, str(key), copy.deepcopy(value), document)


def _forget(composition: Composition, id_: str) -> None:
    """Drops what was known about where the id and what lies below it came from."""
    for known in list(composition.sources):
        if known == id_ or known.startswith(id_ + ids.SEP):
            del composition.sources[known]


def _place(document: Document, id_: str, root: Path) -> str:
    path = document.path
    shown = path.relative_to(root) if path.is_relative_to(root) else path
    parts = id_.split(ids.SEP)
    lines = {ids.normalize(key): line for key, line in document.lines.items()}
    for length in range(len(parts), 0, -1):
        for prefix in ("", "+"):
            line = lines.get(prefix + ids.SEP.join(parts[:length]))
            if line is not None:
                return f"{shown}:{line}"
    return str(shown)
