"""LUNA16 as distributed: ten subsets of chest CTs, and a table of nodules in LPS mm, which become boxes in RAS mm.

Source: Setio et al. 2017, https://doi.org/10.1016/j.media.2017.06.015; https://luna16.grand-challenge.org/Data/.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medseg.datasets.findings import Finding
from medseg.datasets.inventory import CaseFiles, Inventory, case_files
from medseg.errors import DataError
from medseg.volumes import luna16_csv, volume_stem

LABELS = {0: "nodule"}
_SCANS = "subset*/*.mhd"
_SUBSET = re.compile(r"subset\d")
# Beside the subsets, or where evaluationScript.zip puts them.
_TABLE_FOLDERS = ("", "evaluationScript/annotations/", "evaluationScript/", "annotations/")


def find_table(folder: Path, name: str) -> Path | None:
    """One of LUNA16's tables, also packed: `annotations.csv`, `annotations_excluded.csv` or `seriesuids.csv`."""
    places = [folder / f"{inner}{name}{suffix}" for inner in _TABLE_FOLDERS for suffix in ("", ".gz")]
    return next((path for path in places if path.is_file()), None)


def is_luna16(folder: Path) -> bool:
    """Whether a folder has subsets of MetaImage scans and a table of nodules."""
    return bool(find_table(folder, "annotations.csv")) and any(
        _SUBSET.fullmatch(path.parent.name) for path in folder.glob(_SCANS)
    )


def inventory(folder: Path, *, modalities: Sequence[str] | None = None) -> Inventory:
    """The scans of the subsets, each with its nodules as boxes and its subset as fold, and what is wrong with that.

    `facts` of a case are `box_ras_mm`, corners x0, y0, z0, x1, y1, z1 of the cube around each nodule, and `box_label`,
    0 for each; both are empty for a scan without nodules.

    Args:
        folder: Where `subset0` to `subset9` and `annotations.csv` are.
        modalities: What the scans are called; None for ct.

    Raises:
        DataError: When there are no scans, or a table is missing or damaged.
    """
    source = find_table(folder, "annotations.csv")
    if source is None:
        msg = f"{folder}: LUNA16's annotations.csv is missing. Fetch it (medseg data get luna16) or copy it there."
        raise DataError(msg)
    scans = [path for path in sorted(folder.glob(_SCANS)) if _SUBSET.fullmatch(path.parent.name)]
    if not scans:
        msg = f"{folder}: no scan. Wanted subset0 to subset9 with .mhd and .raw files."
        raise DataError(msg)
    name = (modalities or ("ct",))[0]
    findings: list[Finding] = []
    facts = _facts_by_scan(source, findings)
    findings += _of_the_list(folder, source, {volume_stem(path) for path in scans}, set(facts))
    return Inventory(
        folder=folder,
        name="luna16",
        source=source,
        modalities=(name,),
        cases=tuple(_case(path, name, facts.get(volume_stem(path), _empty())) for path in scans),
        labels=LABELS,
        findings=tuple(findings),
    )


def _case(path: Path, modality: str, facts: Mapping[str, Any]) -> CaseFiles:
    fold = int(path.parent.name.removeprefix("subset"))
    return replace(case_files(volume_stem(path), {modality: path}, fold=fold), facts=facts)


def _empty() -> dict[str, list[Any]]:
    return {"box_ras_mm": [], "box_label": []}


def _facts_by_scan(source: Path, findings: list[Finding]) -> dict[str, dict[str, list[Any]]]:
    """Boxes of every scan that the table names; a nodule without a size becomes a finding."""
    facts: dict[str, dict[str, list[Any]]] = defaultdict(_empty)
    for nodule in luna16_csv.read_annotations(source):
        mine = facts[nodule.series_uid]
        try:
            mine["box_ras_mm"].append(list(luna16_csv.box_ras_mm(nodule)))
            mine["box_label"].append(0)
        except DataError as error:
            findings.append(Finding(check="boxes", case_id=nodule.series_uid, message=str(error)))
    return dict(facts)


def _of_the_list(folder: Path, source: Path, here: set[str], annotated: set[str]) -> list[Finding]:
    """What the list of scans, the table of nodules and the folder do not agree on."""
    findings = []
    table = find_table(folder, "seriesuids.csv")
    known = set(luna16_csv.read_series(table)) if table else here | annotated
    for uid in sorted(annotated - known):
        message = f"{source.name} has nodules of it, {table and table.name} does not list it"
        findings.append(Finding(check="orphan-label", case_id=uid, message=message))
    for uid in sorted(here - known):
        findings.append(Finding(check="unlisted", case_id=uid, message=f"{table and table.name} does not list it"))
    absent = known - here
    if absent:
        message = f"{len(absent)} of {len(known)} scans are not in the folder, {len(absent & annotated)} with nodules"
        findings.append(Finding(check="absent", message=message))
    return findings
