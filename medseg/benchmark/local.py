"""A suite: its data, its jobs, whoever runs them, and the table."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from medseg.benchmark.calibration import check_calibration
from medseg.benchmark.executors import Executor, make_executor, run_all
from medseg.benchmark.heavy import Heavy, Processes
from medseg.benchmark.job import Job, Outcome
from medseg.benchmark.results import write_results
from medseg.benchmark.splitting import folds_of
from medseg.benchmark.stages import run_stage
from medseg.benchmark.suite import Suite
from medseg.bundle.compose import compose
from medseg.bundle.prediction import modalities_of
from medseg.bundle.weights import run_of
from medseg.errors import ConfigError

Said = Callable[[str], None]


def run_suite(
    suite: Suite,
    out: Path,
    *,
    dataset_dir: Path | None = None,
    at_once: int | None = None,
    executor: Executor | None = None,
    kept_in: Path | None = None,
    heavy: Heavy | None = None,
    say: Said = lambda _text: None,
) -> tuple[Path, dict[str, Outcome]]:
    """Run what is not done yet, and write the table.

    Args:
        suite: What to run.
        out: The suite's folder; a suite that was stopped goes on there.
        dataset_dir: The dataset, in place of fetching it.
        at_once: Jobs at a time; None for one on each GPU, or one where there is none.
        executor: Who runs the jobs; threads here when None.
        kept_in: Where jobs that ended well are kept, each as it ends; those that are there are not run again.
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
        jobs = make_jobs(suite, out, folder, kept_in=kept_in)
        chosen = executor or make_executor("local", at_once=at_once, gpus=visible_gpus())
        outcomes = run_all(jobs, heavy or Processes(), executor=chosen, folder=out.resolve(), say=say)
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


def make_jobs(suite: Suite, out: Path, dataset_dir: Path, *, kept_in: Path | None = None) -> list[Job]:
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
                        kept_in=kept_in.resolve() if kept_in else None,
                    )
                )
    for job in jobs if suite.calibration else ():
        check_calibration(job)
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
