"""Finished jobs that are kept elsewhere, such as in a repository: a suite goes on from them without training again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg import __version__
from medseg.benchmark.scoring import read_json
from medseg.benchmark.stages import key_of, print_of
from medseg.bundle.compose import compose
from medseg.errors import ConfigError
from medseg.record import FILE, read, write_text_atomically

if TYPE_CHECKING:
    from medseg.benchmark.job import Job

_EVALUATION = ("cases.csv", "summary.json")
_FACTS = "kept.json"
_RUN = ("git_commit", "versions", "device", "device_name", "wall_s", "peak_memory_mb")


def keep_job(job: Job, folder: Path) -> Path:
    """Copy what a job came to that ended well: its scores, and the facts by which it is known again.

    Args:
        job: The job.
        folder: Where jobs are kept, each in a folder with its name.

    Returns:
        The job's folder there.
    """
    place = folder / job.name
    for name in _EVALUATION:
        text = (job.folder / "evaluation" / name).read_text(encoding="utf-8")
        write_text_atomically(place / name, text)
    run = read(job.folder / "run" / FILE)
    facts = {
        "known_by": _known_by(job),
        "model_print": print_of(job.folder / "run" / "model.pt"),
        "epochs": read(job.folder / "epochs.json").get("epochs") or job.suite.epochs,
        "run": {key: run[key] for key in _RUN if key in run},
        "medseg": __version__,
    }
    write_text_atomically(place / _FACTS, json.dumps(facts, indent=1, default=str) + "\n")
    return place


def is_kept(job: Job, folder: Path) -> bool:
    """Whether the job is kept there."""
    return (folder / job.name / _FACTS).is_file()


def take_kept(job: Job, folder: Path) -> bool:
    """Put the scores of a kept job where those of one that ran here would be.

    Returns:
        Whether it was there. Where the job has begun here, what is kept is left alone.

    Raises:
        ConfigError: When it was made with other cases, another config or another budget than the suite asks for.
    """
    if not is_kept(job, folder) or (job.folder / "train.stage.json").is_file():
        return False
    place = folder / job.name
    then, now = dict(read_json(place / _FACTS)["known_by"]), _known_by(job)
    other = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
    if other:
        msg = f"{place}: made with another {', '.join(other)} than the suite asks for. Take it away to run it again."
        raise ConfigError(msg)
    target = job.folder / "evaluation"
    target.mkdir(parents=True, exist_ok=True)
    for name in _EVALUATION:
        shutil.copyfile(place / name, target / name)
    return True


def _known_by(job: Job) -> dict[str, Any]:
    """What decides the scores, without what a folder's place or a comment changes."""
    entry, suite = job.entry, job.suite
    configs = {name: compose(entry.bundle, name, presets=entry.presets).config for name in ("train", "inference")}
    return {
        "split": job.lists.hashes(),
        "training config": key_of(_switched_on({**configs["train"], **entry.overrides})),
        "inference config": key_of(_switched_on({**configs["inference"], **entry.predict_overrides})),
        "weights": entry.weights,
        "seed": job.seed,
        "budget": {"epochs": suite.epochs, "time_budget_s": suite.time_budget_s},
        "regions": suite.regions,
        "lesion_wise": suite.lesion_wise,
        "calibration": suite.calibration or None,
    }


def _switched_on(config: dict[str, Any]) -> dict[str, Any]:
    """The config without what is null or refers to that: a key that came since, and is off, changes nothing.

    >>> _switched_on({"cache_dir": None, "data": {"cache": "@cache_dir", "n": 1}})
    {'data': {'n': 1}}
    """
    off = {f"@{key}" for key, value in config.items() if value is None}

    def kept(value: Any) -> Any:
        if not isinstance(value, dict):
            return [kept(one) for one in value] if isinstance(value, list) else value
        return {
            key: kept(one)
            for key, one in value.items()
            if one is not None and not (isinstance(one, str) and one in off)
        }

    return dict(kept(config))
