"""Who runs a suite's jobs: threads on this machine, Ray, or Slurm through submitit. The jobs are the same.

Every job goes on from what its folder holds, so an executor may start one again. Ray and Slurm need a file system that
all machines share.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from medseg.benchmark.heavy import Heavy
from medseg.benchmark.job import Job, Outcome, lose_job, run_job
from medseg.bundle.find import find_bundle, find_preset
from medseg.errors import ConfigError, MedsegError
from medseg.record import usable_cores

Said = Callable[[str], None]
Ended = Iterator[tuple[Job, "Outcome | Refused | Exception"]]
_POLL_S = 1.0


@dataclass(frozen=True)
class Refused:
    """What a job could not be for, as it comes back from another process."""

    message: str


class Executor(Protocol):
    """Runs jobs and hands back each as it ends: its outcome, a refusal, or the error that the machinery had."""

    def run(self, jobs: Sequence[Job], heavy: Heavy, *, folder: Path, say: Said) -> Ended:
        """Start the jobs; `folder` may hold what the executor itself writes."""
        ...


def run_all(jobs: Sequence[Job], heavy: Heavy, *, executor: Executor, folder: Path, say: Said) -> dict[str, Outcome]:
    """By the job's name, how it ended. A job whose process died loses its fold and stops none of the others.

    Raises:
        ConfigError: When a job was refused: a tested case was learnt from or chose the weights.
    """
    outcomes: dict[str, Outcome] = {}
    for job, ended in executor.run(jobs, heavy, folder=folder, say=say):
        if isinstance(ended, Refused):
            raise ConfigError(ended.message)
        if isinstance(ended, MedsegError):
            raise ended
        if isinstance(ended, Exception):
            ended = lose_job(job, f"its process ended: {_first_line(ended)}")
        outcomes[job.name] = ended
        say(f"{job.name}: {ended.problem or 'done'}")
    return outcomes


def run_guarded(job: Job, heavy: Heavy) -> Outcome | Refused:
    """Run a job in another process: what a user can mend comes back as a value, since not every error can be sent."""
    try:
        return run_job(job, heavy)
    except MedsegError as error:
        return Refused(str(error))


@dataclass(frozen=True, kw_only=True)
class Local:
    """Threads here, each with its share of the cores and a GPU of its own.

    Attributes:
        slots: The environment of each job that runs at a time.
    """

    slots: tuple[Mapping[str, str], ...]

    def run(self, jobs: Sequence[Job], heavy: Heavy, *, folder: Path, say: Said) -> Ended:
        """Run them, as many at a time as there are slots."""
        del folder
        free: SimpleQueue[Mapping[str, str]] = SimpleQueue()
        for slot in self.slots:
            free.put(slot)

        def run(job: Job) -> Outcome:
            slot = free.get()
            try:
                say(f"{job.name}: begins")
                return run_job(replace(job, environment=slot), heavy)
            finally:
                free.put(slot)

        pool = ThreadPoolExecutor(len(self.slots))
        try:
            futures = {pool.submit(run, job): job for job in jobs}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, kw_only=True)
class Ray:
    """Tasks of a Ray cluster, or of one that is started here.

    Attributes:
        at_once: Jobs at a time on the whole cluster; None for one on each GPU, or one where there is none.
        options: `address` of the cluster; `num_cpus` and `num_gpus` of a job.
    """

    at_once: int | None
    options: Mapping[str, Any]

    def run(self, jobs: Sequence[Job], heavy: Heavy, *, folder: Path, say: Said) -> Ended:
        """Submit them all; Ray starts them as its cores and GPUs become free, and once more when a machine is lost."""
        del folder
        ray = _imported("ray", "ray")
        _known(self.options, ("address", "num_cpus", "num_gpus"), "ray")
        with _cluster(ray, self.options.get("address")):
            asks = self._asks(ray.cluster_resources())
            task = ray.remote(max_retries=1, **asks)(run_guarded)
            waiting = {task.remote(_placed(job), heavy): job for job in jobs}
            say(f"ray: {len(waiting)} jobs, each with {asks}")
            while waiting:
                done, _ = ray.wait(list(waiting), num_returns=1)
                yield waiting.pop(done[0]), _result(lambda: ray.get(done[0]))  # noqa: B023  called at once

    def _asks(self, whole: Mapping[str, float]) -> dict[str, float]:
        """Cores and GPUs of each job: a GPU where there are some, the cores shared among the jobs at a time."""
        gpus = whole.get("GPU", 0.0)
        count = self.at_once or max(1, int(gpus))
        asks = {"num_cpus": max(1.0, whole.get("CPU", 1.0) // count), "num_gpus": min(1.0, gpus / count)}
        return {name: float(self.options.get(name, value)) for name, value in asks.items()}


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """Jobs of a Slurm cluster, through submitit; its `local` and `debug` clusters need none.

    Attributes:
        at_once: Jobs at a time; None for as many as the cluster gives.
        options: submitit's parameters, such as `slurm_partition`, `timeout_min`, `gpus_per_node`, `cpus_per_task`; and
            `cluster`.
    """

    at_once: int | None
    options: Mapping[str, Any]

    def run(self, jobs: Sequence[Job], heavy: Heavy, *, folder: Path, say: Said) -> Ended:
        """Submit them all; a job that runs into its time limit, or is preempted, is submitted again and goes on."""
        submitit = _imported("submitit", "slurm")
        options = dict(self.options)
        executor = submitit.AutoExecutor(folder=folder / "slurm", cluster=options.pop("cluster", "slurm"))
        defaults: dict[str, Any] = {"name": "medseg", "timeout_min": 24 * 60}
        if self.at_once is not None:
            defaults["slurm_array_parallelism"] = self.at_once
        try:
            executor.update_parameters(**defaults | options)
        except (NameError, TypeError, ValueError) as error:
            msg = f"--executor-option: submitit refuses it: {_first_line(error)}"
            raise ConfigError(msg) from error
        with executor.batch():
            waiting = [(executor.submit(_task(submitit), _placed(job), heavy), job) for job in jobs]
        say(f"slurm: {len(waiting)} jobs, logs in {folder / 'slurm'}")
        by_id = {id(handle): job for handle, job in waiting}
        for handle in submitit.helpers.as_completed([handle for handle, _ in waiting], poll_frequency=_POLL_S):
            yield by_id[id(handle)], _result(handle.result)


def _task(submitit: Any) -> Any:
    """`run_guarded` as submitit wants it: a job that is stopped is submitted again as it was."""

    class Task(submitit.helpers.Checkpointable):  # type: ignore[misc]
        def __call__(self, job: Job, heavy: Heavy) -> Outcome | Refused:
            return run_guarded(job, heavy)

    return Task()


EXECUTORS = ("local", "ray", "slurm")


def make_executor(
    name: str, *, at_once: int | None = None, options: Mapping[str, Any] | None = None, gpus: Sequence[str] = ()
) -> Executor:
    """The executor of that name.

    Args:
        name: One of `EXECUTORS`.
        at_once: Jobs at a time; None leaves it to the executor.
        options: Of Ray or submitit.
        gpus: Ids of this machine's GPUs.

    Raises:
        ConfigError: When there is none, or it takes no such option.
    """
    if name == "ray":
        return Ray(at_once=at_once, options=options or {})
    if name == "slurm":
        return Slurm(at_once=at_once, options=options or {})
    if name != "local":
        msg = f"--executor: {name!r} is none. Known: {', '.join(EXECUTORS)}."
        raise ConfigError(msg)
    _known(options or {}, (), "local")
    return Local(slots=tuple(_slots(gpus, at_once)))


def _slots(gpus: Sequence[str], at_once: int | None) -> Iterator[dict[str, str]]:
    count = at_once or max(1, len(gpus))
    threads = str(max(1, usable_cores() // count))
    for number in range(count):
        slot = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}
        if count > 1 and "OMP_NUM_THREADS" not in os.environ:
            slot["OMP_NUM_THREADS"] = threads
        yield slot


def _placed(job: Job) -> Job:
    """The job with the paths of its bundle and presets, which another machine may not find by name."""
    presets = tuple(str(find_preset(name)) for name in job.entry.presets)
    return replace(job, entry=replace(job.entry, bundle=str(find_bundle(job.entry.bundle)), presets=presets))


def _result(get: Callable[[], Any]) -> Outcome | Refused | Exception:
    try:
        found: Outcome | Refused = get()
    except Exception as error:
        return error
    return found


@contextmanager
def _cluster(ray: Any, address: str | None) -> Iterator[None]:
    ours = not ray.is_initialized()
    if ours:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        yield
    finally:
        if ours:
            ray.shutdown()


def _imported(module: str, extra: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        msg = f"--executor {extra} needs {module}: pip install 'medseg[{extra}]'"
        raise ConfigError(msg) from None


def _known(options: Mapping[str, Any], known: Sequence[str], executor: str) -> None:
    for name in options:
        if name not in known:
            msg = f"--executor-option: {executor} takes no {name!r}. Known: {', '.join(known) or 'none'}."
            raise ConfigError(msg)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
