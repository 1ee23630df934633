"""What the user has of a dataset already: its archives, its files, or a folder of scans."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from medseg.datasets.archive import is_archive
from medseg.datasets.cases import find_cases
from medseg.datasets.specs import DatasetSpec, FileSpec
from medseg.errors import DataError
from medseg.volumes import volume_suffix

# Nothing is published of an archive that only its owner hands out. Uncompressed .nii in it shrink up to twentyfold.
_UNKNOWN_GROWTH = 30.0
_CHECKED_LAYOUTS = ("case_folders", "kits", "btcv", "totalsegmentator", "lidc_xml")


@dataclass(frozen=True, kw_only=True)
class Given:
    """What was given.

    Attributes:
        scans: A folder of scans, used where it is.
        paths: Files of the dataset by the name that the spec has for them.
        files: The files that make the dataset, where the spec does not list them.
    """

    scans: Path | None = None
    paths: dict[str, Path] = field(default_factory=dict)
    files: tuple[FileSpec, ...] = ()


def read_given(spec: DatasetSpec, given: Path) -> Given:
    """What a path holds of a dataset.

    Raises:
        DataError: When it does not exist or holds nothing of it.
    """
    given = given.expanduser().absolute()
    if given.is_dir():
        return _read_folder(spec, given)
    if not given.is_file():
        msg = f"--from: {given} does not exist. Check the path."
        raise DataError(msg)
    named = [file for file in spec.files if file.name == given.name]
    handed_out = spec.access != "open"  # what its owners gave the user may be packed and called otherwise
    if named or (len(spec.files) == 1 and not handed_out):
        return Given(paths={(named or spec.files)[0].name: given})
    if handed_out and is_archive(given):
        return Given(paths={given.name: given}, files=(_unlisted(given),))
    wanted = ", ".join(file.name for file in spec.files[:4]) or "a zip or tar archive"
    msg = f"--from: {given.name} is not a file of {spec.name}. Wanted {wanted}, or a folder."
    raise DataError(msg)


def check_scans(spec: DatasetSpec, folder: Path) -> None:
    """Refuse a folder of something else.

    Raises:
        DataError: When it holds no case of the dataset; says what is missing.
    """
    if spec.layout == "case_folders":
        find_cases(folder, modalities=spec.modalities)
    elif not spec.cases(folder):
        msg = f"{folder}: no case of {spec.name}. Give the folder that holds its scans as they are distributed."
        raise DataError(msg)


def _read_folder(spec: DatasetSpec, folder: Path) -> Given:
    archives = {file.name: folder / file.name for file in spec.files if (folder / file.name).is_file()}
    if any(file.unpack for file in spec.files if file.name in archives) or _all_files(spec, archives):
        return Given(paths=archives)
    if spec.layout in _CHECKED_LAYOUTS:
        check_scans(spec, folder)
        return Given(scans=folder)
    if any(volume_suffix(path) or path.suffix == ".xml" for path in folder.rglob("*")):
        return Given(scans=folder)
    packed = [path for path in sorted(folder.iterdir()) if is_archive(path)]
    hint = f" Give the archive itself: --from {packed[0]}." if packed else " Give the folder that holds its scans."
    msg = f"--from: {folder} holds neither scans nor files of {spec.name}.{hint}"
    raise DataError(msg)


def _all_files(spec: DatasetSpec, found: dict[str, Path]) -> bool:
    return bool(found) and len(found) == len(spec.files)


def _unlisted(archive: Path) -> FileSpec:
    return FileSpec(name=archive.name, urls=(), unpack=True, max_growth=_UNKNOWN_GROWTH)
