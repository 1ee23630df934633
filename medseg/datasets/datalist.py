"""Datalists in MONAI's JSON layout: read, dealt into folds, and turned into the items of a section."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.datasets.cases import Item, channels_of, check_unique, pick_channels
from medseg.datasets.patients import patient_of
from medseg.errors import DataError
from medseg.volumes.names import canonical_modality, modality_of, parse_name

SECTIONS = ("training", "validation", "all")


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
    except (ValueError, OSError, RecursionError) as error:
        msg = f"{path}: not a readable datalist ({error}). Mend the JSON."
        raise DataError(msg) from error
    if not isinstance(content, dict) or not isinstance(content.get("training"), list):
        msg = f'{path}: a datalist needs "training": [{{"image": ..., "label": ...}}, ...]. Add the list.'
        raise DataError(msg)
    return content


def with_folds(entries: Sequence[Any], *, folds: int, seed: int) -> list[Item]:
    """The entries with a seeded fold each: patients dealt in turn, so that folds differ by one patient at most.

    The order is that of a hash of seed and patient: the same on every machine, and for any order of entries.
    """
    whole = [as_entry(entry) for entry in entries]
    patients = {_patient(entry) for entry in whole}
    dealt = sorted(patients, key=lambda patient: hashlib.sha256(f"{seed}:{patient}".encode()).hexdigest())
    fold_of = {patient: position % folds for position, patient in enumerate(dealt)}
    return [{**entry, "fold": fold_of[_patient(entry)]} for entry in whole]


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
    entries = _section([as_entry(entry) for entry in datalist["training"]], datalist, fold=fold, section=section)
    names = channels_of(dict(datalist))
    wanted = [canonical_modality(name) for name in modalities]
    folder = Path(dataset_dir)
    items = [_item(entry, folder, names, wanted) for entry in entries]
    return check_unique(items, where=str(datalist.get("name", folder)))


def _section(training: list[Item], datalist: Mapping[str, Any], *, fold: int, section: str) -> list[Item]:
    validation = datalist.get("validation")
    if isinstance(validation, list) and validation:
        own = [as_entry(entry) for entry in validation]
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
    case_id = case_id_of(entry)
    item: Item = {"case_id": case_id, **_image(entry, folder, names, wanted)}
    if entry.get("label"):
        item["label"] = _existing(folder / str(entry["label"]), case_id)
    if entry.get("masks"):
        item["masks"] = {name: _existing(folder / str(path), case_id) for name, path in entry["masks"].items()}
    if "fold" in entry:
        item["fold"] = int(entry["fold"])
    return item


def _image(entry: Item, folder: Path, names: Sequence[str] | None, wanted: Sequence[str]) -> Item:
    """The image files in the order wanted, or the 4-D file and its channels."""
    image, where = entry.get("image"), f"case {case_id_of(entry)}"
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


def as_entry(entry: Any) -> Item:
    """A datalist's entry as a dictionary; a bare path is an image."""
    return dict(entry) if isinstance(entry, Mapping) else {"image": entry}


def _patient(entry: Item) -> str:
    return str(entry.get("patient") or patient_of(case_id_of(entry)))


def case_id_of(entry: Item) -> str:
    """The id of an entry: as it says, else from the name of its first image.

    Raises:
        DataError: For an id that would lead out of the folder that results are written to.
    """
    if entry.get("case_id"):
        told = str(entry["case_id"])
        if re.search(r"[/\\\0]", told) or told in (".", ".."):
            msg = f"case {told!r}: results are named by the id, so it cannot hold a path. Mend the datalist."
            raise DataError(msg)
        return told
    image = entry.get("image") or "?"
    first = Path(str(image[0] if isinstance(image, list) else image))
    return parse_name(first).case_id or first.parent.name


def _existing(path: Path, where: str) -> str:
    if not path.is_file():
        msg = f"{where}: no such file: {path}. Check dataset_dir and the datalist."
        raise DataError(msg)
    return str(path)
