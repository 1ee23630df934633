"""Which prediction file belongs to which reference file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from medseg.errors import DataError
from medseg.volumes import VOLUME_SUFFIXES, volume_stem, volume_suffix
from medseg.volumes.names import ScanName, case_folder, in_file_folder, in_label_folder, parse_name, pick_label_maps


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Reference files and the predictions for them.

    Attributes:
        pairs: By case id, the reference and its prediction, None where there is none. Sorted by id.
        unmatched: By case id, predictions without a reference.
    """

    pairs: dict[str, tuple[Path, Path | None]]
    unmatched: dict[str, Path]


def match_files(predictions: Path, references: Path) -> Matches:
    """Pair prediction files with reference files by case id.

    Either side is a file, a folder of files, or a folder with a folder per case, at any depth. Where ids differ, files
    belong together that share a name which no other file of either side has: the file's own, with or without its
    modality, or that of its case's folder. Two single files belong together whatever they are called; a single
    prediction is compared with its own reference only.

    Raises:
        DataError: When a side holds no label map, two files of a side have one id, or no id is on both sides.
    """
    wanted, given = find_label_maps(references), find_label_maps(predictions)
    if references.is_file() and predictions.is_file():
        given = dict.fromkeys(wanted, predictions)
    partners = _partners(_names(wanted, references), _names(given, predictions))
    if not partners:
        msg = (
            f"{predictions}: none of its {len(given)} cases ({_some(given)}) is among the {len(wanted)} "
            f"of {references} ({_some(wanted)}). Name the files alike, or check --pred and --ref."
        )
        raise DataError(msg)
    if predictions.is_file():
        wanted = {name: wanted[name] for name in partners}
    unmatched = sorted(given.keys() - partners.values())
    return Matches(
        pairs={name: (wanted[name], given[partners[name]] if name in partners else None) for name in sorted(wanted)},
        unmatched={name: given[name] for name in unmatched},
    )


def find_label_maps(source: Path) -> dict[str, Path]:
    """The label maps of a file, a folder of files, or a folder with folders of cases, by case id.

    The id is the file's name without label words, as in `c7_seg`. Where nothing else is in the name, or it is the same
    in several folders, and for BraTS 2015 as distributed, the id is the name of the case's folder. Where volumes are
    named as label maps, only those count, so that scans may lie beside them.

    Raises:
        DataError: When nothing is there, or a case has more than one candidate.
    """
    if source.is_file():
        named = {source: parse_name(source)}
        return dict(_named_as_labels(named, flat=False) or [(volume_stem(source), source)])
    if not source.is_dir():
        msg = f"{source}: no such file or folder. Check the path."
        raise DataError(msg)
    maps = [
        labelled
        for folder, volumes in _case_folders(source).items()
        for labelled in _in_folder(folder, volumes, flat=volumes[0].parent == source or in_label_folder(volumes[0]))
    ]
    count = Counter(case for case, _ in maps)
    found: dict[str, Path] = {}
    for case, path in maps:
        name = case if count[case] == 1 or path.parent == source else case_folder(path).name
        if name in found:
            msg = f"{source}: case {name} has two label maps, {_apart(found[name], path)}. Keep one."
            raise DataError(msg)
        found[name] = path
    if not found:
        msg = f"{source}: no label maps here. Wanted files with {', '.join(VOLUME_SUFFIXES)}, or one folder per case."
        raise DataError(msg)
    return found


def _case_folders(source: Path) -> dict[Path, list[Path]]:
    """The volumes by case folder: those of the folder itself, else of the folders below, of label folders if any."""
    folders = list(_folders_with_volumes(source))
    if any(in_label_folder(volumes[0]) for volumes in folders):
        folders = [volumes for volumes in folders if in_label_folder(volumes[0])]
    found: dict[Path, list[Path]] = {}
    for volumes in folders:
        split = in_file_folder(volumes[0]) and volumes[0].parent != source
        found.setdefault(volumes[0].parent.parent if split else volumes[0].parent, []).extend(volumes)
    return found


def _folders_with_volumes(folder: Path) -> Iterator[list[Path]]:
    """The volumes of a folder, or of each first folder below it that has any."""
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    volumes = [path for path in visible if volume_suffix(path) and path.is_file()]
    if volumes:
        yield volumes
        return
    for path in visible:
        if path.is_dir():
            yield from _folders_with_volumes(path)


def _in_folder(folder: Path, volumes: list[Path], *, flat: bool) -> list[tuple[str, Path]]:
    """The label maps among the volumes of a folder with their case ids; at least one, and one for each id."""
    named = {path: parse_name(path) for path in volumes}
    chosen = _named_as_labels(named, flat=flat)
    cases = {case for case, _ in chosen}
    if flat:
        plain = [path for path, name in named.items() if name.kind == "image" and not _is_scan(path, name, cases)]
        return chosen + [(volume_stem(path), path) for path in plain]
    if not chosen and len(volumes) == 1:
        return [(case_folder(volumes[0]).name, volumes[0])]
    if len(chosen) != max(len(cases), 1):
        msg = (
            f"{folder}: wanted one label map, found {len(chosen)} among {_some(path.name for path in volumes)}. "
            f"Name it {folder.name}_seg.nii.gz and take others away."
        )
        raise DataError(msg)
    return chosen


def _named_as_labels(named: Mapping[Path, ScanName], *, flat: bool) -> list[tuple[str, Path]]:
    """The files whose names say label map; `tumor` in a name counts for the case unless a scan is called so too."""
    scans = {name.case_id for name in named.values() if name.kind == "image"}
    by_case: dict[str, list[tuple[ScanName, Path]]] = {}
    for path, name in named.items():
        if name.kind != "image":
            case = "" if in_file_folder(path) else name.case_id if name.case_id in scans else name.owner_id
            by_case.setdefault(case, []).append((name, path))
    chosen = []
    for case, maps in by_case.items():
        paths = pick_label_maps(maps)
        for path in paths:
            # seg_a.nii.gz beside seg_b.nii.gz: the folder cannot name both.
            nameless = volume_stem(path) if flat and len(paths) > 1 else case_folder(path).name
            chosen.append((case or nameless, path))
    return chosen


def _is_scan(path: Path, name: ScanName, cases: Container[str]) -> bool:
    """Whether a file without a label word is a scan of one of these labelled cases, as c7_t1 and c7_adc are of c7."""
    if (name.case_id or path.absolute().parent.name) in cases:
        return True
    stem = volume_stem(path)
    return any(stem[: match.start()] in cases for match in re.finditer(r"[_\-. ]", stem))


def _names(maps: Mapping[str, Path], source: Path) -> dict[str, str]:
    """The id of the only map for each name that a single map goes by."""
    goes_by = {}
    for case, path in maps.items():
        name = parse_name(path)
        folder = case_folder(path).name if path.parent != source else ""
        goes_by[case] = {case, volume_stem(path), name.case_id, name.owner_id, folder} - {""}
    count = Counter(name for names in goes_by.values() for name in names)
    return {name: case for case, names in goes_by.items() for name in names if count[name] == 1 or name == case}


def _partners(wanted: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """By id of a reference, the id of its prediction: the same one, else one with a name in common."""
    references, predictions = set(wanted.values()), set(given.values())
    found = {case: case for case in references & predictions}
    taken = set(found)
    for name in sorted(wanted.keys() & given.keys()):
        if wanted[name] not in found and given[name] not in taken:
            found[wanted[name]] = given[name]
            taken.add(given[name])
    return found


def _apart(first: Path, second: Path) -> str:
    return f"{first.name} and {second.name}" if first.name != second.name else f"{first} and {second}"


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")
