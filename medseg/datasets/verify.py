"""Every case of a dataset read and compared: what would spoil training or scores, found before it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medseg.datasets.across_cases import CaseFacts, check_across, listing, short_path
from medseg.datasets.boxed import box_faults
from medseg.datasets.findings import Finding, in_order
from medseg.datasets.inventory import CaseFiles, Inventory
from medseg.datasets.layouts import take_inventory
from medseg.datasets.published import array_files, check_arrays, check_published
from medseg.datasets.scan_facts import ScanFacts, read_facts
from medseg.errors import DataError
from medseg.labels import get_convention
from medseg.record import usable_cores
from medseg.volumes import check_same_grid

_MOST_WORKERS = 8  # each holds a scan and its copies


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was looked at and what was found.

    Attributes:
        name: Of the dataset.
        n_cases: Cases in it.
        n_files: Files read.
        findings: Errors first.
    """

    name: str
    n_cases: int
    n_files: int
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that spoil results."""
        return tuple(found for found in self.findings if found.level == "error")


def verify_dataset(
    folder: str | Path,
    *,
    datalist: str | Path | None = None,
    convention: str | None = None,
    modalities: Sequence[str] | None = None,
    workers: int | None = None,
    on_start: Callable[[int], object] = lambda _count: None,
    on_case: Callable[[str], object] = lambda _case_id: None,
) -> Verification:
    """Read every scan and label map of a dataset and say what is wrong.

    Args:
        folder: The dataset's folder, in any layout of `take_inventory`.
        datalist: A datalist to go by.
        convention: Name of the label convention that must hold; None takes what the dataset declares.
        modalities: What each case must have; None takes what is declared, else what most cases have.
        workers: Cases read at once; None takes the machine's cores, 8 at most.
        on_start: Called with the number of cases.
        on_case: Called with the id of each case that has been read.

    Raises:
        DataError: When there is no dataset to look at: no folder, no case, an unreadable description.
        ConfigError: When no convention has that name.
    """
    allowed = tuple(get_convention(convention, where="--convention").values) if convention else None
    folder = Path(folder)
    published = check_published(folder)
    if datalist is None and (arrays := array_files(folder)):
        counted = [check_arrays(file) for file in arrays]
        findings = [*published, *(found for _, wrong in counted for found in wrong)]
        n_cases = sum(count for count, _ in counted)
        return Verification(
            name=folder.resolve().name, n_cases=n_cases, n_files=len(arrays), findings=in_order(findings)
        )
    taken = take_inventory(folder, datalist=datalist, modalities=modalities)
    if not taken.cases and not taken.findings:
        msg = f"{taken.source or folder}: lists no case. Nothing to verify: mend the list, or check the path."
        raise DataError(msg)
    if allowed is None:
        allowed = _declared_values(taken)
    on_start(len(taken.cases))

    def read(case: CaseFiles) -> CaseFacts:
        facts = _read_case(case, narrowed=modalities is not None, allowed=allowed, folder=taken.folder)
        on_case(case.case_id)
        return facts

    pool = ThreadPoolExecutor(max_workers=workers or min(_MOST_WORKERS, usable_cores()))
    try:
        facts = list(pool.map(read, taken.cases))
    finally:
        pool.shutdown(cancel_futures=True)
    return Verification(
        name=taken.name,
        n_cases=len(facts),
        n_files=sum(one.n_files for one in facts),
        findings=in_order(
            [
                *published,
                *taken.findings,
                *(found for one in facts for found in one.findings),
                *check_across(taken, facts, asked=convention, allowed=allowed),
            ]
        ),
    )


def _declared_values(taken: Inventory) -> tuple[int, ...] | None:
    if taken.label_convention:
        return tuple(get_convention(taken.label_convention, where=f"{taken.source}: label_convention").values)
    return tuple(taken.labels) if taken.labels else None


def _read_case(case: CaseFiles, *, narrowed: bool, allowed: Sequence[int] | None, folder: Path) -> CaseFacts:
    findings: list[Finding] = []

    def found(check: str, message: str) -> None:
        findings.append(Finding(check=check, case_id=case.case_id, message=message))

    scans, label, values = {}, None, None
    for path in case.scans:
        try:
            scans[path] = read_facts(path)[0]
        except DataError as error:
            found("readable", str(error))
    if case.label:
        try:
            label, values = read_facts(case.label, is_label=True)
        except DataError as error:
            found("readable", str(error))
    grid = next(iter(scans.values()), None)
    n_masks = sum(_read_mask(path, grid, folder, found) for path in case.masks.values())
    for path, facts in scans.items():
        named = sum(other == path for other in case.images.values())
        _check_scan(facts, short_path(path, folder), named, narrowed, found)
    _check_grids(case, [*scans.values(), *([label] if label else [])], folder, found)
    if grid:
        for fault in box_faults(case.facts, grid.shape, grid.affine_ras_mm):
            found("boxes", fault)
    if label:
        _check_label(label, values, short_path(label.path, folder), allowed, found)
    n_files = len(scans) + (label is not None) + n_masks + (case.readings is not None)
    return CaseFacts(case=case, scans=scans, label=label, values=values, n_files=n_files, findings=tuple(findings))


def _read_mask(path: Path, scan: ScanFacts | None, folder: Path, found: Callable[[str, str], None]) -> bool:
    """Whether a structure's mask could be read; an empty one is no fault: the structure is not in the scan."""
    try:
        mask, values = read_facts(path, is_label=True)
    except DataError as error:
        found("readable", str(error))
        return False
    name = short_path(path, folder)
    if values is None or not set(values.tolist()) <= {0, 1}:
        found("label-values", f"{name} is no mask of 0 and 1, it holds {mask.lowest:g} to {mask.highest:g}")
    if scan:
        _compare_grids(mask, scan, folder, found)
    return True


def _check_scan(facts: ScanFacts, name: str, n_named: int, narrowed: bool, found: Callable[[str, str], None]) -> None:
    channels = facts.shape[3] if len(facts.shape) == 4 else 1
    if channels < n_named or (channels > n_named and not narrowed):
        found("modality", f"{name} has {channels} channels, the dataset names {n_named}")
    if facts.not_finite:
        found("not-finite", f"{name} has {facts.not_finite} NaN or infinite voxels")
    elif facts.lowest == facts.highest:
        found("constant", f"{name} is {facts.lowest:g} everywhere")


def _check_grids(case: CaseFiles, files: Sequence[ScanFacts], folder: Path, found: Callable[[str, str], None]) -> None:
    """Each file of a case against the first."""
    for facts in files[1:]:
        _compare_grids(facts, files[0], folder, found)
    if case.label and files and files[-1].path == case.label and len(files[-1].shape) == 4:
        found("grid", f"{short_path(case.label, folder)} has {files[-1].shape[3]} channels; wanted one label map")


def _compare_grids(facts: ScanFacts, first: ScanFacts, folder: Path, found: Callable[[str, str], None]) -> None:
    try:
        check_same_grid(
            facts.shape,
            facts.affine_ras_mm,
            reference_shape=first.shape,
            reference_affine=first.affine_ras_mm,
            where=f"{short_path(facts.path, folder)} against {short_path(first.path, folder)}",
        )
    except DataError as error:
        found("grid", str(error))


def _check_label(
    label: ScanFacts,
    values: npt.NDArray[np.int64] | None,
    name: str,
    allowed: Sequence[int] | None,
    found: Callable[[str, str], None],
) -> None:
    if label.not_finite:
        found("not-finite", f"{name} has {label.not_finite} NaN or infinite voxels")
    if values is None:
        found("label-values", f"{name} holds values that are no whole numbers, {label.lowest:g} to {label.highest:g}")
        return
    stray = [value for value in values.tolist() if value != 0 and (value < 0 or (allowed and value not in allowed))]
    if stray:
        wanted = f"; wanted {listing([0, *(value for value in allowed if value)])}" if allowed else ""
        found("label-values", f"{name} holds {listing(stray)}{wanted}")
    if not values.any():
        found("empty-label", f"{name} has background only")
