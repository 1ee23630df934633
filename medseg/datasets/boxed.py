"""Cases with boxes instead of label maps: what a detector trains, validates and is tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.datasets.cases import Item
from medseg.datasets.datalist import read_datalist, select_items
from medseg.datasets.layouts import take_inventory
from medseg.datasets.listed import datalist_path
from medseg.datasets.splits import datalist_of, split_cases
from medseg.errors import DataError
from medseg.volumes.boxes import as_boxes, box_centres, check_boxes, points_to_voxel, valid_boxes

SECTIONS = ("training", "validation", "testing", "all")
_FEWEST_FOLDS = 3


def detection_items(
    *,
    dataset_dir: str | Path,
    datalist: str | Path | None = None,
    fold: int = 0,
    section: str = "training",
    modalities: Sequence[str] = ("ct",),
) -> list[Item]:
    """The items of one section of a dataset with boxes.

    LUNA16's folds as nnDetection uses them (https://doi.org/10.1007/978-3-030-87240-3_51): `fold` is tested on, the
    next one, (fold + 1) % 10, validates, and the other eight train. With other numbers of folds it is the same. A
    datalist without folds has lists called "training", "validation" and "testing" instead.

    Args:
        dataset_dir: The dataset's folder: prepared, LUNA16's own, or any with a datalist.
        datalist: A datalist file, also looked for in `dataset_dir`; None takes the folder's `datalist.json`, else what
            the folder holds.
        fold: The fold that is tested on.
        section: "training", "validation", "testing" or "all".
        modalities: The image's modality.

    Returns:
        Items `{"case_id", "image", "box_ras_mm", "box_label"}` and `"fold"` where it has one. `image` is a path;
        `box_ras_mm` a list of `[x0, y0, z0, x1, y1, z1]` in RAS mm, lower corner first; `box_label` a class from 0 for
        each. Both are empty for a scan without findings.

    Raises:
        DataError: When folder, datalist, fold or a file is missing, a case has no boxes, or a box has no size.
    """
    if section not in SECTIONS:
        msg = f"section: {section!r} is not one of {', '.join(SECTIONS)}."
        raise DataError(msg)
    content = _datalist(Path(dataset_dir), datalist)
    where = str(datalist or dataset_dir)
    entries = _section(content, fold=fold, section=section, where=where)
    told: dict[str, Any] = {key: content[key] for key in ("name", "modality", "channel_names") if key in content}
    items = select_items({**told, "training": entries}, dataset_dir=dataset_dir, modalities=modalities, section="all")
    return [_with_boxes(item, entry) for item, entry in zip(items, entries, strict=True)]


def boxes_of_entry(entry: Mapping[str, Any], *, where: str) -> Item:
    """`box_ras_mm` and `box_label` of a datalist's entry, in plain lists; a class of 0 for each where it names none.

    Raises:
        DataError: When there are no boxes, a box is not finite or has no size, or classes and boxes do not pair up.
    """
    if not isinstance(entry.get("box_ras_mm"), list):
        msg = f'{where}: no "box_ras_mm" in the datalist. Wanted a list of boxes, empty where nothing is to be found.'
        raise DataError(msg)
    try:
        boxes = check_boxes(entry["box_ras_mm"], where=where).tolist()
        labels = [int(label) for label in entry.get("box_label", [0] * len(boxes))]
    except (TypeError, ValueError) as error:
        msg = f"{where}: box_ras_mm or box_label holds what is no number ({error}). Mend the datalist."
        raise DataError(msg) from error
    if len(labels) != len(boxes) or min(labels, default=0) < 0:
        msg = f"{where}: {len(boxes)} boxes and the classes {labels[:8]}. Wanted one class from 0 for each box."
        raise DataError(msg)
    return {"box_ras_mm": boxes, "box_label": labels}


def box_faults(facts: Mapping[str, Any], shape: Sequence[int], affine_ras_mm: npt.ArrayLike) -> list[str]:
    """What is wrong with the boxes of a scan, a line for each: no size, a centre outside the voxels, or there twice."""
    try:
        boxes = as_boxes(facts.get("box_ras_mm", []), where="box_ras_mm")
    except (DataError, TypeError, ValueError) as error:
        return [str(error)]
    labels = facts.get("box_label")
    if labels is not None and (not isinstance(labels, list) or len(labels) != len(boxes)):
        return [f"{len(boxes)} boxes and the classes {str(labels)[:40]}; wanted one for each"]
    valid = valid_boxes(boxes)
    middle = points_to_voxel(affine_ras_mm, box_centres(boxes))
    inside = np.all((middle >= 0) & (middle < np.asarray(shape[:3])), axis=1)
    faults, seen = [], list[list[float]]()
    for box, is_valid, is_inside in zip(boxes.tolist(), valid.tolist(), inside.tolist(), strict=True):
        text = ", ".join(f"{value:.1f}" for value in box)
        if not is_valid:
            faults.append(f"box ({text}) mm is not finite or has no size along an axis")
        elif not is_inside:
            faults.append(f"box ({text}) mm has its centre outside the scan")
        elif box in seen:
            faults.append(f"box ({text}) mm is there twice")
        seen.append(box)
    return faults


def _datalist(folder: Path, datalist: str | Path | None) -> dict[str, Any]:
    if not folder.is_dir():
        msg = f"dataset_dir: {folder} is no folder. Check the path, or fetch the data first."
        raise DataError(msg)
    file = datalist_path(folder, datalist) if datalist is not None else folder / "datalist.json"
    if datalist is not None or file.is_file():
        return read_datalist(file)
    taken = take_inventory(folder)
    return datalist_of(taken, split_cases(taken))


def _section(content: Mapping[str, Any], *, fold: int, section: str, where: str) -> list[Item]:
    lists = {name: [dict(entry) for entry in content.get(name) or []] for name in ("training", "validation", "testing")}
    folds = sorted({int(entry["fold"]) for entry in lists["training"] if "fold" in entry})
    if section == "all":
        chosen = [entry for entries in lists.values() for entry in entries]
    elif not folds:
        chosen = lists[section]
    else:
        part_of = _parts(folds, fold, where=where)
        chosen = [entry for entry in lists["training"] if part_of.get(entry.get("fold"), "training") == section]
    if not chosen:
        msg = f"{where}: no {section} case with fold {fold}. Add cases or folds (medseg data split)."
        raise DataError(msg)
    return chosen


def _parts(folds: Sequence[int], fold: int, *, where: str) -> dict[int | None, str]:
    """The fold that is tested on and the one after it; all others train."""
    if fold not in folds:
        msg = f"fold: no case of {where} has fold {fold}. Its folds: {', '.join(map(str, folds))}."
        raise DataError(msg)
    if len(folds) < _FEWEST_FOLDS:
        msg = f"{where}: {len(folds)} folds leave none to train on: one is tested on and one validates. Wanted 3."
        raise DataError(msg)
    return {fold: "testing", folds[(folds.index(fold) + 1) % len(folds)]: "validation"}


def _with_boxes(item: Item, entry: Item) -> Item:
    image = item["image"]
    paths = [image] if isinstance(image, str) else image
    fold = {"fold": item["fold"]} if "fold" in item else {}
    boxes = boxes_of_entry(entry, where=f"case {item['case_id']}")
    return {"case_id": item["case_id"], "image": paths[0], **boxes, **fold}
