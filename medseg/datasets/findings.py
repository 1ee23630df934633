"""What is wrong or remarkable in a dataset: one table of checks, and one finding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "note"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check that a dataset can fail.

    Attributes:
        level: An error spoils training or scores; a note is worth knowing.
        what: What a finding of it says.
    """

    level: Level
    what: str


CHECKS: dict[str, Check] = {
    "readable": Check(level="error", what="a file is missing, damaged, no volume, or has no usable affine"),
    "modality": Check(level="error", what="a case lacks a modality, or has two files for one"),
    "case-id": Check(level="error", what="two cases share an id, or two entries share a scan"),
    "image-without-label": Check(level="error", what="a training case has no label map, or several"),
    "orphan-label": Check(level="error", what="a label map, or a nodule, belongs to no case"),
    "grid": Check(level="error", what="modalities or label lie on different grids (shape, spacing, place)"),
    "not-finite": Check(level="error", what="NaN or infinite voxels"),
    "label-values": Check(level="error", what="label values outside the convention, or no whole numbers"),
    "boxes": Check(level="error", what="a box has no size, its centre lies outside the scan, or it is there twice"),
    "convention": Check(level="error", what="the dataset declares another label convention than was asked for"),
    "duplicate": Check(level="error", what="two scans hold the same voxels"),
    "leakage": Check(level="error", what="a patient stands in two folds, or in training and test"),
    "ids": Check(level="error", what="a list of case ids is not the one whose sha256 the datalist records"),
    "checksum": Check(level="error", what="a file is not the published one"),
    "dtypes": Check(level="note", what="scans are stored in different types"),
    "constant": Check(level="note", what="a scan holds one value only"),
    "empty-label": Check(level="note", what="a label map has background only"),
    "same-label": Check(level="note", what="two label maps hold the same voxels"),
    "unused-value": Check(level="note", what="a label value of the convention occurs nowhere"),
    "unlisted": Check(level="note", what="a scan that the dataset's list leaves out"),
    "absent": Check(level="note", what="scans that the dataset lists and the folder lacks"),
    "no-labels": Check(level="note", what="no case has a label map"),
    "no-convention": Check(level="note", what="nothing says which label values are allowed"),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing found.

    Attributes:
        check: Key of `CHECKS`.
        case_id: The case, empty where the whole dataset is meant.
        message: What was found, in one line.
    """

    check: str
    case_id: str = ""
    message: str

    @property
    def level(self) -> Level:
        """Whether it spoils results."""
        return CHECKS[self.check].level


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, then in the order of `CHECKS`, then by case; each once."""
    order = list(CHECKS)
    unique = dict.fromkeys(findings)
    return tuple(sorted(unique, key=lambda found: (order.index(found.check), found.case_id, found.message)))
