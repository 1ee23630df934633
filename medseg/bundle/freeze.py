"""A bundle written out for MONAI's consumers: one JSON file per workflow, weights as `models/model.pt`."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medseg.bundle.check import require_clean
from medseg.bundle.compose import LAYERS, Composition, compose, config_file
from medseg.bundle.documents import read_document
from medseg.bundle.find import find_bundle, require_own_files
from medseg.bundle.frozen import frozen_config
from medseg.bundle.weights import find_weights, run_of, ships_weights
from medseg.errors import ConfigError, DataError

# The folder of a bundle as the MONAI Bundle Specification has it; code, runs and caches are no part of it.
_KEPT = ("LICENSE", "large_files.yml", "docs", "configs/logging.conf")
# The oldest moment that a zip file can hold: equal content gives equal bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def freeze(
    bundle: str | os.PathLike[str],
    output: Path,
    *,
    weights: Path | None = None,
    overrides: Sequence[str] = (),
) -> Path:
    """Writes the frozen bundle to a folder, or to a zip file when the name ends in `.zip`.

    Args:
        bundle: Name or path.
        output: The folder, whose name is the bundle's for every consumer, or the zip file. Neither may exist.
        weights: A weights file or a run, which brings its network and modalities; the bundle's own, if any, when None.
        overrides: `KEY=VALUE` tokens, for the workflows that have the key.

    Returns:
        What was written.

    Raises:
        MedsegError: When the bundle is not clean, or the output is there or cannot be written.
    """
    root = find_bundle(bundle)
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        msg = f"{output}: exists already. Remove it, or give another place with -o."
        raise ConfigError(msg)
    require_own_files(root)
    compositions = _compositions(root, weights=weights, overrides=overrides)
    as_zip = output.suffix == ".zip"
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".freeze-") as place:
            folder = Path(place) / (root.name if as_zip else output.name)
            _write(folder, root, compositions, weights=weights)
            if as_zip:
                write_zip(folder, Path(place) / output.name)
            (Path(place) / output.name).replace(output)
    except OSError as error:
        msg = f"{output}: could not be written ({error.strerror or error}). Choose another place with -o."
        raise DataError(msg) from error
    return output


def _compositions(root: Path, *, weights: Path | None, overrides: Sequence[str]) -> list[Composition]:
    """The composed workflows that the bundle has, each checked."""
    workflows = [workflow for workflow in LAYERS if config_file(root, workflow) is not None]
    failures: dict[str, ConfigError] = {}
    found = []
    for workflow in workflows:
        composition = compose(root, workflow, run=run_of(weights))
        for token in overrides:
            try:
                composition = composition.with_token(token)
            except ConfigError as error:
                # Another workflow may have the key.
                failures.setdefault(f"{workflow} {token}", error)
        require_clean(composition)
        found.append(composition)
    for token in overrides:
        refused = [failures[key] for workflow in workflows if (key := f"{workflow} {token}") in failures]
        if len(refused) == len(workflows):
            raise refused[0]
    return found


def _write(folder: Path, root: Path, compositions: Sequence[Composition], *, weights: Path | None) -> None:
    (folder / "configs").mkdir(parents=True)
    for name in _KEPT:
        source, target = root / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        elif source.is_file():
            shutil.copyfile(source, target)
    metadata = read_document(root / "configs" / "metadata.json").content
    _write_json(folder / "configs" / "metadata.json", fitting_metadata(metadata, compositions))
    for composition in compositions:
        _write_json(folder / "configs" / f"{composition.workflow}.json", frozen_config(composition))
    if weights is not None or ships_weights(root):
        from medseg.engines.weights import save_plain

        (folder / "models").mkdir()
        save_plain(find_weights(root, weights), folder / "models" / "model.pt")


def fitting_metadata(metadata: dict[str, Any], compositions: Sequence[Composition]) -> dict[str, Any]:
    """The metadata with the input channels of the composed modalities, where a run or an override chose others."""
    modalities = next((c.config.get("modalities") for c in compositions), None)
    image = metadata.get("network_data_format", {}).get("inputs", {}).get("image", {})
    if not isinstance(modalities, list) or image.get("num_channels") == len(modalities):
        return metadata
    changed: dict[str, Any] = json.loads(json.dumps(metadata))
    channels = {str(number): str(name) for number, name in enumerate(modalities)}
    changed["network_data_format"]["inputs"]["image"] |= {"num_channels": len(modalities), "channel_def": channels}
    return changed


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_zip(folder: Path, path: Path, *, below: bool = True) -> None:
    """Packs a folder in an order, and without times, owners and modes, so that equal files give equal bytes.

    Args:
        folder: The folder.
        path: The zip file.
        below: Whether its content lies below the folder's name in the zip.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = (Path(folder.name if below else "") / file.relative_to(folder)).as_posix()
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.compress_type, info.external_attr, info.create_system = zipfile.ZIP_DEFLATED, 0o644 << 16, 3
            archive.writestr(info, file.read_bytes(), compresslevel=6)
