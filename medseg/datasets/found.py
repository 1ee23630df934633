"""The inventory of a dataset that nothing describes: a folder per case, nnU-Net's `imagesTr`, BIDS, as names tell."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medseg.datasets.cases import channel_names, group_files, name_in_place, volumes_in
from medseg.datasets.findings import Finding
from medseg.datasets.inventory import CaseFiles, Inventory, Section, case_files, in_channel_order, label_names
from medseg.volumes import volume_stem
from medseg.volumes.names import ScanName, fits_modality, pick_label_maps

Named = tuple[ScanName, Path]


@dataclass
class _Group:
    images: list[Named] = field(default_factory=list)
    labels: list[Named] = field(default_factory=list)


def inventory(folder: Path, *, modalities: Sequence[str] | None = None) -> Inventory:
    """What the files' names and places say, and what is wrong with that.

    Raises:
        DataError: When the folder has no volume.
    """
    files = volumes_in(folder)
    groups = _groups(files, modalities or ())
    declared = tuple(channel_names(folder) or ()) if (folder / "dataset.json").is_file() else ()
    wanted = tuple(modalities or declared or _usual_modalities(groups))
    cases: list[CaseFiles] = []
    findings: list[Finding] = []
    labelled = any(group.labels for group in groups.values())
    for case_id, group in sorted(groups.items()):
        case, wrong = _case(case_id, group, wanted, labelled=labelled)
        cases += [case] if case else []
        findings += wrong
    content = _description(folder)
    return Inventory(
        folder=folder,
        name=str(content.get("name") or folder.resolve().name),
        source=folder / "dataset.json" if content else None,
        modalities=wanted,
        cases=tuple(cases),
        labels=label_names(content.get("labels")),
        label_convention=content.get("label_convention"),
        findings=(*findings, *_orphans(files, groups, wanted)),
    )


def _groups(files: Sequence[Path], wanted: Sequence[str]) -> dict[str, _Group]:
    """Scans and label maps by case id; files of one BIDS subject and session are one case wherever they lie."""
    groups: dict[str, _Group] = {}
    for case in group_files(files, wanted):
        for name, path in case.images + case.labels:
            group = groups.setdefault(_bids_id(path) or case.case_id, _Group())
            is_label = name.kind == "label" or volume_stem(path).endswith("_dseg")  # BIDS: discrete segmentation
            (group.labels if is_label else group.images).append((name, path))
    placed = {path for group in groups.values() for _, path in group.labels}
    for path in files:
        name, case_id = name_in_place(path, wanted), _bids_id(path)
        if name.kind == "label" and path not in placed and case_id in groups:
            groups[case_id].labels.append((name, path))
    return groups


def _bids_id(path: Path) -> str | None:
    """Subject and session of a BIDS name, without the entities that tell its images apart.

    >>> _bids_id(Path("sub-01_ses-02_acq-mprage_T1w.nii.gz"))
    'sub-01_ses-02'
    """
    match = re.match(r"sub-[A-Za-z0-9]+(_ses-[A-Za-z0-9]+)?(?=_)", volume_stem(path))
    return match[0] if match else None


def is_bids(folder: Path) -> bool:
    """Whether the folder's scans are named as BIDS has them."""
    return any(_bids_id(path) for path in folder.glob("sub-*/**/sub-*.nii*"))


def _usual_modalities(groups: Mapping[str, _Group]) -> tuple[str, ...]:
    """The modalities that more than half of the cases have; "image" where names tell none."""
    each = [{name.modality for name, _ in group.images if name.modality} for group in groups.values()]
    counts = Counter(modality for modalities in each for modality in modalities)
    usual = [modality for modality, count in counts.items() if 2 * count > len(groups)]
    return in_channel_order(usual) or ("image",)


def _case(
    case_id: str, group: _Group, wanted: Sequence[str], *, labelled: bool
) -> tuple[CaseFiles | None, list[Finding]]:
    findings = []
    images = _four_d(group, wanted) or _one_each(group, wanted)
    for modality in wanted:
        paths = images.get(modality, [])
        if len(paths) != 1:
            names = ", ".join(path.name for path in paths or [path for _, path in group.images])
            message = f"{len(paths)} files are {modality}: {names}" if paths else f"no {modality} among {names}"
            findings.append(Finding(check="modality", case_id=case_id, message=message))
    section = _section(group)
    labels = pick_label_maps(group.labels)
    if len(labels) != 1 and labelled and section != "testing":
        several = ", ".join(path.name for path in labels)
        message = f"{len(labels)} label maps: {several}" if labels else f"{_names(group)} has no label map"
        findings.append(Finding(check="image-without-label", case_id=case_id, message=message))
    chosen = {modality: paths[0] for modality, paths in images.items() if len(paths) == 1}
    if not chosen:
        return None, findings
    label = labels[0] if len(labels) == 1 else None
    return case_files(case_id, chosen, label=label, section=section), findings


def _section(group: _Group) -> Section:
    """By the folder of its images: `imagesTs` tests, `imagesVa` validates (AMOS22), every other trains."""
    folders = {path.parent.name.lower() for _, path in group.images}
    known: dict[str, Section] = {"imagests": "testing", "imagesva": "validation"}
    return known.get(folders.pop(), "training") if len(folders) == 1 else "training"


def _names(group: _Group) -> str:
    return ", ".join(path.name for _, path in group.images)


def _four_d(group: _Group, wanted: Sequence[str]) -> dict[str, list[Path]]:
    """The single file without a modality in its name, for all of several channels."""
    if len(wanted) < 2 or len(group.images) != 1 or group.images[0][0].modality:
        return {}
    return {modality: [group.images[0][1]] for modality in wanted}


def _one_each(group: _Group, wanted: Sequence[str]) -> dict[str, list[Path]]:
    """Files by modality; a name that ends in the modality wins over `..._t1_bias`."""
    if len(wanted) == len(group.images) == 1 and fits_modality(group.images[0][0].modality, wanted[0]):
        return {wanted[0]: [group.images[0][1]]}
    chosen = {}
    for modality in wanted:
        named = [(name, path) for name, path in group.images if (name.modality or "image") == modality]
        paths = [path for name, path in named if name.exact] or [path for _, path in named]
        chosen.update({modality: paths} if paths else {})
    return chosen


def _orphans(files: Sequence[Path], groups: Mapping[str, _Group], wanted: Sequence[str]) -> list[Finding]:
    """Label maps that are no case's."""
    placed = {path for group in groups.values() for _, path in group.labels}
    named = [(name_in_place(path, wanted), path) for path in files if path not in placed]
    return [
        Finding(
            check="orphan-label",
            case_id=_bids_id(path) or name.case_id or path.parent.name,
            message=f"{path.parent.name}/{path.name} belongs to no case",
        )
        for name, path in named
        if name.kind == "label"
    ]


def _description(folder: Path) -> dict[str, Any]:
    """The `dataset.json` of nnU-Net, which names labels and channels but no cases."""
    try:
        content = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return {}
    return content if isinstance(content, dict) else {}
