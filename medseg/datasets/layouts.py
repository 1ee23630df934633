"""Which layout a dataset has: described by a file, listed in one, or told by its folders and names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from medseg.datasets import array_sets, described, found, lidc, listed, luna16, totalsegmentator
from medseg.datasets.described import Description
from medseg.datasets.findings import Finding
from medseg.datasets.inventory import CaseFiles, Inventory
from medseg.datasets.published import spec_of
from medseg.datasets.specs import DatasetSpec, Layout
from medseg.errors import DataError
from medseg.volumes.names import canonical_modality

# KiTS23 (https://github.com/neheller/kits23) and BTCV (https://www.synapse.org/Synapse:syn3193805), as distributed.
DESCRIBED_LAYOUTS = {
    "kits": Description(name="kits", images={"ct": "**/{case}/imaging.nii.gz"}, label="**/{case}/segmentation.nii.gz"),
    "btcv": Description(
        name="btcv", images={"ct": "**/Training/img/img{case}.nii.gz"}, label="**/Training/label/label{case}.nii.gz"
    ),
}
# What a datalist says of these cases, a label map for each scan, is not what their files are: it only gives the folds.
_ONLY_BY_FILES = ("npz", "totalsegmentator", "lidc_xml", "luna16")
_BTCV_TESTING = Description(name="btcv", images={"ct": "**/Testing/img/img{case}.nii.gz"})


def take_inventory(
    folder: str | Path, *, datalist: str | Path | None = None, modalities: Sequence[str] | None = None
) -> Inventory:
    """List a dataset.

    Args:
        folder: The dataset's folder.
        datalist: A datalist to go by. None takes the folder's `dataset.yaml`, with the folds of its
            `datalist.json`; else its `datalist.json`; else MSD's `dataset.json`; else what its folders and names
            say: a folder per case, nnU-Net's `imagesTr`, BIDS.
        modalities: What the images of a case must be; None takes what is declared, else what most cases have.

    Raises:
        DataError: When the folder does not exist, has no case, or a describing file is not readable.
    """
    folder = Path(folder)
    if not folder.is_dir():
        msg = f"{folder}: no such folder. Check the path, or fetch the data first."
        raise DataError(msg)
    wanted = tuple(canonical_modality(name) for name in modalities) if modalities else None
    return _taken(folder, datalist, wanted, spec_of(folder) if datalist is None else None)


def cases_of(spec: DatasetSpec, folder: Path) -> tuple[CaseFiles, ...]:
    """The cases of a public dataset in a folder, in its official sections and folds where it has any.

    Raises:
        DataError: As `take_inventory`.
    """
    return _taken(folder, None, None, spec).cases


def _taken(
    folder: Path, datalist: str | Path | None, wanted: tuple[str, ...] | None, spec: DatasetSpec | None
) -> Inventory:
    taken = _take(folder, datalist, wanted, spec)
    if spec and taken.labels is None and taken.label_convention is None:
        return replace(taken, label_convention=spec.label_convention, labels=dict(spec.labels) or None)
    return taken


def _take(
    folder: Path, datalist: str | Path | None, wanted: tuple[str, ...] | None, spec: DatasetSpec | None
) -> Inventory:
    own = folder / "datalist.json"
    if datalist is not None:
        return listed.inventory(folder, listed.datalist_path(folder, datalist), modalities=wanted)
    file = folder / described.FILE
    if file.is_file():
        taken = described.inventory(folder, described.read_description(file), source=file, modalities=wanted)
        return _with_folds_of(taken, own) if own.is_file() else taken
    layout = spec.layout if spec else _told_by_its_files(folder)
    if layout not in _ONLY_BY_FILES:
        for file in (own, folder / "dataset.json"):
            if listed.lists_cases(file):
                return listed.inventory(folder, file, modalities=wanted)
    taken = _of_layout(layout, folder, wanted or ((spec.modalities or None) if spec else None))
    taken = replace(taken, name=spec.name) if spec else taken
    return _with_folds_of(taken, own) if own.is_file() else taken


def _told_by_its_files(folder: Path) -> Layout:
    """The layout of a folder that no file describes and nobody fetched."""
    if array_sets.is_array_set(folder):
        return "npz"
    if totalsegmentator.is_totalsegmentator(folder):
        return "totalsegmentator"
    if luna16.is_luna16(folder):
        return "luna16"
    return "lidc_xml" if lidc.is_lidc(folder) else "case_folders"


def _of_layout(layout: Layout, folder: Path, wanted: tuple[str, ...] | None) -> Inventory:
    """The inventory of a folder whose layout is known."""
    readers: dict[Layout, Callable[[], Inventory]] = {
        "npz": lambda: array_sets.inventory(folder),
        "lidc_xml": lambda: lidc.inventory(folder),
        "luna16": lambda: luna16.inventory(folder, modalities=wanted),
        "totalsegmentator": lambda: totalsegmentator.inventory(folder, modalities=wanted),
        "kits": lambda: described.inventory(folder, DESCRIBED_LAYOUTS["kits"], modalities=wanted),
        "btcv": lambda: _btcv(folder, wanted),
        "msd": lambda: found.inventory(folder, modalities=wanted),
        "case_folders": lambda: found.inventory(folder, modalities=wanted),
    }
    return readers[layout]()


def _btcv(folder: Path, wanted: tuple[str, ...] | None) -> Inventory:
    """The 30 training subjects, and those of the test set where they are there."""
    taken = described.inventory(folder, DESCRIBED_LAYOUTS["btcv"], modalities=wanted)
    if not any(folder.glob("**/Testing/img/img*.nii.gz")):
        return taken
    testing = described.inventory(folder, _BTCV_TESTING, modalities=wanted)
    return replace(taken, cases=(*taken.cases, *(replace(case, section="testing") for case in testing.cases)))


def _with_folds_of(taken: Inventory, file: Path) -> Inventory:
    """The cases in the sections and folds of a datalist; a case that it leaves out has no fold."""
    listing = listed.read_folds(file)
    cases = tuple(
        replace(case, section=listing.places[case.case_id][0], fold=listing.places[case.case_id][1])
        if case.case_id in listing.places
        else case
        for case in taken.cases
    )
    missing = set(listing.places) - {case.case_id for case in cases}
    message = f"{file} lists it, {taken.source or taken.folder} has no such case"
    gone = tuple(Finding(check="readable", case_id=case_id, message=message) for case_id in sorted(missing))
    return replace(taken, cases=cases, ids_sha256=listing.ids_sha256, findings=taken.findings + gone)
