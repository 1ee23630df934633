"""The inventory of a dataset that lists its cases: a datalist of MONAI's layout, or MSD's `dataset.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medseg.datasets.cases import channels_of
from medseg.datasets.datalist import as_entry, read_datalist, select_items
from medseg.datasets.findings import Finding
from medseg.datasets.inventory import CaseFiles, Inventory, Section, case_files, label_names
from medseg.errors import DataError
from medseg.volumes import volume_stem, volume_suffix
from medseg.volumes.names import in_label_folder, modality_of, parse_name

_SECTIONS: tuple[tuple[Section, str], ...] = (
    ("training", "training"),
    ("validation", "validation"),
    ("testing", "testing"),
    ("testing", "test"),
)


@dataclass(frozen=True, kw_only=True)
class ListedFolds:
    """Where a datalist puts each case.

    Attributes:
        places: Section and fold by case id.
        ids_sha256: As recorded, see `splits`.
    """

    places: Mapping[str, tuple[Section, int | None]]
    ids_sha256: Mapping[str, str]


def datalist_path(folder: Path, datalist: str | Path) -> Path:
    """The file, also looked for in the dataset's folder."""
    given = Path(datalist)
    return given if given.is_file() or not (folder / given).is_file() else folder / given


def lists_cases(file: Path) -> bool:
    """Whether a file lists cases. A damaged one counts as well.

    nnU-Net's `dataset.json` leaves the cases to the folders, or lists names that lack the files' `_0000`.
    """
    if not file.is_file():
        return False
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError):
        return True
    if not isinstance(content, dict) or not isinstance(content.get("training"), list):
        return False
    first = next(iter(_paths(as_entry(next(iter(content["training"]), None)).get("image"))), "")
    suffix = volume_suffix(first) or ""
    return not (file.parent / f"{first.removesuffix(suffix)}_0000{suffix}").is_file()


def inventory(folder: Path, file: Path, *, modalities: Sequence[str] | None = None) -> Inventory:
    """What the datalist names, and what is wrong with that.

    Raises:
        DataError: When the file is no datalist.
    """
    content = read_datalist(file)
    entries = [(section, as_entry(entry)) for section, key in _SECTIONS for entry in _list(content, key)]
    wanted = tuple(modalities or channels_of(content) or _named_modalities(entries))
    cases, findings = [], []
    for section, entry in entries:
        case, wrong = _case(section, entry, folder=folder, content=content, wanted=wanted)
        cases += [case] if case else []
        findings += wrong
    return Inventory(
        folder=folder,
        name=str(content.get("name") or folder.resolve().name),
        source=file,
        modalities=wanted,
        cases=tuple(cases),
        labels=label_names(content.get("labels")),
        label_convention=content.get("label_convention"),
        ids_sha256=_ids_sha256(content),
        findings=(*findings, *_strays(entries, folder)),
    )


def read_folds(file: Path) -> ListedFolds:
    """The sections and folds of a datalist, whatever it says of the files.

    Raises:
        DataError: When the file is no datalist.
    """
    content = read_datalist(file)
    places: dict[str, tuple[Section, int | None]] = {}
    for section, key in _SECTIONS:
        for entry in _list(content, key):
            told = as_entry(entry)
            places[_case_id(told)] = (section, _fold(told))
    return ListedFolds(places=places, ids_sha256=_ids_sha256(content))


def _ids_sha256(content: Mapping[str, Any]) -> dict[str, str]:
    split = content.get("split")
    recorded = split.get("ids_sha256") if isinstance(split, Mapping) else None
    return {str(name): str(digest) for name, digest in recorded.items()} if isinstance(recorded, Mapping) else {}


def _list(content: Mapping[str, Any], key: str) -> list[Any]:
    value = content.get(key)
    return value if isinstance(value, list) else []


def _paths(image: Any) -> list[str]:
    return [str(path) for path in image] if isinstance(image, list) else [str(image)] if image else []


def _case_id(entry: Mapping[str, Any]) -> str:
    first = Path(next(iter(_paths(entry.get("image"))), "?"))
    return str(entry.get("case_id") or parse_name(first).case_id or first.parent.name)


def _fold(entry: Mapping[str, Any]) -> int | None:
    fold = entry.get("fold")
    if fold is None or (isinstance(fold, int) and not isinstance(fold, bool)):
        return fold
    msg = f"{_case_id(entry)}: fold {fold!r} is no whole number. Mend the datalist."
    raise DataError(msg)


def _named_modalities(entries: Sequence[tuple[Section, Mapping[str, Any]]]) -> list[str]:
    """The modalities that the first entry's files are named by; a single nameless one is an image."""
    paths = _paths(entries[0][1].get("image")) if entries else []
    names = [name for path in paths if (name := modality_of(path))]
    return names or ["image"]


def _case(
    section: Section, entry: dict[str, Any], *, folder: Path, content: Mapping[str, Any], wanted: Sequence[str]
) -> tuple[CaseFiles | None, list[Finding]]:
    """The case of an entry, None when its images are not to be had; read just as training would."""
    case_id, told = _case_id(entry), {key: content[key] for key in ("modality", "channel_names") if key in content}
    label, findings = _label(section, entry, folder)
    scan = {key: value for key, value in entry.items() if key in ("image", "channels", "case_id")}
    try:
        (item,) = select_items({**told, "training": [scan]}, dataset_dir=folder, modalities=wanted, section="all")
    except DataError as error:
        missing = any(not (folder / path).is_file() for path in _paths(entry.get("image")))
        found = Finding(check="readable" if missing else "modality", case_id=case_id, message=str(error))
        return None, [found, *findings]
    images = [Path(path) for path in _paths(item["image"])] * (len(wanted) if "channels" in item else 1)
    case = case_files(
        case_id,
        dict(zip(wanted, images, strict=True)),
        label=label,
        patient=str(entry["patient"]) if entry.get("patient") is not None else None,
        section=section,
        fold=_fold(entry),
    )
    return replace(case, facts=_boxes(entry)), findings


def _boxes(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The boxes of a detection datalist, which stand in place of a label map."""
    return {key: entry[key] for key in ("box_ras_mm", "box_label") if key in entry}


def _label(section: Section, entry: Mapping[str, Any], folder: Path) -> tuple[Path | None, list[Finding]]:
    told = entry.get("label")
    if told and (folder / str(told)).is_file():
        return folder / str(told), []
    if not told and (section == "testing" or "box_ras_mm" in entry):
        return None, []
    message = f"its label {told} does not exist" if told else "the datalist names no label for it"
    return None, [Finding(check="image-without-label", case_id=_case_id(entry), message=message)]


def _strays(entries: Sequence[tuple[Section, Mapping[str, Any]]], folder: Path) -> list[Finding]:
    """Label maps without a case, and scans that the list leaves out, in folders such as `labelsTr` and `imagesTr`."""
    images = {(folder / path).resolve() for _, entry in entries for path in _paths(entry.get("image"))}
    labels = {(folder / str(entry["label"])).resolve() for _, entry in entries if entry.get("label")}
    label_folders = {path.parent for path in labels if in_label_folder(path)}
    image_folders = {path.parent for path in images if path.parent.name.lower().startswith("images")}
    all_labels = _volumes_in(label_folders)
    stems = {volume_stem(path) for path in all_labels}
    free = {volume_stem(path): path for path in all_labels - labels}
    listed = {_owner(path, stems) for path in images}
    paired, findings = set(), []
    for path in sorted(_volumes_in(image_folders) - images):
        owner = _owner(path, stems)
        if owner in free:
            paired.add(owner)
            message = f"{path.name} with its label {free[owner].name} is in no list"
            findings.append(Finding(check="unlisted", case_id=owner, message=message))
        elif path.parent.name.lower() != "imagests" and label_folders and owner not in listed:
            message = f"{path.parent.name}/{path.name} is in no list and has no label"
            findings.append(Finding(check="image-without-label", case_id=parse_name(path).case_id, message=message))
    for stem in sorted(set(free) - paired):
        message = f"{free[stem].parent.name}/{free[stem].name} belongs to no case"
        findings.append(Finding(check="orphan-label", case_id=parse_name(free[stem]).case_id, message=message))
    return findings


def _owner(path: Path, label_stems: set[str]) -> str:
    """The name that the scan's label map has: the scan's own, or that without nnU-Net's channel number."""
    stem = volume_stem(path)
    return stem if stem in label_stems else re.sub(r"_\d{4}$", "", stem)


def _volumes_in(folders: set[Path]) -> set[Path]:
    return {
        file
        for folder in folders
        if folder.is_dir()
        for file in folder.iterdir()
        if volume_suffix(file) and not file.name.startswith(".") and file.is_file()
    }
