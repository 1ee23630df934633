"""A suite on this machine: every job in turn, or several at a time over its GPUs or cores."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

from filelock import FileLock, Timeout

from medseg.benchmark.heavy import Heavy, Processes
from medseg.benchmark.job import Job, Outcome, run_job
from medseg.benchmark.results import write_results
from medseg.benchmark.splitting import folds_of
from medseg.benchmark.stages import run_stage
from medseg.benchmark.suite import Suite
from medseg.bundle.compose import compose
from medseg.bundle.prediction import modalities_of
from medseg.bundle.weights import run_of
from medseg.errors import ConfigError
from medseg.record import usable_cores

Said = Callable[[str], None]


def run_suite(
    suite: Suite,
    out: Path,
    *,
    dataset_dir: Path | None = None,
    at_once: int | None = None,
    heavy: Heavy | None = None,
    say: Said = lambda _text: None,
) -> tuple[Path, dict[str, Outcome]]:
    """Run what is not done yet, and write the table.

    Args:
        suite: What to run.
        out: The suite's folder; a suite that was stopped goes on there.
        dataset_dir: The dataset, in place of fetching it.
        at_once: Jobs at a time; None for one on each GPU, or one where there is none.
        heavy: Who trains and predicts.
        say: Told what happens, a line each.

    Returns:
        The table, and by the job's name how it ended.

    Raises:
        ConfigError: When the suite cannot be, or would select on its test cases.
        DataError: When the data cannot be had or scored.
    """
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        msg = f"{out}: another process runs a suite here. Wait for it, or give another folder with -o."
        raise ConfigError(msg) from None
    try:
        folder = fetch(suite, out, given=dataset_dir, say=say)
        jobs = make_jobs(suite, out, folder)
        gpus = visible_gpus()
        outcomes = _run_all(jobs, heavy or Processes(), slots=_slots(gpus, at_once), say=say)
        return write_results(out, jobs, outcomes), outcomes
    finally:
        lock.release()


def fetch(suite: Suite, out: Path, *, given: Path | None, say: Said) -> Path:
    """The dataset's folder: the one given, the suite's, a phantom made here, or a public dataset fetched once.

    Raises:
        ConfigError: When there is no such folder, dataset or phantom.
    """
    told = dict(suite.dataset)
    folder = given or (Path(str(told["folder"])).expanduser() if "folder" in told else None)
    if folder is not None:
        if not folder.is_dir():
            msg = f"{suite.source}: dataset: {folder} is no folder. Check the path, or give --dataset-dir."
            raise ConfigError(msg)
        return folder.resolve()
    if "phantom" in told:
        return _make_phantoms(suite, out, say=say)
    from medseg.datasets.download import get_dataset
    from medseg.datasets.registry import get_spec

    say(f"data: {told['name']}")
    return get_dataset(get_spec(str(told["name"]))).resolve()


def _make_phantoms(suite: Suite, out: Path, *, say: Said) -> Path:
    from medseg.datasets.phantoms import PHANTOMS

    told = {key: value for key, value in suite.dataset.items() if key != "datalist"}
    kind = str(told.pop("phantom"))
    if kind not in PHANTOMS:
        msg = f"{suite.source}: dataset: no phantoms are called {kind!r}. Known: {', '.join(PHANTOMS)}."
        raise ConfigError(msg)
    data = out / "data"

    def make() -> None:
        say(f"data: {told.get('cases', 10)} {kind} phantoms")
        PHANTOMS[kind](data, **{"cases": 10, **told}, force=True)

    run_stage(out, "data", inputs={"phantom": kind, **told}, outputs=["data"], work=make)
    return data.resolve()


def make_jobs(suite: Suite, out: Path, dataset_dir: Path) -> list[Job]:
    """Every contestant, fold and seed, checked before any of them runs.

    Raises:
        ConfigError: When a bundle, a preset or a fold cannot be, or a tested case would choose weights.
    """
    jobs = []
    for entry in suite.entries:
        workflow = "train" if entry.weights is None else "inference"
        overrides = entry.overrides if entry.weights is None else entry.predict_overrides
        given = Path(entry.weights) if entry.weights not in (None, "own") else None
        composition = compose(entry.bundle, workflow, presets=entry.presets, run=run_of(given))
        for key, value in overrides.items():
            composition = composition.with_token(f"{key}={value}")
        modalities = tuple(modalities_of(composition))
        for lists in folds_of(suite, dataset_dir, modalities=modalities):
            for seed in suite.seeds:
                folder = (out / "jobs" / f"{entry.name}-fold{lists.fold}-seed{seed}").resolve()
                jobs.append(
                    Job(
                        suite=suite,
                        entry=entry,
                        lists=lists,
                        seed=seed,
                        folder=folder,
                        dataset_dir=dataset_dir,
                        modalities=modalities,
                        environment={},
                    )
                )
    return jobs


def visible_gpus() -> list[str]:
    """Ids of the GPUs that this process may use, without torch."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [name.strip() for name in told.split(",") if name.strip() not in ("", "-1")]
    if not shutil.which("nvidia-smi"):
        return []
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(number) for number, line in enumerate(listed.splitlines()) if line.startswith("GPU ")]


def _slots(gpus: Sequence[str], at_once: int | None) -> list[dict[str, str]]:
    """The environment of each job that runs at a time."""
    count = at_once or max(1, len(gpus))
    threads = str(max(1, usable_cores() // count))
    slots: list[dict[str, str]] = []
    for number in range(count):
        slot = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}
        if count > 1 and "OMP_NUM_THREADS" not in os.environ:
            slot["OMP_NUM_THREADS"] = threads
        slots.append(slot)
    return slots


def _run_all(jobs: Sequence[Job], heavy: Heavy, *, slots: list[dict[str, str]], say: Said) -> dict[str, Outcome]:
    free: SimpleQueue[dict[str, str]] = SimpleQueue()
    for slot in slots:
        free.put(slot)

    def run(job: Job) -> Outcome:
        slot = free.get()
        try:
            say(f"{job.name}: begins")
            return run_job(_in(job, slot), heavy)
        finally:
            free.put(slot)

    pool = ThreadPoolExecutor(len(slots))
    outcomes: dict[str, Outcome] = {}
    try:
        futures = {pool.submit(run, job): job for job in jobs}
        for future in as_completed(futures):
            job, outcome = futures[future], future.result()
            outcomes[job.name] = outcome
            say(f"{job.name}: {outcome.problem or 'done'}")
    finally:
        pool.shutdown(cancel_futures=True)
    return outcomes


def _in(job: Job, slot: dict[str, str]) -> Job:
    return replace(job, environment=slot)
