"""Folds: those that exist, nnU-Net's rule where it is the field's, else dealt by patient. Written as a datalist."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medseg.datasets.datalist import with_folds
from medseg.datasets.inventory import CaseFiles, Inventory
from medseg.datasets.patients import patient_of
from medseg.errors import ConfigError, DataError
from medseg.record import write_text_atomically

Rule = Literal["listed", "lists", "splits_final", "nnunet", "patients"]

# nnunetv2/utilities/crossval_split.py: KFold(n_splits=5, shuffle=True, random_state=12345) over the sorted ids.
NNUNET_FOLDS = 5
_NNUNET_SEED = 12345
# The sets that it converts with their ids kept (Task082, Dataset137, Dataset220), and those whose ids get the grade's
# folder before them (Task032_BraTS_2018.py, Task043_BraTS_2019.py), which changes their order.
_NNUNET_SETS = ("brats2018", "brats2019", "brats2020", "brats2021", "kits23")
_GRADES = ("HGG", "LGG")
_SPLITS_FINAL = "splits_final.json"


@dataclass(frozen=True, kw_only=True)
class Split:
    """Folds and the rule they come from.

    Attributes:
        rule: "listed" (the dataset's own folds), "lists" (its own training and validation lists, no folds),
            "splits_final" (nnU-Net's file), "nnunet" (its rule) or "patients".
        fold_of: The fold that each training case validates in.
        seed: Of the dealing, None where nothing was dealt.
    """

    rule: Rule
    fold_of: Mapping[str, int]
    seed: int | None = None

    @property
    def folds(self) -> int:
        """How many folds there are."""
        return len(set(self.fold_of.values()))


def split_cases(
    inventory: Inventory, *, folds: int | None = None, seed: int | None = None, few_will_do: bool = False
) -> Split:
    """Folds for the training cases of a dataset.

    Without `folds` and `seed` the dataset's own split is taken where it has one: the folds of its datalist, its own
    validation list, or nnU-Net's `splits_final.json`. Datasets in the layout of MSD or nnU-Net with one scan for each
    patient get the five folds that nnU-Net would deal. Every other dataset is dealt by patient: five folds, seed 0.
    With `folds` or `seed`, cases of a validation list are dealt along with the others.

    Args:
        inventory: The dataset.
        folds: How many folds to deal, 2 or more.
        seed: Another seed gives other folds.
        few_will_do: Deal fewer folds where there are fewer patients.

    Raises:
        ConfigError: When there are fewer patients than folds.
        DataError: When the dataset's own folds are incomplete.
    """
    cases = [case for case in inventory.cases if case.section != "testing"]
    if folds is seed is None:
        own = _own_split(inventory, [case for case in cases if case.section == "training"])
        if own:
            return own
    patients = {case.patient for case in cases}
    wanted = min(folds or NNUNET_FOLDS, max(1, len(patients))) if few_will_do else folds or NNUNET_FOLDS
    if not few_will_do and not 2 <= wanted <= len(patients):
        most = len(patients)
        what = f"Give --folds 2 to {most}." if most > 1 else "Two patients are the least."
        msg = f"{wanted} folds cannot be dealt from {most} patient{'s' * (most != 1)}. {what}"
        raise ConfigError(msg)
    by_rule = folds is seed is None and is_nnunet_dataset(inventory)
    if by_rule and len(patients) == len(cases) and len(cases) >= NNUNET_FOLDS:
        return Split(rule="nnunet", fold_of=_by_nnunet(inventory, cases), seed=_NNUNET_SEED)
    return Split(rule="patients", fold_of=_by_patient(cases, wanted, seed or 0), seed=seed or 0)


def nnunet_folds(case_ids: Iterable[str], *, folds: int = NNUNET_FOLDS, seed: int = _NNUNET_SEED) -> dict[str, int]:
    """The fold of each case that nnU-Net deals: scikit-learn's shuffled KFold over the sorted ids, without it.

    Source: nnU-Net (Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z), `crossval_split.py`.

    >>> nnunet_folds(["c", "a", "b", "e", "d"])
    {'a': 0, 'b': 3, 'c': 4, 'd': 2, 'e': 1}
    """
    ids = sorted(case_ids)
    order = np.arange(len(ids))
    # scikit-learn draws from the legacy generator: only it gives the published folds.
    np.random.RandomState(seed).shuffle(order)
    fold_of = {ids[i]: fold for fold, part in enumerate(np.array_split(order, folds)) for i in part.tolist()}
    return dict(sorted(fold_of.items()))


def is_nnunet_dataset(inventory: Inventory) -> bool:
    """Whether nnU-Net's folds are the ones in use: its layout, MSD's, and the BraTS sets whose ids it keeps."""
    source = inventory.source
    return inventory.name in _NNUNET_SETS or (source is not None and source.name == "dataset.json")


def datalist_of(inventory: Inventory, split: Split) -> dict[str, Any]:
    """The datalist in the layout of MSD and MONAI, paths relative to the dataset's folder.

    A case of the validation list that was dealt a fold stands among the training cases.

    `split.ids_sha256` has the sha256 of the ids of each section and fold, see `ids_sha256`.

    Raises:
        DataError: When a case lacks a modality or its label, or a nodule its size.
    """
    refuse_lost_boxes(inventory)
    cases = [_placed(case, split.fold_of.get(case.case_id)) for case in inventory.cases]
    for case in cases:
        _check_complete(case, inventory)
    facts = {"rule": split.rule, "folds": split.folds, "seed": split.seed, "ids_sha256": _hashes(cases)}
    content: dict[str, Any] = {
        "name": inventory.name,
        "modality": {str(channel): name for channel, name in enumerate(inventory.modalities)},
        "labels": {str(value): name for value, name in (inventory.labels or {}).items()},
        "label_convention": inventory.label_convention,
        "split": facts,
    }
    content = {key: value for key, value in content.items() if value}
    for section in ("training", "validation", "testing"):
        listed = sorted((case for case in cases if case.section == section), key=lambda case: case.case_id)
        if listed or section == "training":
            content[section] = [_entry(case, inventory) for case in listed]
    return content


def refuse_lost_boxes(inventory: Inventory) -> None:
    """Refuses a dataset in which a finding has no box: left out, it would train as background.

    Raises:
        DataError: With the first such finding.
    """
    lost = [found.message for found in inventory.findings if found.check == "boxes"]
    if lost:
        msg = f"{inventory.source or inventory.folder}: {lost[0]} ({len(lost)} such; medseg data verify lists them.)"
        raise DataError(msg)


def write_datalist(file: Path, content: Mapping[str, Any], *, force: bool = False) -> None:
    """Write a datalist whole or not at all.

    Raises:
        DataError: When the file is there and `force` is not set, or the disk refuses.
    """
    if file.exists() and not force:
        msg = f"{file}: is there already. Name another file with -o, or replace it with --force."
        raise DataError(msg)
    write_text_atomically(file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def ids_sha256(case_ids: Iterable[str]) -> str:
    """Sha256 of the sorted ids, each followed by a line feed, in UTF-8: `sort ids.txt | sha256sum` in the C locale.

    >>> ids_sha256(["b", "a"])[:16]
    '911169ddaaf146af'
    """
    return hashlib.sha256("".join(f"{case_id}\n" for case_id in sorted(case_ids)).encode()).hexdigest()


def changed_ids(inventory: Inventory) -> list[str]:
    """The lists whose ids are not those whose sha256 the datalist records."""
    now = _hashes(inventory.cases)
    return [name for name, digest in inventory.ids_sha256.items() if now.get(name) != digest]


def _hashes(cases: Sequence[CaseFiles]) -> dict[str, str]:
    lists: dict[str, list[str]] = {}
    for case in cases:
        lists.setdefault(case.section, []).append(case.case_id)
        if case.fold is not None:
            lists.setdefault(f"fold {case.fold}", []).append(case.case_id)
    return {name: ids_sha256(ids) for name, ids in sorted(lists.items())}


def _placed(case: CaseFiles, fold: int | None) -> CaseFiles:
    return replace(case, fold=fold, section="training" if fold is not None else case.section)


def _own_split(inventory: Inventory, cases: Sequence[CaseFiles]) -> Split | None:
    file = inventory.folder / _SPLITS_FINAL
    if any(case.fold is not None for case in cases):
        return Split(rule="listed", fold_of={case.case_id: case.fold for case in cases if case.fold is not None})
    if cases and any(case.section == "validation" for case in inventory.cases):
        return Split(rule="lists", fold_of={})
    if not file.is_file():
        return None
    fold_of = _read_splits_final(file)
    missing = sorted({case.case_id for case in cases} - set(fold_of))
    if missing:
        msg = f"{file}: no fold validates {missing[0]} and {len(missing) - 1} others. Mend the file, or give --seed."
        raise DataError(msg)
    return Split(rule="splits_final", fold_of={case.case_id: fold_of[case.case_id] for case in cases})


def _read_splits_final(file: Path) -> dict[str, int]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {str(case_id): fold for fold, one in enumerate(content) for case_id in one["val"]}
    except (ValueError, OSError, KeyError, TypeError) as error:
        msg = f'{file}: no list of {{"train": [...], "val": [...]}} ({error}). Mend the file, or give --seed.'
        raise DataError(msg) from error


def _by_nnunet(inventory: Inventory, cases: Sequence[CaseFiles]) -> dict[str, int]:
    """nnU-Net's folds of the ids that it gives these cases."""
    named = {_nnunet_id(case): case.case_id for case in cases} if inventory.name in _NNUNET_SETS else {}
    if len(named) < len(cases):
        return nnunet_folds(case.case_id for case in cases)
    return {named[one]: fold for one, fold in nnunet_folds(named).items()}


def _nnunet_id(case: CaseFiles) -> str:
    """The id with the grade's folder before it, where the case lies in one: `HGG__Brats18_2013_10_1`."""
    grade = next((part for part in reversed(case.scans[0].parent.parts) if part in _GRADES), None)
    return f"{grade}__{case.case_id}" if grade else case.case_id


def _by_patient(cases: Sequence[CaseFiles], folds: int, seed: int) -> dict[str, int]:
    """Patients dealt by `with_folds`, which sees each as a case of its own."""
    patients = sorted({case.patient for case in cases})
    dealt = with_folds([{"case_id": patient, "image": patient} for patient in patients], folds=folds, seed=seed)
    fold_of = {entry["case_id"]: int(entry["fold"]) for entry in dealt}
    return {case.case_id: fold_of[case.patient] for case in cases}


def _check_complete(case: CaseFiles, inventory: Inventory) -> None:
    missing = [name for name in inventory.modalities if name not in case.images]
    if case.section != "testing" and not case.labelled:
        missing.append("label")
    if missing:
        msg = f"{inventory.folder}: case {case.case_id} has no {', '.join(missing)}. Run medseg data verify."
        raise DataError(msg)


def _entry(case: CaseFiles, inventory: Inventory) -> dict[str, Any]:
    scans = [_relative(path, inventory.folder) for path in case.scans]
    entry: dict[str, Any] = {"case_id": case.case_id, "image": scans[0] if len(scans) == 1 else scans}
    for key, path in (("label", case.label), ("readings", case.readings)):
        if path:
            entry[key] = _relative(path, inventory.folder)
    if case.masks:
        entry["masks"] = {name: _relative(path, inventory.folder) for name, path in case.masks.items()}
    entry.update(case.facts)
    if case.patient != patient_of(case.case_id):
        entry["patient"] = case.patient
    if case.fold is not None:
        entry["fold"] = case.fold
    return entry


def _relative(path: Path, folder: Path) -> str:
    path, folder = path.absolute(), folder.absolute()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
