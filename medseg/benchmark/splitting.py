"""Who trains, who chooses the weights and who is tested on, for each fold: three lists that never meet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.benchmark.suite import Suite
from medseg.datasets.datalist import case_id_of, read_datalist
from medseg.datasets.layouts import take_inventory
from medseg.datasets.listed import datalist_path
from medseg.datasets.patients import patient_of
from medseg.datasets.splits import datalist_of, ids_sha256, split_cases
from medseg.datasets.training import datalist_for
from medseg.errors import ConfigError

Entry = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class FoldLists:
    """One fold of a benchmark.

    Attributes:
        fold: Its number.
        training: Datalist entries that are learnt from.
        selection: Entries that weights are chosen by.
        test: Entries that are predicted and scored once, at the end.
        told: What else the datalist says: modalities, labels.
    """

    fold: int
    training: tuple[Entry, ...]
    selection: tuple[Entry, ...]
    test: tuple[Entry, ...]
    told: Mapping[str, Any]

    def ids(self, name: str) -> list[str]:
        """Sorted ids of `training`, `selection` or `test`."""
        return sorted(case_id_of(entry) for entry in getattr(self, name))

    def hashes(self) -> dict[str, dict[str, Any]]:
        """Number and sha256 of the ids of each list."""
        lists = {name: self.ids(name) for name in ("training", "selection", "test")}
        return {name: {"n": len(ids), "ids_sha256": ids_sha256(ids)} for name, ids in lists.items()}

    def datalist(self) -> dict[str, Any]:
        """What a training is given: no case of the test is in it."""
        return {**self.told, "training": list(self.training), "validation": list(self.selection)}


def folds_of(suite: Suite, dataset_dir: Path, *, modalities: Sequence[str]) -> list[FoldLists]:
    """The lists of every fold that the suite tests on.

    Raises:
        ConfigError: When a fold is not there, nothing is left to train on, or a test case would choose weights.
        DataError: When the dataset or its datalist cannot be read.
    """
    content = _content(suite, dataset_dir, modalities=modalities)
    entries = [dict(entry) for entry in content["training"]]
    known = sorted({int(entry["fold"]) for entry in entries if "fold" in entry})
    if suite.fold_count is not None and len(known) != suite.fold_count:
        msg = f"{suite.source}: folds: count: {suite.fold_count}, but the dataset has {len(known)} folds of its own. "
        msg += "Leave count out to take these."
        raise ConfigError(msg)
    wanted = suite.folds if suite.folds is not None else tuple(known)
    for fold in wanted:
        if fold not in known:
            msg = f"{suite.source}: folds: run: there is no fold {fold}. The dataset has {', '.join(map(str, known))}."
            raise ConfigError(msg)
    told = {key: content[key] for key in ("name", "modality", "labels", "label_convention") if content.get(key)}
    lists = [_fold(suite, entries, known, fold, told) for fold in wanted]
    for one in lists:
        check_apart(one, where=str(suite.source))
    return lists


def check_apart(lists: FoldLists, *, where: str) -> None:
    """Refuse a fold in which a tested case, or a tested patient, would train or choose weights.

    Raises:
        ConfigError: With the first such case.
    """
    tested = {case_id_of(entry) for entry in lists.test}
    patients = {_patient(entry) for entry in lists.test}
    for name in ("selection", "training"):
        for entry in getattr(lists, name):
            if case_id_of(entry) in tested or _patient(entry) in patients:
                verb = "choose the weights" if name == "selection" else "train"
                msg = f"{where}: fold {lists.fold}: case {case_id_of(entry)} is tested on and would {verb}. "
                msg += "A benchmark never selects on its test cases; take it out of one of the lists."
                raise ConfigError(msg)
    both = set(lists.ids("selection")) & set(lists.ids("training"))
    if both:
        msg = (
            f"{where}: fold {lists.fold}: case {min(both)} would both train and choose the weights. Take it out of one."
        )
        raise ConfigError(msg)


def check_unseen(test: Iterable[str], seen: Mapping[str, Sequence[str]], *, where: str) -> None:
    """Refuse weights that learnt from a tested case or were chosen by one.

    Raises:
        ConfigError: With the first such case.
    """
    tested = set(test)
    for name, ids in seen.items():
        known = sorted(tested & set(ids))
        if known:
            msg = f"{where}: case {known[0]} and {len(known) - 1} others of the test are in the {name} list of these "
            msg += "weights. Test on cases that they have not seen."
            raise ConfigError(msg)


def _content(suite: Suite, folder: Path, *, modalities: Sequence[str]) -> dict[str, Any]:
    datalist = suite.dataset.get("datalist")
    if datalist is not None and (suite.source.parent / str(datalist)).is_file():
        datalist = suite.source.parent / str(datalist)
    if suite.task == "segmentation":
        return datalist_for(folder, datalist, modalities=modalities, folds=suite.fold_count, seed=suite.fold_seed)
    file = datalist_path(folder, datalist) if datalist is not None else folder / "datalist.json"
    if file.is_file():
        return read_datalist(file)
    taken = take_inventory(folder)
    return datalist_of(taken, split_cases(taken, folds=suite.fold_count, seed=suite.fold_seed))


def _fold(suite: Suite, entries: list[Entry], known: list[int], fold: int, told: Mapping[str, Any]) -> FoldLists:
    test = [entry for entry in entries if entry.get("fold") == fold]
    others = [entry for entry in entries if entry.get("fold") != fold]
    chosen = _selected(suite, others, entries, known=known, fold=fold)
    ids = {case_id_of(entry) for entry in chosen}
    training = [entry for entry in others if case_id_of(entry) not in ids]
    if not training or not chosen:
        msg = f"{suite.source}: fold {fold}: {len(training)} cases to train on and {len(chosen)} to choose weights by. "
        msg += "Wanted one of each at least: more cases or folds, or another selection."
        raise ConfigError(msg)
    return FoldLists(
        fold=fold,
        training=_without_fold(training),
        selection=_without_fold(chosen),
        test=_without_fold(test),
        told=told,
    )


def _selected(suite: Suite, others: list[Entry], entries: list[Entry], *, known: list[int], fold: int) -> list[Entry]:
    if isinstance(suite.selection, tuple):
        by_id = {case_id_of(entry): entry for entry in entries}
        for case in suite.selection:
            if case not in by_id:
                msg = f"{suite.source}: selection: the dataset has no case {case!r}. Take it out, or mend its name."
                raise ConfigError(msg)
        return [by_id[case] for case in suite.selection]
    if isinstance(suite.selection, float):
        patients = sorted({_patient(entry) for entry in others}, key=lambda name: _draw(fold, name))
        taken = set(patients[: max(1, round(suite.selection * len(patients)))])
        return [entry for entry in others if _patient(entry) in taken]
    following = known[(known.index(fold) + 1) % len(known)]
    return [entry for entry in others if entry.get("fold") == following]


def _draw(fold: int, patient: str) -> str:
    return hashlib.sha256(f"selection:{fold}:{patient}".encode()).hexdigest()


def _patient(entry: Entry) -> str:
    return str(entry.get("patient") or patient_of(case_id_of(entry)))


def _without_fold(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(
        {**{key: value for key, value in e.items() if key != "fold"}, "case_id": case_id_of(e)} for e in entries
    )
