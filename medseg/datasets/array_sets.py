"""MedMNIST's sets: all scans and classes in one `.npz`, with the official split in the names of its arrays."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from medseg.datasets.inventory import CaseFiles, Inventory, Section
from medseg.datasets.published import array_files
from medseg.errors import DataError

_SECTIONS: dict[str, Section] = {"train": "training", "val": "validation", "test": "testing"}


def is_array_set(folder: Path) -> bool:
    """Whether a folder holds a set of MedMNIST 3D, by the name of its file."""
    return any(folder.glob("*mnist3d*.npz"))


def inventory(folder: Path, *, name: str | None = None) -> Inventory:
    """A case for each scan: its file, its `index` in the arrays of its section, and its `class`.

    Raises:
        DataError: When the folder has no such file, several, or one that is damaged.
    """
    files = array_files(folder)
    if len(files) != 1:
        msg = f"{folder}: {len(files)} .npz files. Wanted one set of MedMNIST; name the folder that holds it."
        raise DataError(msg)
    cases = tuple(case for split, section in _SECTIONS.items() for case in _cases(files[0], split, section))
    return Inventory(folder=folder, name=name or files[0].stem, source=files[0], modalities=("image",), cases=cases)


def _cases(file: Path, split: str, section: Section) -> list[CaseFiles]:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            classes = arrays[f"{split}_labels"]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        msg = f"{file}: no readable {split}_labels ({' '.join(str(error).split())[:120]}). Get the file again."
        raise DataError(msg) from error
    width = len(str(len(classes)))
    return [
        _case(file, f"{split}_{index:0{width}d}", section, index, one) for index, one in enumerate(classes.tolist())
    ]


def _case(file: Path, case_id: str, section: Section, index: int, label: Any) -> CaseFiles:
    value = label[0] if isinstance(label, list) and len(label) == 1 else label
    facts = {"array": f"{case_id.split('_')[0]}_images", "index": index, "class": value}
    return CaseFiles(case_id=case_id, patient=case_id, images={"image": file}, section=section, facts=facts)
