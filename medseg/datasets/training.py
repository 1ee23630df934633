"""What a bundle trains on: the items of a dataset in any layout that medseg knows, in the folds that `split` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medseg.datasets import described, listed
from medseg.datasets.cases import Item, find_cases
from medseg.datasets.datalist import as_entry, case_id_of, read_datalist, select_items
from medseg.datasets.found import is_bids
from medseg.datasets.inventory import Inventory, case_files
from medseg.datasets.layouts import take_inventory
from medseg.datasets.published import spec_of
from medseg.datasets.splits import datalist_of, split_cases
from medseg.errors import DataError
from medseg.labels import Declared, get_convention
from medseg.volumes.names import canonical_modality


def training_items(
    *,
    dataset_dir: str | Path,
    modalities: Sequence[str],
    datalist: str | Path | None = None,
    fold: int = 0,
    section: str = "training",
    folds: int | None = None,
    seed: int | None = None,
    label_convention: Declared | None = None,
) -> list[Item]:
    """The items of one section of a dataset, as a bundle's config asks for them.

    Args:
        dataset_dir: The dataset's folder.
        modalities: Modalities in the order of the network's channels.
        datalist: A datalist file; None goes by what the folder has, see `datalist_for`.
        fold: The fold that validates.
        section: "training" (every other fold), "validation" (the fold) or "all".
        folds: Number of folds where the datalist has none; None takes the dataset's official ones, else five.
        seed: Seed of those folds; None takes the official ones, else seed 0.
        label_convention: What the bundle takes the labels for; refused when the datalist says another.

    Returns:
        Items `{"case_id", "image", "label", "fold"}` and, for a 4-D file, `"channels"`; every path exists.

    Raises:
        DataError: In each case where this cannot be had.
    """
    content = datalist_for(dataset_dir, datalist, modalities=modalities, folds=folds, seed=seed)
    where = str(datalist or dataset_dir)
    _check_convention(content.get("label_convention"), label_convention, where=where)
    items = select_items(content, dataset_dir=dataset_dir, modalities=modalities, fold=fold, section=section)
    for item in items:
        if "label" not in item:
            has = "a mask for each structure in place of one label map" if "masks" in item else "no label, or several"
            msg = f"{where}: case {item['case_id']} has {has}. Give it one label map, or drop the case."
            raise DataError(msg)
    return items


def datalist_for(
    dataset_dir: str | Path,
    datalist: str | Path | None = None,
    *,
    modalities: Sequence[str],
    folds: int | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """The datalist of a dataset, with a fold for each training case.

    Args:
        dataset_dir: The dataset's folder.
        datalist: A file, also looked for in `dataset_dir`; None takes the folder's `dataset.yaml` (with the folds of a
            `datalist.json` beside it), its `datalist.json`, the `dataset.json` of MSD, or else every labelled case
            that its folders and names tell: a folder per case, nnU-Net, BIDS, a dataset that was fetched.
        modalities: What the images of a case must be.
        folds: Number of folds dealt where nothing has any; None takes the official ones, else five.
        seed: Seed of the dealing. Visits of one patient stay in one fold.

    Raises:
        DataError: When the folder, the file or labelled cases are missing.
    """
    folder = Path(dataset_dir)
    if not folder.is_dir():
        msg = f"dataset_dir: {folder} is no folder. Check the path, or fetch the data first."
        raise DataError(msg)
    wanted = [canonical_modality(name) for name in modalities]
    file = listed.datalist_path(folder, datalist) if datalist is not None else _own_list(folder)
    spec = spec_of(folder)
    if file:
        content = read_datalist(file)
        if spec and not content.get("label_convention"):
            content["label_convention"] = spec.label_convention  # MSD's own list does not say what its labels mean
        return _with_folds(content, folder, file, folds=folds, seed=seed)
    described_by = folder / described.FILE
    own_validation = (folder / "imagesVa").is_dir()
    if described_by.is_file() or spec or own_validation or is_bids(folder):
        return _of_inventory(_inventory(folder, described_by, wanted), folds=folds, seed=seed)
    return _with_folds(_found(folder, wanted), folder, folder / "dataset.json", folds=folds, seed=seed)


def _own_list(folder: Path) -> Path | None:
    """The folder's own list of cases, unless a `dataset.yaml` stands above it."""
    if (folder / described.FILE).is_file():
        return None
    own = folder / "datalist.json"
    if own.is_file():
        return own
    return folder / "dataset.json" if listed.lists_cases(folder / "dataset.json") else None


def _with_folds(
    content: dict[str, Any], folder: Path, file: Path, *, folds: int | None, seed: int | None
) -> dict[str, Any]:
    """The content with folds, where it has none."""
    entries = [as_entry(entry) for entry in content["training"]]
    if any("fold" in entry for entry in entries):
        return content
    cases = tuple(case_files(case_id_of(entry), {}, patient=entry.get("patient")) for entry in entries)
    source = file if file.is_file() else None
    inventory = Inventory(folder=folder, name=folder.resolve().name, source=source, modalities=(), cases=cases)
    fold_of = split_cases(inventory, folds=folds, seed=seed, few_will_do=True).fold_of
    dealt = [{**entry, "fold": fold_of[case.case_id]} for entry, case in zip(entries, cases, strict=True)]
    return {**content, "training": dealt}


def _inventory(folder: Path, file: Path, wanted: Sequence[str]) -> Inventory:
    """The inventory with the wanted modalities; with all of them where they are the channels of one file."""
    patterns = described.read_description(file).images if file.is_file() else {}
    in_one_file = len(patterns) > 1 and len(set(patterns.values())) == 1
    return take_inventory(folder, modalities=None if in_one_file else wanted)


def _of_inventory(taken: Inventory, *, folds: int | None, seed: int | None) -> dict[str, Any]:
    cases = tuple(case for case in taken.cases if case.section != "testing" and case.labelled)
    if not cases:
        raise _no_labels(taken.folder)
    taken = replace(taken, cases=cases)
    return datalist_of(taken, split_cases(taken, folds=folds, seed=seed, few_will_do=True))


def _found(folder: Path, modalities: Sequence[str]) -> dict[str, Any]:
    labelled = [item for item in find_cases(folder, modalities=modalities) if "label" in item]
    if not labelled:
        raise _no_labels(folder)
    names = {str(channel): name for channel, name in enumerate(modalities)}
    training = [_with_absolute_paths(item) for item in labelled]
    return {"name": folder.resolve().name, "modality": names, "training": training}


def _with_absolute_paths(item: Item) -> Item:
    """Paths that do not depend on the working folder."""
    image = item["image"]
    paths = str(Path(image).absolute()) if isinstance(image, str) else [str(Path(path).absolute()) for path in image]
    return {**item, "image": paths, "label": str(Path(item["label"]).absolute())}


def _no_labels(folder: Path) -> DataError:
    msg = f"{folder}: cases without labels cannot train. Wanted <case>_seg beside the images, or labelsTr/<case>."
    return DataError(msg)


def _check_convention(told: Declared | None, wanted: Declared | None, *, where: str) -> None:
    if told is None or wanted is None or get_convention(told) == get_convention(wanted):
        return
    msg = f"{where}: the labels are {told}, the bundle takes them for {wanted}. Set label_convention={told}."
    raise DataError(msg)
