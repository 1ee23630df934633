"""Cases found among files and folders: which files are one case, and which file is which modality."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from medseg.errors import DataError
from medseg.volumes import VOLUME_SUFFIXES, read_geometry, volume_stem, volume_suffix
from medseg.volumes.dicom_files import holds_series, is_dicom
from medseg.volumes.names import (
    ScanName,
    canonical_modality,
    case_folder,
    fits_modality,
    in_file_folder,
    in_label_folder,
    parse_name,
    pick_label_maps,
)

Item = dict[str, Any]


@dataclass
class _Case:
    case_id: str
    images: list[tuple[ScanName, Path]] = field(default_factory=list)
    labels: list[tuple[ScanName, Path]] = field(default_factory=list)


def find_cases(inputs: str | Path | Iterable[str | Path], *, modalities: Sequence[str]) -> list[Item]:
    """The cases in files, folders of files, folders with a folder per case, or folders of DICOM series.

    Args:
        inputs: Files and folders; folders are searched to any depth, hidden files left out. A folder in which DICOM
            files lie is one volume, called as the folder is.
        modalities: What the images of a case must be, in this order. With one modality, the only image of a case
            is taken for it whatever its name, unless the name says another.

    Returns:
        Items `{"case_id", "image": [path, ...]}` sorted by case id, with `"label"` where exactly one is known.
        A 4-D file gives `"image": path` and `"channels": [index, ...]`.
        Images that no modality fits are left out when the case has the wanted ones.

    Raises:
        DataError: When a path does not exist, no case is found, a case lacks a modality or has two files for it,
            or two cases have the same id.
    """
    paths = [Path(inputs)] if isinstance(inputs, (str, Path)) else [Path(path) for path in inputs]
    wanted = [canonical_modality(name) for name in modalities]
    files = [file for path in paths for file in scans_in(path)]
    items = [item for case in group_files(list(dict.fromkeys(files)), wanted) if (item := _item(case, wanted))]
    if not items:
        where, found = ", ".join(str(path) for path in paths), _names(files)
        msg = (
            f"{where}: no case with {', '.join(wanted)} found; the files are {found}. Wanted names like c7_{wanted[0]}."
        )
        raise DataError(msg)
    return check_unique(sorted(items, key=lambda item: str(item["case_id"])), where=str(paths[0]))


def check_unique(items: list[Item], *, where: str) -> list[Item]:
    """The items, refused when two have the same case id.

    Raises:
        DataError: With the id and both images.
    """
    seen: dict[str, Item] = {}
    for item in items:
        first = seen.setdefault(item["case_id"], item)
        if first is not item:
            msg = f"{where}: two cases are called {item['case_id']!r} ({_first(first)} and {_first(item)}). Rename one."
            raise DataError(msg)
    return items


def channel_names(folder: Path) -> list[str] | None:
    """Modalities by channel number from the `dataset.json` (MSD, nnU-Net) in a folder or its parent."""
    for place in (folder, folder.parent):
        file = place / "dataset.json"
        if file.is_file():
            return channels_of(_read_json(file, file.stat().st_mtime_ns))
    return None


def channels_of(description: dict[str, Any]) -> list[str] | None:
    """Canonical modalities by channel number, from `modality` (MSD, nnU-Net v1) or `channel_names` (nnU-Net v2).

    >>> channels_of({"modality": {"1": "T1w", "0": "FLAIR"}})
    ['flair', 't1']
    """
    names = description.get("modality", description.get("channel_names"))
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=int)]
    if not names:
        return None
    return [canonical_modality(str(name)) for name in ([names] if isinstance(names, str) else names)]


def pick_channels(names: Sequence[str], wanted: Sequence[str], *, where: str) -> list[int]:
    """The positions of the wanted modalities among the names.

    Raises:
        DataError: When one is missing.
    """
    if len(names) == len(wanted) == 1 and fits_modality(names[0], wanted[0]):
        return [0]
    missing = [name for name in wanted if name not in names]
    if missing:
        msg = (
            f"{where}: modality {', '.join(missing)} is missing; found {', '.join(names) or 'none'}. "
            f"Add the file, or set modalities to what the data has."
        )
        raise DataError(msg)
    return [list(names).index(name) for name in wanted]


def scans_in(path: Path) -> list[Path]:
    """The volumes below a folder, as `volumes_in` has them, and the folders of DICOM series.

    Raises:
        DataError: When nothing is there, or a folder below may not be read.
    """
    series = series_in(path) if path.is_dir() else []
    return sorted({*series, *volumes_in(path, may_be_empty=True)}) if series else volumes_in(path)


def series_in(folder: Path) -> list[Path]:
    """The folders at or below a folder in which DICOM files lie."""
    folders = {file.parent for file in _visible_files(folder) if not volume_suffix(file)}
    return sorted(place for place in folders if holds_series(place))


def volumes_in(path: Path, *, may_be_empty: bool = False) -> list[Path]:
    """The volumes below a folder at any depth, hidden ones left out; a file alone.

    Links to folders elsewhere are followed, those to places within the folder are not.

    Raises:
        DataError: When nothing is there, or a folder below may not be read: its cases would go missing in silence.
    """
    if path.is_dir():
        found = sorted(file for file in _visible_files(path) if volume_suffix(file) and file.is_file())
        if found or may_be_empty:
            return found
        msg = f"{path}: no case here: the folder has no {', '.join(VOLUME_SUFFIXES)} or DICOM file. Check the path."
        raise DataError(msg)
    if not path.is_file():
        msg = f"{path}: no such file or folder. Check the path."
        raise DataError(msg)
    if volume_suffix(path) is None:
        msg = f"{path}: not a volume that medseg knows. Wanted one of {', '.join(VOLUME_SUFFIXES)}, or a folder."
        if is_dicom(path):
            msg = f"{path}: one file of a DICOM series. Give the folder that holds the whole series."
        raise DataError(msg)
    return [path]


def _visible_files(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        msg = f"{error.filename}: not readable ({error.strerror}). Mend its rights, or move it out of {folder}."
        raise DataError(msg) from error

    whole = folder.resolve()
    seen: set[Path] = set()

    def leads_elsewhere(link: Path) -> bool:
        """Whether a link may be followed: once, out of the folder, and no further from there."""
        target = link.resolve()
        apart = not target.is_relative_to(whole) and not whole.is_relative_to(target)
        fresh = apart and target not in seen and link.parent.resolve().is_relative_to(whole)
        seen.add(target)
        return fresh

    for place, names, files in os.walk(folder, onerror=refuse, followlinks=True):
        below = [Path(place, name) for name in sorted(names) if not name.startswith(".")]
        names[:] = [path.name for path in below if not path.is_symlink() or leads_elsewhere(path)]
        yield from (Path(place, name) for name in files if not name.startswith("."))


def group_files(files: Sequence[Path], wanted: Sequence[str]) -> list[_Case]:
    """The files by case: by folder and the part of the name that is not modality or label. Predictions are left out."""
    named = [(name, file) for file in files if (name := name_in_place(file, wanted)).kind != "prediction"]
    # A file called t1.nii.gz alone makes its whole folder one case.
    whole = {case_folder(file) for name, file in named if not (name.case_id or in_label_folder(file))}
    cases: dict[tuple[Path, str], _Case] = {}
    for name, file in named:
        if name.kind == "image":
            place = _place(file, name.case_id, whole)
            cases.setdefault(place, _Case(place[1])).images.append((name, file))
    for name, file in named:
        if name.kind == "label":
            own, owner = (_place(file, case_id, whole) for case_id in (name.case_id, name.owner_id))
            case = cases.get(own) or cases.get(owner)
            if case:
                case.labels.append((name, file))
    return list(cases.values())


def name_in_place(file: Path, wanted: Sequence[str]) -> ScanName:
    """The parsed name, with nnU-Net's `_0000` channel numbers understood."""
    # A folder of DICOM files has no suffix: what follows the last dot of a UID belongs to its name.
    name = parse_name(file if volume_suffix(file) else f"{file.name}.nii.gz")
    if in_label_folder(file):
        return name if name.kind == "label" else ScanName(case_id=name.case_id, kind="label", owner_id=name.case_id)
    numbered = re.fullmatch(r"(.+)_(\d{4})", volume_stem(file))
    if name.kind != "image" or name.modality or not numbered:
        return name
    channels = channel_names(file.parent.resolve())
    if channels and int(numbered[2]) < len(channels):
        return ScanName(case_id=numbered[1], kind="image", modality=channels[int(numbered[2])])
    return ScanName(case_id=numbered[1], kind="image") if len(wanted) == 1 and numbered[2] == "0000" else name


def _place(file: Path, case_id: str, whole: set[Path]) -> tuple[Path, str]:
    """The folder and the id that make files one case."""
    folder = case_folder(file)
    return (folder.parent, folder.name) if in_file_folder(file) or folder in whole else (folder, case_id)


def _item(case: _Case, wanted: Sequence[str]) -> Item | None:
    """The item of a case, None when none of its images could be meant."""
    named = [(name.modality, name.exact, path) for name, path in case.images]
    if len(named) == 1 and (named[0][0] is None or len(wanted) == 1):
        image = _single_image(case, named[0][0], named[0][2], wanted)
        if image is None:
            return None
    elif all(modality is None for modality, _, _ in named):
        return None
    else:
        image = {"image": [str(path) for path in _one_each(case, named, wanted)]}
    label = _label(case)
    return {"case_id": case.case_id, **image, **({"label": str(label)} if label else {})}


def _single_image(case: _Case, modality: str | None, path: Path, wanted: Sequence[str]) -> Item | None:
    """The only image of a case: 4-D with named channels, or the one modality that is wanted."""
    shape, _ = read_geometry(path)
    if len(shape) == 4:
        names = channel_names(path.parent.resolve())
        if names is None or len(names) != shape[3]:
            msg = (
                f"case {case.case_id}: {path} has {shape[3]} channels and nothing names them. "
                f'Put a dataset.json with "modality": {{"0": "FLAIR", ...}} beside it.'
            )
            raise DataError(msg)
        return {"image": str(path), "channels": pick_channels(names, wanted, where=f"case {case.case_id}")}
    if len(wanted) > 1:
        return None
    if not fits_modality(modality, wanted[0]):
        pick_channels([modality or ""], wanted, where=_where(case))
    return {"image": [str(path)]}


def _one_each(case: _Case, named: Sequence[tuple[str | None, bool, Path]], wanted: Sequence[str]) -> list[Path]:
    """One file for each wanted modality; a name that ends in the modality wins over `..._t1_bias`."""
    found = list(dict.fromkeys(modality for modality, _, _ in named if modality))
    pick_channels(found, wanted, where=_where(case))
    chosen = []
    for modality in wanted:
        paths = [path for name, exact, path in named if name == modality and exact]
        paths = paths or [path for name, _, path in named if name == modality]
        if len(paths) > 1:
            msg = f"case {case.case_id}: {len(paths)} files are {modality}: {_names(paths)}. Keep one of them."
            raise DataError(msg)
        chosen.append(paths[0])
    return chosen


def _label(case: _Case) -> Path | None:
    paths = pick_label_maps(case.labels)
    return paths[0] if len(paths) == 1 else None


def _where(case: _Case) -> str:
    return f"case {case.case_id} ({_names([path for _, path in case.images])})"


def _names(paths: Sequence[Path]) -> str:
    shown = ", ".join(path.name for path in paths[:8])
    return shown + (f" and {len(paths) - 8} more" if len(paths) > 8 else "")


def _first(item: Item) -> str:
    image = item["image"]
    return str(image if isinstance(image, str) else image[0])


@lru_cache(maxsize=64)
def _read_json(path: Path, _changed_ns: int) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        msg = f"{path}: not readable JSON ({error}). Mend or remove it."
        raise DataError(msg) from error
    return content if isinstance(content, dict) else {}
