"""Checks across the cases of a dataset: copies, leakage, label values and types as a whole."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medseg.datasets.findings import Finding
from medseg.datasets.inventory import CaseFiles, Inventory
from medseg.datasets.scan_facts import ScanFacts
from medseg.datasets.splits import changed_ids
from medseg.labels import get_convention

_SHOWN = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class CaseFacts:
    """What was read of one case, and what was wrong with it alone."""

    case: CaseFiles
    scans: Mapping[Path, ScanFacts]
    label: ScanFacts | None
    values: npt.NDArray[np.int64] | None
    n_files: int
    findings: tuple[Finding, ...]


def check_across(
    taken: Inventory, facts: Sequence[CaseFacts], *, asked: str | None, allowed: Sequence[int] | None
) -> list[Finding]:
    """What is wrong between cases.

    Args:
        taken: The dataset as listed.
        facts: What was read of its cases.
        asked: Name of the label convention that was asked for.
        allowed: Label values that may occur, None when nothing says.
    """
    return [
        *_repeated_cases(taken),
        *_duplicates(facts, taken.folder),
        *_leakage(taken.cases),
        *_changed_lists(taken),
        *_of_the_labels(taken, facts, asked=asked, allowed=allowed),
        *_of_the_types(facts),
    ]


def short_path(path: Path, folder: Path) -> str:
    """The path within the dataset's folder, where it lies there."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def listing(values: Iterable[int]) -> str:
    """Values in one line, the first ten of many.

    >>> listing([0, 1, 4]), listing(range(30))
    ('0, 1, 4', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 20 more')
    """
    texts = [str(value) for value in values]
    return ", ".join(texts[:_SHOWN]) + (f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else "")


def _repeated_cases(taken: Inventory) -> list[Finding]:
    counts = Counter(case.case_id for case in taken.cases)
    findings = [
        Finding(check="case-id", case_id=case_id, message=f"{count} cases have this id")
        for case_id, count in counts.items()
        if count > 1
    ]
    owners: dict[Path, str] = {}
    for case in taken.cases:
        for path in case.scans:
            first = owners.setdefault(path.resolve(), case.case_id)
            if first != case.case_id:
                message = f"{short_path(path, taken.folder)} is the scan of {first} too"
                findings.append(Finding(check="case-id", case_id=case.case_id, message=message))
    return findings


def _duplicates(facts: Iterable[CaseFacts], folder: Path) -> list[Finding]:
    """Files with the same voxels, whatever their type, compression and header; constant ones do not count."""
    seen: dict[tuple[bool, str], tuple[Path, str]] = {}
    findings = []
    for one in facts:
        files = [(False, scan) for scan in one.scans.values()] + ([(True, one.label)] if one.label else [])
        for is_label, file in files:
            if file.lowest == file.highest:
                continue
            first, case_id = seen.setdefault((is_label, file.voxels_sha256), (file.path, one.case.case_id))
            if first.resolve() != file.path.resolve():
                message = (
                    f"{short_path(file.path, folder)} holds the voxels of {short_path(first, folder)} (case {case_id})"
                )
                check = "same-label" if is_label else "duplicate"
                findings.append(Finding(check=check, case_id=one.case.case_id, message=message))
    return findings


def _leakage(cases: Iterable[CaseFiles]) -> list[Finding]:
    """Patients on both sides of a split."""
    places: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for case in cases:
        place = f"fold {case.fold}" if case.section == "training" and case.fold is not None else case.section
        places[case.patient][place].append(case.case_id)
    return [
        Finding(
            check="leakage",
            case_id=patient,
            message="; ".join(f"{place}: {', '.join(ids)}" for place, ids in sorted(where.items())),
        )
        for patient, where in places.items()
        if len(where) > 1
    ]


def _changed_lists(taken: Inventory) -> list[Finding]:
    return [
        Finding(check="ids", message=f"{taken.source}: the ids of {name} are not those that were written")
        for name in changed_ids(taken)
    ]


def _of_the_labels(
    taken: Inventory, facts: Sequence[CaseFacts], *, asked: str | None, allowed: Sequence[int] | None
) -> list[Finding]:
    findings = []
    told = taken.label_convention
    if asked and told and get_convention(asked) != get_convention(told, where=f"{taken.source}: label_convention"):
        message = f"{taken.source} says {told}, not {asked}"
        findings.append(Finding(check="convention", message=message))
    values = {value for one in facts if one.values is not None for value in one.values.tolist()}
    if any(one.case.labelled for one in facts) and not any(one.case.label for one in facts):
        return findings  # masks and readings are looked at case by case
    if not any(one.case.label for one in facts):
        told_already = any(found.check == "image-without-label" for found in taken.findings)
        return findings + ([] if told_already else [Finding(check="no-labels", message="no case has a label map")])
    if allowed is None:
        message = f"the label maps hold {listing(sorted(values))}; name a --convention to have them checked"
        return [*findings, Finding(check="no-convention", message=message)]
    unused = [value for value in allowed if value not in values and value != 0]
    if unused:
        findings.append(Finding(check="unused-value", message=f"no label map holds {listing(unused)}"))
    return findings


def _of_the_types(facts: Iterable[CaseFacts]) -> list[Finding]:
    counts = Counter(scan.dtype for one in facts for scan in one.scans.values())
    if len(counts) < 2:
        return []
    return [Finding(check="dtypes", message=", ".join(f"{count} scans {name}" for name, count in counts.most_common()))]
