"""Run folders: where a new one goes, and what an old one says about how to go on."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medseg import record
from medseg.bundle import ids
from medseg.bundle.compose import CONFIG, Composition, apply_token
from medseg.bundle.documents import read_document
from medseg.bundle.find import find_bundle, is_bundle
from medseg.bundle.overrides import parse_override
from medseg.errors import ConfigError

# Everything else decides what is learnt, and the rest of the run would not fit to its beginning.
_MAY_CHANGE = ("epochs", "device", "num_workers", "dataset_dir")
_OPTION = {"train": "--run-dir", "predict": "-o"}


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C during a run that can go on."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(str(run_dir))
        self.run_dir = run_dir


def rank() -> int:
    """The rank of this process; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def new_run_dir(name: str, run_dir: Path | None) -> Path:
    """The folder of a new run, made if this is the process that writes.

    Args:
        name: The bundle's name.
        run_dir: Where to; `runs/<name>/<timestamp>` when None.

    Raises:
        ConfigError: When the folder holds a run, or ranks could not agree on a timestamp.
    """
    if run_dir is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        msg = "--run-dir is missing. Processes under torchrun must be told the same folder."
        raise ConfigError(msg)
    folder = (Path("runs") / name / time.strftime("%Y%m%d-%H%M%S") if run_dir is None else Path(run_dir)).expanduser()
    if rank() == 0:
        # A run that failed before it learnt anything may be started again in its place.
        if any((folder / "checkpoints").glob("*")) or (folder / "metrics.csv").exists():
            msg = f"{folder}: holds a run already. Go on with --resume {folder}, or give another --run-dir."
            raise ConfigError(msg)
        claim_folder(folder, "train")
    return folder.resolve()


def claim_folder(folder: Path, verb: str) -> None:
    """Makes the folder of a run, or takes one over that an earlier run of the same verb left.

    Args:
        folder: The run folder.
        verb: `train` or `predict`.

    Raises:
        ConfigError: When a config.yaml or run.json there is anybody else's, or the folder cannot be made.
    """
    for path, verb_of in ((folder / CONFIG, _verb_of_config), (folder / record.FILE, _verb_of_record)):
        owner = verb_of(path) if path.is_file() else verb
        if owner != verb:
            who = f"medseg {owner} wrote it" if owner else "no medseg run wrote it"
            msg = f"{path}: would be written over, but {who}. Give another folder with {_OPTION[verb]}."
            raise ConfigError(msg)
    _make_folder(folder)


def _verb_of_config(path: Path) -> str | None:
    try:
        content = read_document(path).content
    except ConfigError:
        return None
    if "bundle_root" not in content:
        return None
    return "train" if ids.contains(content, "train::trainer") else "predict"


def _verb_of_record(path: Path) -> str | None:
    return record.read(path).get("verb")


def _make_folder(folder: Path) -> None:
    if "#" in str(folder.resolve()):
        msg = f"{folder}: MONAI turns every '#' of a path into '::'. Choose a folder without '#'."
        raise ConfigError(msg)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{folder}: the folder cannot be made ({error.strerror}). Choose another."
        raise ConfigError(msg) from error


def read_run(run: Path, *, overrides: Sequence[str] = (), bundle: str | None = None) -> Composition:
    """The config of a run, with the few changes that a resume allows.

    Args:
        run: The run folder.
        overrides: `KEY=VALUE` tokens.
        bundle: Name or path that the run must belong to, or that replaces a bundle that has moved.

    Raises:
        ConfigError: When the folder holds no run, or a change would make it another run.
    """
    path = run.expanduser() / CONFIG
    if not path.is_file():
        msg = f"{run}: holds no run, {CONFIG} is missing. Give the folder that `medseg train` printed."
        raise ConfigError(msg)
    document = read_document(path)
    root = _bundle_of(document.content, run, bundle)
    sources = dict.fromkeys(document.content, document)
    composition = Composition(bundle_root=root, workflow="train", config=document.content, sources=sources)
    for token in overrides:
        _apply_change(composition, token)
    return composition


def _bundle_of(config: dict[str, Any], run: Path, bundle: str | None) -> Path:
    recorded = Path(str(config.get("bundle_root", "")))
    root = find_bundle(bundle) if bundle else recorded if is_bundle(recorded) else find_bundle(recorded.name)
    if root.name != recorded.name:
        msg = f"{run}: the run belongs to the bundle {recorded.name!r}, not to {root.name!r}. Leave the bundle out."
        raise ConfigError(msg)
    return root


def _apply_change(composition: Composition, token: str) -> None:
    override = parse_override(token)
    known = ids.contains(composition.config, override.id_)
    old = ids.get_at(composition.config, override.id_) if known else None
    apply_token(composition, token)
    new = ids.get_at(composition.config, override.id_)
    if new == old:
        return
    if override.id_ not in _MAY_CHANGE:
        msg = (
            f"{override.id_}: a resumed run keeps its config ({old!r}); only {', '.join(_MAY_CHANGE)} may change. "
            f"Start a new run instead."
        )
        raise ConfigError(msg)
    if override.id_ == "epochs" and isinstance(old, int) and not (isinstance(new, int) and new > old):
        msg = f"epochs: {new!r} is below the run's {old}. A resumed run can only be made longer."
        raise ConfigError(msg)
