"""Files that were published with a checksum, and MedMNIST's arrays: are they what their authors gave out?"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.datasets.findings import Finding
from medseg.datasets.registry import DATASETS
from medseg.datasets.shelf import checksum_of, read_record, shelf_of
from medseg.datasets.specs import DatasetSpec

_SPLITS = ("train", "val", "test")  # MedMNIST's names: train_images, train_labels and so on


def spec_of(folder: Path) -> DatasetSpec | None:
    """The spec of a folder that `medseg data get` made or was given, as its record says; None for any other."""
    own = DATASETS.get(str(read_record(folder).get("name")))
    if own:
        return own
    # A folder that was given stays where it is; its record lies in the dataset's place.
    place = folder.resolve()
    given = {name: read_record(shelf_of(name)).get("folder") for name in DATASETS}
    return next((DATASETS[name] for name, other in given.items() if other and Path(other).resolve() == place), None)


def check_published(folder: Path) -> list[Finding]:
    """Files in a folder that are called like a published one, but hold other bytes."""
    findings: list[Finding] = []
    if (folder / "phantom.json").is_file():
        return findings  # made up in LUNA16's layout, with an annotations.csv of its own
    for spec in DATASETS.values():
        for file in spec.files:
            path = folder / file.name
            if not file.checksum or not path.is_file():
                continue
            algorithm, wanted = file.checksum.split(":", 1)
            got = checksum_of(path, algorithm)
            if got != wanted:
                message = f"{file.name} has {algorithm} {got}; {spec.name} was published with {wanted}"
                findings.append(Finding(check="checksum", message=message))
    return findings


def array_files(folder: Path) -> list[Path]:
    """The MedMNIST files of a folder."""
    return sorted(path for path in folder.glob("*.npz") if path.is_file())


def check_arrays(path: Path) -> tuple[int, list[Finding]]:
    """The number of scans in a file of MedMNIST, and what is wrong with its arrays."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        message = f"{path.name}: not a readable array file ({' '.join(str(error).split())[:120]})"
        return 0, [Finding(check="readable", message=message)]
    missing = [name for split in _SPLITS for name in (f"{split}_images", f"{split}_labels") if name not in content]
    if missing:
        message = f"{path.name}: no {', '.join(missing)}; it has {', '.join(content) or 'nothing'}"
        return 0, [Finding(check="readable", message=message)]
    findings = [found for split in _SPLITS for found in _check_split(path.name, split, content)]
    return sum(len(content[f"{split}_images"]) for split in _SPLITS), findings


def _check_split(file: str, split: str, content: dict[str, npt.NDArray[Any]]) -> list[Finding]:
    images, labels = content[f"{split}_images"], content[f"{split}_labels"]
    findings = []
    if len(images) != len(labels):
        message = f"{file}: {len(images)} {split} images, {len(labels)} labels"
        findings.append(Finding(check="image-without-label", message=message))
    bad = np.size(images) - np.count_nonzero(np.isfinite(images)) if images.dtype.kind in "fc" else 0
    if bad:
        findings.append(
            Finding(check="not-finite", message=f"{file}: {split} images have {bad} NaN or infinite voxels")
        )
    return findings
