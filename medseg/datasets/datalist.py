"""Which cases train and which validate: datalists in MONAI's JSON layout, and folds where there is none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.datasets.cases import Item, channels_of, check_unique, find_cases, pick_channels
from medseg.datasets.patients import patient_of
from medseg.errors import DataError
from medseg.labels import get_convention
from medseg.volumes.names import canonical_modality, modality_of, parse_name

SECTIONS = ("training", "validation", "all")


def training_items(
    *,
    dataset_dir: str | Path,
    modalities: Sequence[str],
    datalist: str | Path | None = None,
    fold: int = 0,
    section: str = "training",
    folds: int = 5,
    seed: int = 0,
    label_convention: str | None = None,
) -> list[Item]:
    """The items of one section of a dataset, as a bundle's config asks for them.

    Args:
        dataset_dir: The dataset's folder.
        modalities: Modalities in the order of the network's channels.
        datalist: A datalist file; None takes `datalist.json` or `dataset.json` of the folder, else its cases.
        fold: The fold that validates.
        section: "training" (every other fold), "validation" (the fold) or "all".
        folds: Number of folds where the datalist has none.
        seed: Seed of those folds.
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
            msg = f"{where}: case {item['case_id']} has no label, or several. Add one or drop the case."
            raise DataError(msg)
    return items


def read_datalist(path: str | Path) -> dict[str, Any]:
    """The content of a datalist file.

    Raises:
        DataError: When it is missing, no JSON, or has no list called "training".
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        msg = f"{path}: no such datalist. Check the path, or leave datalist out to use the folder's cases."
        raise DataError(msg) from None
    except (ValueError, OSError) as error:
        msg = f"{path}: not a readable datalist ({error}). Mend the JSON."
        raise DataError(msg) from error
    if not isinstance(content, dict) or not isinstance(content.get("training"), list):
        msg = f'{path}: a datalist needs "training": [{{"image": ..., "label": ...}}, ...]. Add the list.'
        raise DataError(msg)
    return content


def datalist_for(
    dataset_dir: str | Path,
    datalist: str | Path | None = None,
    *,
    modalities: Sequence[str],
    folds: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """The datalist of a dataset, with a fold for each training case.

    Args:
        dataset_dir: The dataset's folder.
        datalist: A file, also looked for in `dataset_dir`; None takes the folder's `datalist.json`, then the
            `dataset.json` of MSD, then every labelled case found in the folder (also nnU-Net's layout).
        modalities: What the images of a case must be.
        folds: Number of folds dealt where the file has none.
        seed: Seed of the dealing. Visits of one patient stay in one fold.

    Raises:
        DataError: When the folder, the file or labelled cases are missing.
    """
    folder = Path(dataset_dir)
    if not folder.is_dir():
        msg = f"dataset_dir: {folder} is no folder. Check the path, or fetch the data first."
        raise DataError(msg)
    file = _datalist_file(folder, datalist)
    content = read_datalist(file) if file else _found_datalist(folder, modalities)
    training = content["training"]
    if not any("fold" in entry for entry in training if isinstance(entry, dict)):
        content = {**content, "training": with_folds(training, folds=folds, seed=seed)}
    return content


def with_folds(entries: Sequence[Any], *, folds: int, seed: int) -> list[Item]:
    """The entries with a seeded fold each: patients dealt in turn, so that folds differ by one patient at most.

    The order is that of a hash of seed and patient: the same on every machine, and for any order of entries.
    """
    whole = [_as_entry(entry) for entry in entries]
    patients = {patient_of(_case_id(entry)) for entry in whole}
    dealt = sorted(patients, key=lambda patient: hashlib.sha256(f"{seed}:{patient}".encode()).hexdigest())
    fold_of = {patient: position % folds for position, patient in enumerate(dealt)}
    return [{**entry, "fold": fold_of[patient_of(_case_id(entry))]} for entry in whole]


def select_items(
    datalist: Mapping[str, Any],
    *,
    dataset_dir: str | Path,
    modalities: Sequence[str],
    fold: int = 0,
    section: str = "training",
) -> list[Item]:
    """The items of one section, images in the order of `modalities`, paths absolute to the dataset's folder.

    An own list called "validation" in the datalist stands instead of a fold. A training case without a fold, where
    others have one, always trains.

    Raises:
        DataError: When no case has the fold, none is left to train on, a modality or a file is missing, or two
            cases share an id.
    """
    if section not in SECTIONS:
        msg = f"section: {section!r} is not one of {', '.join(SECTIONS)}."
        raise DataError(msg)
    entries = _section([_as_entry(entry) for entry in datalist["training"]], datalist, fold=fold, section=section)
    names = channels_of(dict(datalist))
    wanted = [canonical_modality(name) for name in modalities]
    folder = Path(dataset_dir)
    items = [_item(entry, folder, names, wanted) for entry in entries]
    return check_unique(items, where=str(datalist.get("name", folder)))


def _section(training: list[Item], datalist: Mapping[str, Any], *, fold: int, section: str) -> list[Item]:
    validation = datalist.get("validation")
    if isinstance(validation, list) and validation:
        own = [_as_entry(entry) for entry in validation]
        chosen = {"training": training, "validation": own, "all": training + own}[section]
    elif section == "all":
        chosen = training
    else:
        known = sorted({entry["fold"] for entry in training if "fold" in entry})
        if fold not in known:
            msg = f"fold: no case has fold {fold}. Folds in the datalist: {', '.join(map(str, known)) or 'none'}."
            raise DataError(msg)
        chosen = [entry for entry in training if (entry.get("fold") == fold) == (section == "validation")]
    if not chosen:
        msg = f"fold: no {section} case is left with fold {fold} of {len(training)} cases. Add cases or folds."
        raise DataError(msg)
    return chosen


def _item(entry: Item, folder: Path, names: Sequence[str] | None, wanted: Sequence[str]) -> Item:
    case_id = _case_id(entry)
    item: Item = {"case_id": case_id, **_image(entry, folder, names, wanted)}
    if entry.get("label"):
        item["label"] = _existing(folder / str(entry["label"]), case_id)
    if "fold" in entry:
        item["fold"] = int(entry["fold"])
    return item


def _image(entry: Item, folder: Path, names: Sequence[str] | None, wanted: Sequence[str]) -> Item:
    """The image files in the order wanted, or the 4-D file and its channels."""
    image, where = entry.get("image"), f"case {_case_id(entry)}"
    if isinstance(image, str) and entry.get("channels"):
        return {"image": _existing(folder / image, where), "channels": list(entry["channels"])}
    if isinstance(image, str) and names and len(names) > 1:
        return {"image": _existing(folder / image, where), "channels": pick_channels(names, wanted, where=where)}
    paths = [image] if isinstance(image, str) else image
    if not paths or not isinstance(paths, list):
        msg = f'{where}: no "image" in the datalist. Wanted a path or a list of paths.'
        raise DataError(msg)
    if not names or len(names) != len(paths):
        # Without a list of modalities the file names must tell; a single image needs no name.
        told = [modality_of(str(path)) for path in paths]
        names = wanted if len(paths) == len(wanted) == 1 and told[0] is None else [name or "?" for name in told]
    order = pick_channels(names, wanted, where=f"{where} ({', '.join(Path(str(path)).name for path in paths)})")
    return {"image": [_existing(folder / str(paths[i]), where) for i in order]}


def _datalist_file(folder: Path, datalist: str | Path | None) -> Path | None:
    if datalist is not None:
        given = Path(datalist)
        return given if given.is_file() or not (folder / given).is_file() else folder / given
    for file in (folder / "datalist.json", folder / "dataset.json"):
        if file.is_file() and (file.name == "datalist.json" or _has_training(file)):
            return file
    return None


def _has_training(file: Path) -> bool:
    """Whether a `dataset.json` lists its cases as MSD's do; nnU-Net's leave that to the folders."""
    try:
        return isinstance(json.loads(file.read_text(encoding="utf-8")).get("training"), list)
    except (ValueError, OSError, AttributeError):
        return True


def _found_datalist(folder: Path, modalities: Sequence[str]) -> dict[str, Any]:
    labelled = [item for item in find_cases(folder, modalities=modalities) if "label" in item]
    if not labelled:
        msg = f"{folder}: cases without labels cannot train. Wanted <case>_seg beside the images, or labelsTr/<case>."
        raise DataError(msg)
    names = {str(channel): canonical_modality(name) for channel, name in enumerate(modalities)}
    return {"name": folder.resolve().name, "modality": names, "training": [_absolute(item) for item in labelled]}


def _absolute(item: Item) -> Item:
    """Paths that do not depend on the working folder."""
    image = item["image"]
    paths = str(Path(image).absolute()) if isinstance(image, str) else [str(Path(path).absolute()) for path in image]
    return {**item, "image": paths, "label": str(Path(item["label"]).absolute())}


def _as_entry(entry: Any) -> Item:
    return dict(entry) if isinstance(entry, Mapping) else {"image": entry}


def _case_id(entry: Item) -> str:
    if entry.get("case_id"):
        return str(entry["case_id"])
    image = entry.get("image") or "?"
    first = Path(str(image[0] if isinstance(image, list) else image))
    return parse_name(first).case_id or first.parent.name


def _existing(path: Path, where: str) -> str:
    if not path.is_file():
        msg = f"{where}: no such file: {path}. Check dataset_dir and the datalist."
        raise DataError(msg)
    return str(path)


def _check_convention(told: str | None, wanted: str | None, *, where: str) -> None:
    if told is None or wanted is None or get_convention(told) == get_convention(wanted):
        return
    msg = f"{where}: the labels are {told}, the bundle takes them for {wanted}. Set label_convention={told}."
    raise DataError(msg)
