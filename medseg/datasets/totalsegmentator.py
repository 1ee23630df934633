"""TotalSegmentator's layout: a folder per subject with `ct.nii.gz` and a mask for each structure, and `meta.csv`.

`meta.csv` is separated by semicolons; its column `image_id` has the subject and `split` train, val or test.
Source: Wasserthal et al. 2023, https://doi.org/10.1148/ryai.230024, and Zenodo record 10047292.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from medseg.datasets.findings import Finding
from medseg.datasets.inventory import CaseFiles, Inventory, Section
from medseg.errors import DataError
from medseg.volumes import volume_stem, volume_suffix

MASKS = "segmentations"
META = "meta.csv"
_SECTIONS: dict[str, Section] = {"train": "training", "val": "validation", "test": "testing"}


def is_totalsegmentator(folder: Path) -> bool:
    """Whether subjects of TotalSegmentator lie in a folder, or one folder below."""
    return _root(folder) is not None


def inventory(folder: Path, *, name: str | None = None, modalities: Sequence[str] | None = None) -> Inventory:
    """The subjects, in the sections of `meta.csv`; without that file all are training cases.

    Args:
        folder: Holds the subjects, or one folder that does.
        name: Of the dataset; None takes the folder's.
        modalities: Its scans are CT: another modality is refused.

    Raises:
        DataError: When there is no subject, or `meta.csv` is not the one that is distributed.
    """
    root = _root(folder)
    if root is None:
        msg = f"{folder}: no subject of TotalSegmentator. Wanted s0000/ct.nii.gz beside s0000/{MASKS}."
        raise DataError(msg)
    if modalities and list(modalities) != ["ct"]:
        msg = f"{folder}: TotalSegmentator's scans are ct, not {', '.join(modalities)}. Leave the modalities out."
        raise DataError(msg)
    meta = root / META
    sections = read_sections(meta) if meta.is_file() else {}
    subjects = sorted(path.parent for path in root.glob(f"*/{MASKS}"))
    cases = tuple(_case(subject, sections.get(subject.name, "training")) for subject in subjects)
    return Inventory(
        folder=folder,
        name=name or folder.resolve().name,
        source=meta if meta.is_file() else None,
        modalities=("ct",),
        cases=tuple(case for case in cases if case.images),
        findings=tuple(_findings(cases, sections)),
    )


def read_sections(meta: Path) -> dict[str, Section]:
    """The official section of each subject.

    Raises:
        DataError: When the table cannot be read or lacks `image_id` or `split`.
    """
    try:
        with meta.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream, delimiter=";"))
        return {row["image_id"]: _SECTIONS[row["split"].strip().lower()] for row in rows}
    except (OSError, ValueError, KeyError, AttributeError, csv.Error) as error:
        msg = f"{meta}: no table with image_id and split (train, val, test), separated by semicolons ({error!r})."
        raise DataError(msg) from error


def _root(folder: Path) -> Path | None:
    """The folder that holds the subjects: this one, or the only one below that does."""
    for pattern in (f"*/{MASKS}", f"*/*/{MASKS}"):
        found = next((path for path in folder.glob(pattern) if path.is_dir()), None)
        if found:
            return found.parent.parent
    return None


def _case(subject: Path, section: Section) -> CaseFiles:
    scan = next((path for path in sorted(subject.glob("ct.nii*")) if volume_suffix(path)), None)
    files = [path for path in sorted((subject / MASKS).iterdir()) if volume_suffix(path) and path.name[0] != "."]
    masks = {volume_stem(path): path for path in files}
    images = {"ct": scan} if scan else {}
    return CaseFiles(case_id=subject.name, patient=subject.name, images=images, masks=masks, section=section)


def _findings(cases: Sequence[CaseFiles], sections: Mapping[str, Section]) -> list[Finding]:
    found = [("modality", case.case_id, "no ct.nii.gz") for case in cases if not case.images]
    found += [("image-without-label", case.case_id, f"no mask in {MASKS}") for case in cases if not case.masks]
    there = {case.case_id for case in cases}
    found += [("readable", name, f"{META} lists it, there is no such folder") for name in sections if name not in there]
    if sections:
        found += [("unlisted", name, f"{META} does not list it: training") for name in sorted(there - set(sections))]
    return [Finding(check=check, case_id=case_id, message=message) for check, case_id, message in found]
