"""Which layout a dataset has: described by a file, listed in one, or told by its folders and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medseg.datasets import described, found, listed
from medseg.datasets.described import Description
from medseg.datasets.findings import Finding
from medseg.datasets.inventory import Inventory
from medseg.datasets.published import spec_of
from medseg.datasets.specs import DatasetSpec
from medseg.errors import DataError
from medseg.volumes.names import canonical_modality

# KiTS23 (https://github.com/neheller/kits23) and BTCV (https://www.synapse.org/Synapse:syn3193805), as distributed.
DESCRIBED_LAYOUTS = {
    "kits": Description(name="kits", images={"ct": "**/{case}/imaging.nii.gz"}, label="**/{case}/segmentation.nii.gz"),
    "btcv": Description(
        name="btcv", images={"ct": "**/Training/img/img{case}.nii.gz"}, label="**/Training/label/label{case}.nii.gz"
    ),
}


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
    spec = spec_of(folder) if datalist is None else None
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
        return _with_folds_of(taken, listed.inventory(folder, own, modalities=wanted)) if own.is_file() else taken
    for file in (own, folder / "dataset.json"):
        if listed.lists_cases(file):
            return listed.inventory(folder, file, modalities=wanted)
    return _by_spec(folder, spec, wanted) if spec else found.inventory(folder, modalities=wanted)


def _by_spec(folder: Path, spec: DatasetSpec, wanted: tuple[str, ...] | None) -> Inventory:
    """The inventory of a fetched dataset whose folder says little."""
    if spec.layout in DESCRIBED_LAYOUTS:
        return described.inventory(folder, replace(DESCRIBED_LAYOUTS[spec.layout], name=spec.name), modalities=wanted)
    if spec.layout in ("msd", "case_folders"):
        return replace(found.inventory(folder, modalities=wanted or spec.modalities or None), name=spec.name)
    msg = (
        f"{folder}: the layout of {spec.title} has no scans with one label map each; medseg cannot list its cases yet."
    )
    raise DataError(msg)


def _with_folds_of(taken: Inventory, listing: Inventory) -> Inventory:
    """The described cases in the sections and folds of the datalist; a case that it leaves out has no fold."""
    entries = {case.case_id: case for case in listing.cases}
    cases = tuple(
        replace(case, fold=entries[case.case_id].fold, section=entries[case.case_id].section)
        if case.case_id in entries
        else case
        for case in taken.cases
    )
    missing = set(entries) - {case.case_id for case in cases}
    gone = tuple(
        Finding(check="readable", case_id=case_id, message=f"{listing.source} lists it, {taken.source} finds no files")
        for case_id in sorted(missing)
    )
    findings = taken.findings + listing.findings + gone
    return replace(taken, cases=cases, ids_sha256=listing.ids_sha256, findings=findings)
