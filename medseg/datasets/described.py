"""A user's own dataset: ten lines of `dataset.yaml` say which file is what. No code, no renaming."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medseg.datasets.cases import volumes_in
from medseg.datasets.findings import Finding
from medseg.datasets.inventory import CaseFiles, Inventory, case_files, label_names
from medseg.errors import DataError
from medseg.labels import get_convention
from medseg.volumes.names import canonical_modality, fits_modality

FILE = "dataset.yaml"
_KEYS = (
    "name",
    "images",
    "label",
    "labels",
    "label_convention",
    "patient",
    "exclude",
    "licence",
    "citation",
    "homepage",
)
_HOLES = ("case", "patient")
_WILD = {"*": "[^/]*", "**/": "(?:.*/)?"}


@dataclass(frozen=True, kw_only=True)
class Description:
    """The content of a `dataset.yaml`.

    Attributes:
        name: Of the dataset.
        images: Pattern of the image file of each modality, relative to the folder. `{case}` stands for the case id,
            `{patient}` for the patient's, `*` for anything, each within one name of the path; `**/` for any folders.
        label: Pattern of the label maps; None for a dataset without.
        labels: Meaning by value.
        label_convention: A name in `medseg.labels.CONVENTIONS`.
        patient: Pattern of case ids, as in `{patient}_visit*`.
        exclude: Case ids to leave out.
    """

    name: str
    images: Mapping[str, str]
    label: str | None = None
    labels: Mapping[int, str] | None = None
    label_convention: str | None = None
    patient: str | None = None
    exclude: tuple[str, ...] = ()


def read_description(file: Path) -> Description:
    """The checked content of a `dataset.yaml`.

    Raises:
        DataError: When it is not readable, or a key is unknown, missing or of the wrong kind.
        ConfigError: When no label convention has that name.
    """
    content = _read(file)
    _check_keys(content, file)
    images, label, patient = content["images"], content.get("label"), content.get("patient")
    labels, convention = label_names(content.get("labels")), content.get("label_convention")
    if content.get("labels") is not None and labels is None:
        msg = f"{file}: labels: no value is a whole number. Wanted a meaning for each value, such as 1: tumour."
        raise DataError(msg)
    if convention is not None:
        get_convention(str(convention), where=f"{file}: label_convention")
    return Description(
        name=str(content.get("name") or file.resolve().parent.name),
        images=_by_modality(images, file),
        label=label,
        labels=labels,
        label_convention=convention,
        patient=patient,
        exclude=tuple(str(case_id) for case_id in content.get("exclude") or ()),
    )


def inventory(
    folder: Path, told: Description, *, source: Path | None = None, modalities: Sequence[str] | None = None
) -> Inventory:
    """What a description's patterns match, and what is wrong with that.

    Args:
        folder: The dataset's folder.
        told: The description.
        source: The file that it was read from.
        modalities: Those wanted; None takes all that have a pattern.

    Raises:
        DataError: When a modality has no pattern, or no file matches any pattern of images.
    """
    where = source or folder
    wanted = _wanted(told, modalities, where=where)
    files = [path.relative_to(folder) for path in volumes_in(folder)]
    matched = {modality: _matches(told.images[modality], files) for modality in wanted}
    labels = _matches(told.label, files) if told.label else {}
    ids = dict.fromkeys(key for found in matched.values() for key in found)
    if not ids:
        pattern = told.images[wanted[0]]
        msg = f"{where}: none of {len(files)} volumes in {folder} matches {pattern!r}. Mend the pattern or the path."
        raise DataError(msg)
    _check_patient_pattern(told, ids, where=where)
    cases: list[CaseFiles] = []
    known = {case_id for case_id, _ in ids}
    findings = [
        Finding(check="absent", case_id=case_id, message=f"{where} excludes it, and no file matches it")
        for case_id in told.exclude
        if case_id not in known
    ]
    for key in sorted(set(ids) | set(labels)):
        if key[0] not in told.exclude:
            case, wrong = _case(key, matched, labels.get(key, []), told=told, folder=folder)
            cases += [case] if case else []
            findings += wrong
    return Inventory(
        folder=folder,
        name=told.name,
        source=source,
        modalities=wanted,
        cases=tuple(cases),
        labels=told.labels,
        label_convention=told.label_convention,
        findings=tuple(findings),
    )


def _check_patient_pattern(told: Description, ids: Iterable[tuple[str, str | None]], *, where: Path) -> None:
    """Refuse a pattern that groups nothing: every visit would be a patient of its own, and leak.

    Raises:
        DataError: When no case id matches it.
    """
    names = [case_id for case_id, patient in ids if patient is None]
    if told.patient and names and not any(_expression(told.patient).fullmatch(name) for name in names):
        msg = f"{where}: patient: {told.patient!r} matches no case id, such as {min(names)}. Mend the pattern."
        raise DataError(msg)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        reason = " ".join(str(error).split())
        msg = f"{file}: not readable YAML ({reason[:160]}). Mend it."
        raise DataError(msg) from error
    if not isinstance(content, dict):
        msg = f'{file}: no "key: value" lines. Wanted at least images.'
        raise DataError(msg)
    return content


def _check_keys(content: Mapping[str, Any], file: Path) -> None:
    for key in content:
        if key not in _KEYS:
            near = difflib.get_close_matches(str(key), _KEYS, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(_KEYS)}."
            msg = f"{file}: unknown key {key!r}. {hint}"
            raise DataError(msg)
    images, patient = content.get("images"), content.get("patient")
    if not isinstance(images, Mapping) or not images:
        msg = (
            f'{file}: "images" is missing. Wanted a pattern for each modality, as in t1: "{{case}}/{{case}}_t1.nii.gz".'
        )
        raise DataError(msg)
    for modality, pattern in images.items():
        _check_file_pattern(pattern, where=f"{file}: images: {modality}")
    if content.get("label") is not None:
        _check_file_pattern(content["label"], where=f"{file}: label")
    if patient is not None and "{patient}" not in str(patient):
        msg = f'{file}: patient: {patient!r} lacks {{patient}}. Wanted a pattern of case ids, such as "{{patient}}_v*".'
        raise DataError(msg)

    exclude, name = content.get("exclude"), content.get("name")
    if exclude is not None and not isinstance(exclude, list):
        msg = f"{file}: exclude: {exclude!r} is no list. Wanted case ids, such as [{exclude}]."
        raise DataError(msg)
    if isinstance(name, (list, Mapping)):
        msg = f"{file}: name: {name!r} is no text. Wanted a name, such as our_gliomas."
        raise DataError(msg)


def _by_modality(images: Mapping[Any, Any], file: Path) -> dict[str, str]:
    patterns: dict[str, str] = {}
    for name, pattern in images.items():
        modality = canonical_modality(str(name))
        if modality in patterns:
            msg = f"{file}: images: {name} is {modality}, which has a pattern already. Keep one of them."
            raise DataError(msg)
        patterns[modality] = str(pattern)
    return patterns


def _wanted(told: Description, modalities: Sequence[str] | None, *, where: Path) -> tuple[str, ...]:
    if (
        modalities
        and len(modalities) == len(told.images) == 1
        and fits_modality(next(iter(told.images)), modalities[0])
    ):
        return tuple(told.images)
    missing = [name for name in modalities or () if name not in told.images]
    if missing:
        msg = f"{where}: no pattern for {', '.join(missing)}; it has {', '.join(told.images)}. Add one under images."
        raise DataError(msg)
    return tuple(modalities or told.images)


def _check_file_pattern(pattern: Any, *, where: str) -> None:
    if not isinstance(pattern, str) or "{case}" not in pattern:
        msg = f'{where}: {pattern!r} lacks {{case}}. Wanted a path such as "{{case}}/{{case}}_t1.nii.gz".'
        raise DataError(msg)
    strange = [hole for hole in re.findall(r"\{([^}]*)\}", pattern) if hole not in _HOLES]
    if strange:
        msg = f"{where}: {pattern!r} has {{{strange[0]}}}. Wanted only {{case}}, {{patient}} and *."
        raise DataError(msg)
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        msg = f"{where}: {pattern!r} leaves the dataset's folder. Wanted a path relative to it."
        raise DataError(msg)


def _expression(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern; a hole that comes again must hold the same text."""
    parts, seen = [], set()
    for text in re.split(r"(\{\w+\}|\*\*/|\*)", pattern):
        hole = text[1:-1]
        if text in _WILD:
            parts.append(_WILD[text])
        elif text.startswith("{") and hole in _HOLES:
            parts.append(f"(?P={hole})" if hole in seen else f"(?P<{hole}>[^/]+)")
            seen.add(hole)
        else:
            parts.append(re.escape(text))
    return re.compile("".join(parts))


def _matches(pattern: str, files: Iterable[Path]) -> dict[tuple[str, str | None], list[Path]]:
    """The files that a pattern matches, by case id and patient."""
    expression = _expression(pattern.removeprefix("./"))
    found: dict[tuple[str, str | None], list[Path]] = {}
    for path in files:
        if match := expression.fullmatch(path.as_posix()):
            patient, case_id = match.groupdict().get("patient"), match["case"]
            # Visits may be called alike for every patient: then both names make the id.
            named = patient is None or re.match(re.escape(patient) + r"(?![A-Za-z0-9])", case_id)
            whole = case_id if named else f"{patient}_{case_id}"
            found.setdefault((whole, patient), []).append(path)
    return found


def _case(
    key: tuple[str, str | None],
    matched: Mapping[str, Mapping[tuple[str, str | None], list[Path]]],
    labels: Sequence[Path],
    *,
    told: Description,
    folder: Path,
) -> tuple[CaseFiles | None, list[Finding]]:
    case_id, patient = key
    images = {modality: found.get(key, []) for modality, found in matched.items()}
    if not any(images.values()):
        message = f"{', '.join(str(path) for path in labels)} belongs to no case"
        return None, [Finding(check="orphan-label", case_id=case_id, message=message)]
    findings = []
    for modality, paths in images.items():
        if len(paths) != 1:
            names = ", ".join(str(path) for path in paths)
            message = f"{len(paths)} files are {modality}: {names}" if paths else f"no file {told.images[modality]}"
            findings.append(Finding(check="modality", case_id=case_id, message=message))
    if told.label and len(labels) != 1:
        message = f"{len(labels)} label maps match {told.label}" if labels else f"no label map {told.label}"
        findings.append(Finding(check="image-without-label", case_id=case_id, message=message))
    if patient is None and told.patient and (match := _expression(told.patient).fullmatch(case_id)):
        patient = match["patient"]
    chosen = {modality: folder / paths[0] for modality, paths in images.items() if len(paths) == 1}
    label = folder / labels[0] if len(labels) == 1 else None
    return (case_files(case_id, chosen, label=label, patient=patient) if chosen else None), findings
