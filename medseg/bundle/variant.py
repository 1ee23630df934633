"""A variant of a bundle: its files, with the values that other data asks for."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from medseg.bundle.compose import compose, config_file
from medseg.bundle.documents import read_document
from medseg.bundle.find import find_bundle, require_own_files
from medseg.bundle.freeze import fitting_metadata
from medseg.bundle.metadata_shapes import side_units
from medseg.bundle.plan_grid import choose_patch, resampled_shape, target_spacing
from medseg.datasets.box_fingerprint import BoxFingerprint
from medseg.datasets.fingerprint import Fingerprint
from medseg.errors import ConfigError
from medseg.labels import Declared, get_convention

_LEFT_BEHIND = shutil.ignore_patterns("models", "runs", "eval", "__pycache__", ".*")


def write_variant(root: Path, *, source: str, folder: Path, found: Fingerprint | BoxFingerprint) -> None:
    """Copies a bundle without its weights and fits it to a dataset.

    Args:
        root: The new bundle's folder.
        source: Name or path of the bundle.
        folder: The dataset's folder.
        found: The data's fingerprint; that with boxes for a detection.

    Raises:
        ConfigError: When the source does not exist, or finds other regions than the data has.
    """
    old = find_bundle(source)
    require_own_files(old)
    shutil.copytree(old, root, ignore=_LEFT_BEHIND, dirs_exist_ok=True)
    if (root / "large_files.yml").is_file():
        # The published weights belong to the source's classes, channels and anchors.
        (root / "large_files.yml").write_text("large_files: []\n", encoding="utf-8")
    values: dict[str, Any] = {"dataset_dir": str(folder), "output_dir": f"runs/{root.name}"}
    values |= _for_boxes(old, found) if isinstance(found, BoxFingerprint) else _fitted_values(old, found)
    _set_values(root, values)
    _rename(root, old.name)


def _fitted_values(old: Path, found: Fingerprint) -> dict[str, Any]:
    config = compose(old, "train").config
    missing = [key for key in ("spacing_mm", "roi_size", "modalities", "label_convention") if key not in config]
    if missing:
        msg = f"{old.name}: has no {', '.join(missing)} at the top level, so it cannot be fitted to other data."
        raise ConfigError(msg)
    spacing = target_spacing(found.spacing_mm, fine_spacing_mm=found.fine_spacing_mm, shape_vox=found.shape_vox)
    shape = resampled_shape(found.field_mm, spacing)
    units = side_units(read_document(old / "configs" / "metadata.json").content)
    most = math.prod(config["roi_size"])  # the network stays, and so does the memory that its patch takes
    roi = choose_patch(shape, spacing, units=lambda _: units, fits=lambda patch: math.prod(patch) <= most)
    values = {"spacing_mm": spacing, "roi_size": roi, "modalities": list(found.modalities)}
    return values | _labels(old, config["label_convention"], found)


def _for_boxes(old: Path, found: BoxFingerprint) -> dict[str, Any]:
    """Grid, windows and anchors for findings of these sizes.

    The grid is the source's, but no finer than the data. Anchors are half the median finding, and three quarters and
    four thirds of that, doubled from level to level by the bundle: so the middle level fits the median. Crops and
    windows are the source's, but no larger than a scan.
    """
    config = compose(old, "train").config
    wanted = ("spacing_mm", "roi_size", "window_size", "base_anchor_shapes", "annotations")
    missing = [key for key in wanted if key not in config]
    if missing:
        msg = f"{old.name}: has no {', '.join(missing)} at the top level, so it cannot be fitted to other data."
        raise ConfigError(msg)
    spacing = [round(max(a, b), 3) for a, b in zip(config["spacing_mm"], found.spacing_mm, strict=True)]
    shape = [n * a / b for n, a, b in zip(found.shape_vox, found.spacing_mm, spacing, strict=True)]
    units = side_units(read_document(old / "configs" / "metadata.json").content)
    half = np.median(found.sizes_mm, axis=0) / spacing / 2
    anchors = [[max(2, round(float(side) * factor)) for side in half] for factor in (0.75, 1.0, 4 / 3)]
    return {
        "annotations": found.annotations,
        "spacing_mm": spacing,
        "base_anchor_shapes": anchors,
        **{key: _within(config[key], shape, units) for key in ("roi_size", "window_size")},
    }


def _within(sides: Sequence[int], shape: Sequence[float], units: Sequence[int]) -> list[int]:
    """The sides, none longer than the scan in whole units."""
    longest = [max(1, -(-round(size) // unit)) * unit for size, unit in zip(shape, units, strict=True)]
    return [min(side, most) for side, most in zip(sides, longest, strict=True)]


def _labels(old: Path, convention: Declared, found: Fingerprint) -> dict[str, Any]:
    """The convention that stays, or a declared one that takes the data's labels."""
    has = get_convention(convention)
    if set(found.labels) <= set(has.values):
        return {}
    if isinstance(convention, Mapping):
        names = {re.sub(r"\W+", "_", name.lower()): value for value, name in found.labels.items()}
        return {"label_convention": names, "regions": list(names)}
    stray = sorted(set(found.labels) - set(has.values))
    msg = (
        f"{found.name}: the data has label values {stray}, {old.name} knows {sorted(has.values)} ({convention}). "
        f"Leave --from out to get a bundle for these labels."
    )
    raise ConfigError(msg)


def _set_values(root: Path, values: Mapping[str, Any]) -> None:
    """Sets top-level keys where the files have them, on one line, with the comment that stood there."""
    for key, value in values.items():
        for name in ("common", "train", "inference"):
            path = config_file(root, name)
            text = path.read_text(encoding="utf-8") if path is not None else ""
            line = re.search(rf"^{key}:[^\n#]*(?P<comment>#[^\n]*)?$(\n[ -][^\n]*)*", text, re.M)
            if path is None or line is None:
                continue
            shown = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
            comment = f"  {line['comment']}" if line["comment"] else ""
            new = f"{key}: {shown.removesuffix(chr(10)).removesuffix(chr(10) + '...')}{comment}"
            path.write_text(text[: line.start()] + new + text[line.end() :], encoding="utf-8")
            break


def _rename(root: Path, old_name: str) -> None:
    """Gives metadata and model card the new name, and says what they came from."""
    path = root / "configs" / "metadata.json"
    metadata = fitting_metadata(read_document(path).content, [compose(root, "inference")])
    change = f"a variant of {old_name} {metadata.get('version', '')}, made by medseg bundle new".replace("  ", " ")
    metadata |= {"name": root.name.replace("_", " "), "version": "0.1.0", "changelog": {"0.1.0": change}}
    path.write_text(json.dumps(metadata, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    card = root / "docs" / "README.md"
    if card.is_file():
        text = card.read_text(encoding="utf-8").replace(old_name, root.name)
        card.write_text(
            f"{text}\n## Where it comes from\n\nA variant of `{old_name}`, for other data.\n", encoding="utf-8"
        )
