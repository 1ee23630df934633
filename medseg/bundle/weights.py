"""Which weights file a prediction uses."""

from __future__ import annotations

from pathlib import Path

from medseg.bundle import ids
from medseg.bundle.compose import CONFIG
from medseg.bundle.documents import read_document
from medseg.errors import WeightsError

# safetensors first: it holds numbers only, so loading it can run nothing.
_SHIPPED = ("model.safetensors", "model.pt")
_OF_RUN = ("model.safetensors", "model.pt", "checkpoints/best.pt", "checkpoints/last.pt")


def find_weights(bundle_root: Path, weights: Path | None) -> Path:
    """The weights file: the one given, that of a run folder, or the bundle's own.

    Raises:
        WeightsError: When there is none; says how to get one.
    """
    if weights is None:
        return _shipped(bundle_root)
    path = weights.expanduser()
    if path.is_file():
        return path.resolve()
    if not path.is_dir():
        msg = f"{weights}: no such file. --weights takes a weights file or a run folder."
        raise WeightsError(msg)
    for name in _OF_RUN:
        if (path / name).is_file():
            return (path / name).resolve()
    msg = f"{weights}: the run folder has no model.pt yet. Let the run validate once, or give a file."
    raise WeightsError(msg)


def ships_weights(bundle_root: Path) -> bool:
    """Whether the bundle has weights of its own."""
    return any((bundle_root / "models" / name).is_file() for name in _SHIPPED)


def run_of(weights: Path | None) -> Path | None:
    """The training run that the weights lie in, if they do."""
    path = weights.expanduser().resolve() if weights is not None else None
    for folder in (path, *path.parents[:2]) if path is not None else ():
        if (folder / CONFIG).is_file() and ids.contains(read_document(folder / CONFIG).content, "train::trainer"):
            return folder
    return None


def _shipped(bundle_root: Path) -> Path:
    for name in _SHIPPED:
        if (bundle_root / "models" / name).is_file():
            return bundle_root / "models" / name
    advice = f"Train them (medseg train {bundle_root.name}) and give --weights RUN"
    listed = _listed(bundle_root)
    if listed:
        advice += f", or download {listed[0]} to a file and give that"
    msg = f"{bundle_root.name}: the bundle ships no weights. {advice}."
    raise WeightsError(msg)


def _listed(bundle_root: Path) -> list[str]:
    path = bundle_root / "large_files.yml"
    entries = read_document(path).content.get("large_files", []) if path.is_file() else []
    return [str(entry.get("url")) for entry in entries if isinstance(entry, dict)]
