"""Which prediction file belongs to which reference file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from medseg.errors import DataError
from medseg.volumes import VOLUME_SUFFIXES, volume_stem, volume_suffix

# Words at the end of a file's name that say "label map" and are no part of the case id.
LABEL_WORDS = frozenset(
    ("seg", "segmentation", "label", "labels", "mask", "pred", "prediction", "predictions", "gt", "ref", "reference")
)
_LAST_WORD = re.compile(r"^(?P<rest>.+)[-_. ](?P<word>[A-Za-z]+)$")


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Reference files and the predictions for them.

    Attributes:
        pairs: By case id, the reference and its prediction, None where there is none. Sorted by id.
        unmatched: By case id, predictions without a reference.
    """

    pairs: dict[str, tuple[Path, Path | None]]
    unmatched: dict[str, Path]


def case_id(path: Path) -> str:
    """The file name without volume suffix and label words.

    Example:
        >>> case_id(Path("out/BraTS-GLI-00005-000_seg_pred.nii.gz"))
        'BraTS-GLI-00005-000'
        >>> case_id(Path("labelsTr/hippocampus_001.nii.gz"))
        'hippocampus_001'
    """
    stem = volume_stem(path)
    while (match := _LAST_WORD.match(stem)) and match["word"].lower() in LABEL_WORDS:
        stem = match["rest"]
    return stem


def match_files(predictions: Path, references: Path) -> Matches:
    """Pair prediction files with reference files by case id.

    Either side is a file, a folder of files, or a folder with one folder per case. Two single files belong together
    whatever they are called; a single prediction is compared with its own reference only.

    Raises:
        DataError: When a side holds no label map, two files of a side have one id, or no id is on both sides.
    """
    wanted, given = find_label_maps(references), find_label_maps(predictions)
    if references.is_file() and predictions.is_file():
        given = dict.fromkeys(wanted, predictions)
    elif predictions.is_file():
        wanted = {name: path for name, path in wanted.items() if name in given} or wanted
    if not wanted.keys() & given.keys():
        msg = (
            f"{predictions}: none of its {len(given)} cases ({_some(given)}) is among the {len(wanted)} "
            f"of {references} ({_some(wanted)}). Name the files alike, or check --pred and --ref."
        )
        raise DataError(msg)
    return Matches(
        pairs={name: (wanted[name], given.get(name)) for name in sorted(wanted)},
        unmatched={name: given[name] for name in sorted(given.keys() - wanted.keys())},
    )


def find_label_maps(source: Path) -> dict[str, Path]:
    """The label maps of a file, a folder of files, or a folder with one folder per case, by case id.

    Where a case has several volumes, only those named as label maps count, so that scans may lie beside them.

    Raises:
        DataError: When nothing is there, or a case has more than one candidate.
    """
    if source.is_file():
        return {case_id(source): source}
    if not source.is_dir():
        msg = f"{source}: no such file or folder. Check the path."
        raise DataError(msg)
    found = _in_folder(source)
    if not found:
        found = _in_case_folders(source)
    if not found:
        msg = f"{source}: no label maps here. Wanted files with {', '.join(VOLUME_SUFFIXES)}, or one folder per case."
        raise DataError(msg)
    return found


def _volumes(folder: Path) -> list[Path]:
    files = (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    return [path for path in files if volume_suffix(path) and path.is_file()]


def _named_as_label(path: Path) -> bool:
    return case_id(path) != volume_stem(path)


def _in_folder(folder: Path) -> dict[str, Path]:
    volumes = _volumes(folder)
    labelled = {case_id(path) for path in volumes if _named_as_label(path)}
    found: dict[str, Path] = {}
    for path in volumes:
        name = case_id(path)
        if not _named_as_label(path) and any(_is_companion(name, case) for case in labelled):
            continue
        if name in found:
            msg = f"{folder}: case {name} has two label maps, {found[name].name} and {path.name}. Keep one."
            raise DataError(msg)
        found[name] = path
    return found


def _is_companion(name: str, case: str) -> bool:
    # case7_t1.nii.gz beside case7_seg.nii.gz is a scan of case7, no label map of a case of its own.
    return name.startswith(case) and name[len(case) : len(case) + 1] in ("_", "-", ".", " ")


def _in_case_folders(source: Path) -> dict[str, Path]:
    found = {}
    for folder in sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith(".")):
        volumes = _volumes(folder)
        candidates = [path for path in volumes if _named_as_label(path) or volume_stem(path).lower() in LABEL_WORDS]
        chosen = volumes if len(volumes) == 1 else candidates
        if volumes and len(chosen) != 1:
            msg = (
                f"{folder}: wanted one label map, found {len(chosen)} among {_some(path.name for path in volumes)}. "
                f"Name it {folder.name}_seg.nii.gz and take others away."
            )
            raise DataError(msg)
        if chosen:
            found[folder.name] = chosen[0]
    return found


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")
