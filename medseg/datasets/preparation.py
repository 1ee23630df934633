"""A dataset with boxes made ready to train on: every scan turned and resampled once, in parallel, and a datalist.

What is done is noted scan by scan in `preparation.jsonl`. A second run leaves alone what is there and was made from the
same files with the same voxel size; so an interrupted run goes on, and a changed scan is made anew.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import filelock

from medseg import __version__
from medseg.datasets.boxed import boxes_of_entry
from medseg.datasets.inventory import CaseFiles, Inventory
from medseg.datasets.layouts import take_inventory
from medseg.datasets.part import gigabytes
from medseg.datasets.prepared_scan import LUNA16_SPACING_MM
from medseg.datasets.scan_workers import Outcome, Task, fingerprint, run_tasks
from medseg.datasets.splits import datalist_of, refuse_lost_boxes, split_cases, write_datalist
from medseg.errors import ConfigError, DataError
from medseg.kernels.resample import Triple
from medseg.record import usable_cores
from medseg.volumes import read_geometry, spacing_from_affine, volume_stem

JOURNAL = "preparation.jsonl"
_IMAGES = "images"
_DESCRIBING = ("datalist.json", "dataset.json", "dataset.yaml", "annotations.csv")
_PLAIN, _PACKED = ".nii", ".nii.gz"
_VERSION = 1  # raised when the same scan would be made differently
_MOST_WORKERS = 16  # each holds a scan and its copy, half a gigabyte
_COMPRESSED_SHARE = 0.55  # of a CT


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What a run did.

    Attributes:
        datalist: The file that lists what is ready; None when nothing is.
        made: Scans made now.
        kept: Scans that were there.
        failed: Why, by case id.
    """

    datalist: Path | None
    made: tuple[Outcome, ...]
    kept: int
    failed: Mapping[str, str]


def prepare_dataset(
    folder: str | Path,
    out_dir: str | Path,
    *,
    spacing_mm: Triple = LUNA16_SPACING_MM,
    compress: bool = False,
    workers: int | None = None,
    on_start: Callable[[int, int], object] = lambda _todo, _kept: None,
    on_scan: Callable[[Outcome], object] = lambda _outcome: None,
) -> Preparation:
    """Prepare every scan of a dataset, and write a datalist with folds and boxes.

    Args:
        folder: LUNA16's folder, or any whose datalist has boxes.
        out_dir: Folder for `images/`, `datalist.json` and the journal. A second process is refused while one works.
        spacing_mm: Voxel size along right, front and up.
        compress: Write .nii.gz: about half the size, several times slower to write, twice as slow to read.
        workers: Processes; None takes the machine's cores, 16 at most; 1 works in this process.
        on_start: Called with the numbers of scans to make and of those that are there.
        on_scan: Called with each scan that was tried.

    Raises:
        DataError: When there is no dataset with boxes, the folder to write to holds something else or is in use, or the
            disk is too small.
        ConfigError: When voxel size or workers are not positive.
    """
    _check_arguments(spacing_mm, workers)
    taken, out = take_inventory(folder), Path(out_dir)
    _check_inventory(taken)
    refuse_lost_boxes(taken)
    _check_out(taken, out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(out / ".preparation.lock", timeout=0):
            return _prepare(taken, out, spacing_mm, compress, workers or _default_workers(), on_start, on_scan)
    except filelock.Timeout:
        msg = f"{out}: another process is preparing scans there. Wait for it, or choose another folder."
        raise DataError(msg) from None
    except PermissionError as error:
        msg = f"{error.filename or out}: {error.strerror}. Choose another folder with -o, or mend this one."
        raise DataError(msg) from error


def _prepare(
    taken: Inventory,
    out: Path,
    spacing_mm: Triple,
    compress: bool,
    workers: int,
    on_start: Callable[[int, int], object],
    on_scan: Callable[[Outcome], object],
) -> Preparation:
    _sweep(out / _IMAGES)
    settings = {"version": _VERSION, "spacing_mm": list(spacing_mm)}
    tasks = [_task(case, out, spacing_mm, compress) for case in taken.cases]
    journal = _read_journal(out / JOURNAL)
    todo = [task for task in tasks if not _is_done(task, journal.get(task.case_id), settings)]
    _check_space(todo, out, share=_COMPRESSED_SHARE if compress else 1.0)
    on_start(len(todo), len(tasks) - len(todo))
    outcomes: dict[str, Outcome] = {}

    def take(outcome: Outcome) -> None:
        outcomes[outcome.case_id] = outcome
        if outcome.done:
            _note(out / JOURNAL, outcome, settings)
            _drop_other(outcome.target)
        on_scan(outcome)

    run_tasks(todo, workers=min(workers, len(todo)), take=take)
    failed = {outcome.case_id: outcome.error for outcome in outcomes.values() if not outcome.done}
    ready = {task.case_id: task.target for task in tasks if task.case_id not in failed}
    return Preparation(
        datalist=_write_list(taken, out, ready, spacing_mm) if ready else None,
        made=tuple(outcome for outcome in outcomes.values() if outcome.done),
        kept=len(tasks) - len(todo),
        failed=dict(sorted(failed.items())),
    )


def _default_workers() -> int:
    return min(_MOST_WORKERS, usable_cores())


def _check_arguments(spacing_mm: Sequence[float], workers: int | None) -> None:
    if len(spacing_mm) != 3 or not all(math.isfinite(size) and 0.05 <= size <= 50 for size in spacing_mm):
        msg = f"--spacing: {','.join(f'{size:g}' for size in spacing_mm)} is not three voxel sizes of 0.05 to 50 mm."
        raise ConfigError(msg)
    if workers is not None and workers < 1:
        msg = f"--workers: {workers} processes do no work. Wanted 1 or more."
        raise ConfigError(msg)


def _check_inventory(taken: Inventory) -> None:
    """Every case has boxes, one image and a name of its own that a file can have."""
    seen: set[str] = set()
    for case in taken.cases:
        where = f"{taken.folder}: case {case.case_id}"
        if "box_ras_mm" not in case.facts:
            msg = f"{where} has no boxes. Preparation is for detection: LUNA16, or a datalist with box_ras_mm."
            raise DataError(msg)
        boxes_of_entry(case.facts, where=where)
        if len(case.scans) != 1:
            msg = f"{where} has {len(case.scans)} images. Wanted one."
            raise DataError(msg)
        if case.case_id in seen or Path(case.case_id).name != case.case_id or case.case_id.startswith("."):
            why = "comes twice" if case.case_id in seen else "is no name for a file"
            msg = f"{where}: the id {why}. Run medseg data verify, and rename it."
            raise DataError(msg)
        seen.add(case.case_id)
    if not seen:
        msg = f"{taken.folder}: no scans to prepare. Run medseg data verify."
        raise DataError(msg)


def _check_out(taken: Inventory, out: Path) -> None:
    if out.resolve() == taken.folder.resolve():
        msg = f"{out}: the scans themselves are there. Choose another folder with -o."
        raise DataError(msg)
    if out.exists() and not out.is_dir():
        msg = f"{out}: is a file. Choose a folder with -o."
        raise DataError(msg)
    if not out.exists() or (out / JOURNAL).exists():
        return
    for entry in sorted(out.iterdir()):
        if entry.name in _DESCRIBING or (entry.is_dir() and entry.name != _IMAGES and entry.name[0] != "."):
            msg = f"{out}: holds another's {entry.name}. Choose another folder with -o."
            raise DataError(msg)


def _check_space(todo: Iterable[Task], out: Path, *, share: float) -> None:
    """Refuse before the first scan what will not fit; scans that cannot be read are told later, by themselves."""
    needed = 0.0
    for task in todo:
        with suppress(DataError):
            shape, affine = read_geometry(task.source)
            volume_mm3 = math.prod(shape[:3]) * math.prod(spacing_from_affine(affine))
            needed += volume_mm3 / math.prod(task.spacing_mm) * 2 * share  # int16
    free = shutil.disk_usage(out).free
    if needed > free:
        msg = (
            f"{out}: about {gigabytes(int(needed))} are needed, {gigabytes(free)} are free. Free space, or --compress."
        )
        raise DataError(msg)


def _task(case: CaseFiles, out: Path, spacing_mm: Triple, compress: bool) -> Task:
    target = out / _IMAGES / f"{case.case_id}{_PACKED if compress else _PLAIN}"
    return Task(case_id=case.case_id, source=case.scans[0], target=target, spacing_mm=spacing_mm)


def _is_done(task: Task, record: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> bool:
    """Whether the target is there as noted, and was made from these files with these settings."""
    if record is None or any(record.get(key) != value for key, value in settings.items()):
        return False
    try:
        same_target = record.get("target") == [task.target.name, task.target.stat().st_size]
        return same_target and record.get("source") == fingerprint(task.source)
    except (OSError, DataError):
        return False


def _read_journal(file: Path) -> dict[str, dict[str, Any]]:
    """The last note of each scan; a line that was cut short by a power failure counts for nothing."""
    records: dict[str, dict[str, Any]] = {}
    if not file.is_file():
        return records
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict):
                records[str(record.get("case_id"))] = record
    return records


def _note(file: Path, outcome: Outcome, settings: Mapping[str, Any]) -> None:
    """Add a line to the journal; a torn line before it is closed first."""
    record = {
        "case_id": outcome.case_id,
        **settings,
        "source": outcome.source,
        "target": [outcome.target.name, outcome.n_bytes],
        "shape": outcome.shape,
        "seconds": round(outcome.seconds, 3),
    }
    try:
        with file.open("ab+") as lines:
            if lines.tell():
                lines.seek(-1, 2)
                if lines.read(1) != b"\n":
                    lines.write(b"\n")
            lines.write(f"{json.dumps(record)}\n".encode())
    except OSError as error:
        msg = f"{file}: could not be written ({error.strerror or error}). Free space or choose another folder."
        raise DataError(msg) from error


def _write_list(taken: Inventory, out: Path, ready: Mapping[str, Path], spacing_mm: Triple) -> Path:
    """The datalist of what is ready, in the folds that all cases have."""
    cases = tuple(
        replace(case, images=dict.fromkeys(case.images, ready[case.case_id]))
        for case in taken.cases
        if case.case_id in ready
    )
    listed = replace(taken, folder=out, source=None, cases=cases, findings=())
    content = {
        **datalist_of(listed, split_cases(taken, few_will_do=True)),
        "preparation": {"spacing_mm": list(spacing_mm), "orientation": "RAS", "medseg": __version__},
    }
    write_datalist(out / "datalist.json", content, force=True)
    return out / "datalist.json"


def _drop_other(target: Path) -> None:
    """Remove the scan's file of an earlier run with the other compression."""
    stem = volume_stem(target)
    for suffix in (_PLAIN, _PACKED):
        other = target.with_name(f"{stem}{suffix}")
        if other != target:
            other.unlink(missing_ok=True)


def _sweep(images: Path) -> None:
    """Remove what a killed run left half-written; the lock says that nobody writes now."""
    for path in images.glob(".*.tmp.*"):
        path.unlink(missing_ok=True)
