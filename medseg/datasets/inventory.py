"""What a dataset on disk holds, whatever its layout: cases, files, folds, labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from medseg.datasets.findings import Finding
from medseg.datasets.patients import patient_of
from medseg.volumes.names import MODALITY_SPELLINGS

Section = Literal["training", "validation", "testing"]


@dataclass(frozen=True, kw_only=True)
class CaseFiles:
    """The files of one case.

    Attributes:
        case_id: Unique in the dataset.
        patient: Whose scan it is; several visits may share a patient.
        images: File of each modality; one 4-D file stands under each of its channels.
        label: The label map, None where there is none.
        section: Which list the case is in; test cases need no label.
        fold: The fold that it validates in, None where none is dealt.
        masks: A binary mask for each structure, where those stand in place of a label map.
        readings: What readers marked in the scan, as XML.
        facts: What else a datalist says of it.
    """

    case_id: str
    patient: str
    images: Mapping[str, Path]
    label: Path | None = None
    section: Section = "training"
    fold: int | None = None
    masks: Mapping[str, Path] = field(default_factory=dict)
    readings: Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labelled(self) -> bool:
        """Whether anything says what is in the scan."""
        return bool(self.label or self.masks or self.readings or self.facts)

    @property
    def scans(self) -> tuple[Path, ...]:
        """The image files, each once."""
        return tuple(dict.fromkeys(self.images.values()))


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """A dataset as found.

    Attributes:
        folder: The dataset's folder.
        name: What it calls itself, else the folder's name.
        source: The file that describes it, None when its folders do.
        modalities: Canonical, in the order of channels.
        cases: Cases with at least one image.
        labels: Meaning of each label value, None when nothing says.
        label_convention: Name of the declared convention, None when nothing says.
        ids_sha256: Recorded sha256 of each list of ids, see `splits`.
        findings: What was wrong in the listing itself.
    """

    folder: Path
    name: str
    source: Path | None = None
    modalities: tuple[str, ...]
    cases: tuple[CaseFiles, ...]
    labels: Mapping[int, str] | None = None
    label_convention: str | None = None
    ids_sha256: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def case_files(
    case_id: str,
    images: Mapping[str, Path],
    *,
    label: Path | None = None,
    patient: str | None = None,
    section: Section = "training",
    fold: int | None = None,
) -> CaseFiles:
    """A case whose patient is read from its id where nothing else names one."""
    patient = patient or patient_of(case_id)
    return CaseFiles(case_id=case_id, patient=patient, images=images, label=label, section=section, fold=fold)


def label_names(declared: Any) -> dict[int, str] | None:
    """Meaning by value from `labels`: MSD's value to name, nnU-Net's name to value or values.

    >>> label_names({"0": "background", "1": "Anterior"}), label_names({"background": 0, "whole": [1, 2], "core": 2})
    ({0: 'background', 1: 'Anterior'}, {0: 'background', 1: 'whole', 2: 'core'})
    """
    if not isinstance(declared, Mapping) or not declared:
        return None
    names: dict[int, str] = {}
    for key, value in declared.items():
        if re.fullmatch(r"\d+", str(key)):
            names[int(key)] = str(value)
        else:
            values = value if isinstance(value, list) else [value]
            names.update({int(one): str(key) for one in values if re.fullmatch(r"\d+", str(one))})
    return dict(sorted(names.items())) or None


def in_channel_order(modalities: Sequence[str]) -> tuple[str, ...]:
    """Modalities as the table of spellings has them, others behind in order of the alphabet."""
    known = list(MODALITY_SPELLINGS)
    return tuple(sorted(modalities, key=lambda name: (known.index(name) if name in known else len(known), name)))
