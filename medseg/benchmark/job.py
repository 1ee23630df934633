"""One contestant on one fold with one seed: train, predict, evaluate, each stage once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg import __version__
from medseg.benchmark.calibration import SWITCH
from medseg.benchmark.heavy import Heavy, StageError, Work
from medseg.benchmark.kept import keep_job, take_kept
from medseg.benchmark.scoring import score_detections, score_segmentations
from medseg.benchmark.splitting import FoldLists, check_unseen
from medseg.benchmark.stages import print_of, prints_of, run_stage
from medseg.benchmark.suite import Entry, Suite
from medseg.bundle.find import find_bundle, find_preset
from medseg.bundle.split_record import read_split
from medseg.datasets.datalist import case_id_of, select_items
from medseg.errors import ConfigError
from medseg.record import write_text_atomically


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training and its test.

    Attributes:
        suite: The suite.
        entry: The contestant.
        lists: The fold's cases.
        seed: Of the training.
        folder: Where it all goes.
        dataset_dir: The dataset's folder.
        modalities: What the bundle reads.
        environment: Of its processes: cores, GPU.
        kept_in: Where finished jobs are kept, None without.
    """

    suite: Suite
    entry: Entry
    lists: FoldLists
    seed: int
    folder: Path
    dataset_dir: Path
    modalities: tuple[str, ...]
    environment: Mapping[str, str]
    kept_in: Path | None = None

    @property
    def name(self) -> str:
        """Entry, fold and seed."""
        return f"{self.entry.name}-fold{self.lists.fold}-seed{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job ended.

    Attributes:
        failed: By case, why it has no prediction; all of them when the training failed.
        problem: Why the training failed, None when it did not.
        unverified: Whether nothing says which cases its weights have seen.
    """

    failed: dict[str, str]
    problem: str | None = None
    unverified: bool = False


def run_job(job: Job, heavy: Heavy) -> Outcome:
    """Run what is not done yet, and keep what ended well where jobs are kept.

    A training that fails loses its fold: its cases count as the worst. A case whose prediction fails counts as the
    worst. Both are tried again when the suite is started again.

    Raises:
        ConfigError: When a tested case was learnt from or chose the weights.
    """
    if job.kept_in and take_kept(job, job.kept_in):
        return Outcome(failed={})
    outcome = _run(job, heavy)
    if job.kept_in and not (outcome.problem or outcome.failed or outcome.unverified):
        keep_job(job, job.kept_in)
    return outcome


def _run(job: Job, heavy: Heavy) -> Outcome:
    job.folder.mkdir(parents=True, exist_ok=True)
    datalist = job.folder / "datalist.json"
    write_text_atomically(datalist, json.dumps(job.lists.datalist(), indent=1) + "\n")
    problem, unverified, weights = None, False, job.folder / "run"
    try:
        if job.entry.weights is None:
            _train(job, heavy, datalist)
        else:
            weights, unverified = _given_weights(job)
        failed = _predict(job, heavy, weights)
    except StageError as error:
        problem = str(error)
        failed = dict.fromkeys(job.lists.ids("test"), problem)
    _evaluate(job, job.folder / ("predictions" if problem is None else "no_predictions"))
    return Outcome(failed=failed, problem=problem, unverified=unverified)


def lose_job(job: Job, problem: str) -> Outcome:
    """The outcome of a job whose process died: its cases are scored as the worst, until it is tried again."""
    _evaluate(job, job.folder / "no_predictions")
    return Outcome(failed=dict.fromkeys(job.lists.ids("test"), problem), problem=problem)


def _train(job: Job, heavy: Heavy, datalist: Path) -> None:
    overrides = {
        **job.entry.overrides,
        "dataset_dir": str(job.dataset_dir.absolute()),
        "datalist": str(datalist.absolute()),
    }
    work = Work(
        verb="train",
        folder=str(job.folder),
        bundle=str(find_bundle(job.entry.bundle)),
        presets=tuple(str(find_preset(name)) for name in job.entry.presets),
        overrides=_tokens({**overrides, "seed": job.seed}),
        epochs=job.suite.epochs,
        time_budget_s=job.suite.time_budget_s,
        environment=job.environment,
    )
    inputs = {
        **_contents(job),
        "overrides": dict(job.entry.overrides),
        "seed": job.seed,
        "epochs": job.suite.epochs,
        "time_budget_s": job.suite.time_budget_s,
        "split": {name: job.lists.hashes()[name] for name in ("training", "selection")},
        "data": _data_prints(job, "training") | _data_prints(job, "selection"),
    }

    def train() -> None:
        heavy.train(work)
        _check_run(job)

    run_stage(job.folder, "train", inputs=inputs, outputs=["run", "probe", "epochs.json", "train.log"], work=train)


def _check_run(job: Job) -> None:
    """Refuse a run that learnt from, or chose its weights by, other cases than the suite gave it."""
    seen = read_split(job.folder / "run")
    if seen is None:
        msg = f"{job.folder / 'run'}: the run does not say which cases it learnt from, so its test proves nothing. "
        msg += "Its bundle must list them at train::dataset::data and validate::dataset::data."
        raise ConfigError(msg)
    check_unseen(job.lists.ids("test"), seen, where=str(job.folder / "run"))
    for name, list_ in (("training", "training"), ("validation", "selection")):
        if seen.get(name) != job.lists.ids(list_):
            msg = f"{job.folder / 'run'}: its {name} cases are not those that the suite gave it. "
            msg += "The bundle must take them from datalist, which the suite sets."
            raise ConfigError(msg)


def _given_weights(job: Job) -> tuple[Path, bool]:
    """The weights that an entry comes with, and whether nothing says what they have seen."""
    root = find_bundle(job.entry.bundle)
    given = root / "models" if job.entry.weights == "own" else Path(str(job.entry.weights)).expanduser()
    folder = given if given.is_dir() else given.parent
    seen = read_split(folder)
    if seen is not None:
        check_unseen(job.lists.ids("test"), seen, where=str(given))
    return given, seen is None


def _predict(job: Job, heavy: Heavy, weights: Path) -> dict[str, str]:
    own = job.entry.weights == "own"
    overrides = {**job.entry.predict_overrides, **({SWITCH: True} if job.suite.calibration else {})}
    items = select_items(
        {**job.lists.told, "training": [_unlabelled(entry) for entry in job.lists.test]},
        dataset_dir=job.dataset_dir,
        modalities=job.modalities,
        section="all",
    )
    work = Work(
        verb="predict",
        folder=str(job.folder),
        bundle=str(find_bundle(job.entry.bundle)),
        presets=tuple(str(find_preset(name)) for name in job.entry.presets),
        overrides=_tokens(overrides),
        weights=None if own else str(weights),
        items=tuple(_one_path(item) for item in items),
        environment=job.environment,
    )
    inputs = {
        **_contents(job),
        "overrides": {**job.entry.overrides, **overrides},
        "weights": _weights_print(weights),
        "test": job.lists.hashes()["test"],
        "data": _data_prints(job, "test", labels=False),
    }

    def predict() -> dict[str, Any]:
        failed = heavy.predict(work)
        return {"failed": failed, "again": bool(failed)}

    facts = run_stage(job.folder, "predict", inputs=inputs, outputs=["predictions", "predict.log"], work=predict)
    return dict(facts["failed"])


def _evaluate(job: Job, predictions: Path) -> None:
    suite, files = job.suite, _prediction_files(job, predictions)
    inputs = {
        "medseg": __version__,
        "task": suite.task,
        "regions": suite.regions,
        "lesion_wise": suite.lesion_wise,
        "test": job.lists.hashes()["test"],
        "predictions": {path.relative_to(job.folder).as_posix(): print_of(path) for path in files},
        "data": _data_prints(job, "test"),
    }
    score = score_segmentations if suite.task == "segmentation" else score_detections

    def evaluate() -> None:
        score(
            predictions,
            [job.lists],
            suite=suite,
            dataset_dir=job.dataset_dir,
            out_dir=job.folder / "evaluation",
        )

    run_stage(job.folder, "evaluate", inputs=inputs, outputs=["evaluation"], work=evaluate)


def _prediction_files(job: Job, folder: Path) -> list[Path]:
    names = [f"{case}.nii.gz" for case in job.lists.ids("test")]
    names += [f"probabilities/{name}" for name in names] if job.suite.calibration else []
    if job.suite.task == "detection":
        names = [f"{case}/detections.json" for case in job.lists.ids("test")]
    return [folder / name for name in names]


def _contents(job: Job) -> dict[str, Any]:
    """What of the bundle and the presets decides a result."""
    root = find_bundle(job.entry.bundle)
    files = sorted(path for path in (root / "configs").rglob("*") if path.is_file())
    presets = [find_preset(name) for name in job.entry.presets]
    return {
        "medseg": __version__,
        "bundle": prints_of(files, under=root),
        "presets": [print_of(path) for path in presets],
    }


def _data_prints(job: Job, name: str, *, labels: bool = True) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in getattr(job.lists, name):
        images = entry["image"] if isinstance(entry["image"], list) else [entry["image"]]
        paths = [*images, *([entry["label"]] if labels and entry.get("label") else [])]
        found |= prints_of([job.dataset_dir / str(path) for path in paths], under=job.dataset_dir)
        if labels and "box_ras_mm" in entry:
            found[f"boxes of {case_id_of(entry)}"] = json.dumps(entry["box_ras_mm"])
    return found


def _weights_print(weights: Path) -> str:
    names = ("model.safetensors", "model.pt", "checkpoints/best.pt", "checkpoints/last.pt")
    found = weights if weights.is_file() else next((weights / n for n in names if (weights / n).is_file()), None)
    return print_of(found) if found else ""


def _one_path(item: Mapping[str, Any]) -> dict[str, Any]:
    image = item["image"]
    return {**item, "image": image[0] if isinstance(image, list) and len(image) == 1 else image}


def _unlabelled(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key in ("case_id", "image", "channels")}


def _tokens(values: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items())
