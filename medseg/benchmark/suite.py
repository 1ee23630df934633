"""A suite file: what is benchmarked on what, read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medseg.benchmark.scores import known_metrics
from medseg.bundle.documents import read_document
from medseg.bundle.find import list_suites, nearest
from medseg.errors import ConfigError

Task = Literal["segmentation", "detection"]

_TOP = [
    "name",
    "task",
    "dataset",
    "folds",
    "selection",
    "seeds",
    "regions",
    "metrics",
    "lesion_wise",
    "calibration",
    "budget",
    "entries",
    "anchors",
]
_ENTRY = ["name", "bundle", "presets", "overrides", "predict_overrides", "weights"]
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A contestant.

    Attributes:
        name: How it is called in the table; also a folder's name.
        bundle: Name or path of its bundle.
        presets: Presets of its training and prediction.
        overrides: `KEY=VALUE` of its training.
        predict_overrides: `KEY=VALUE` of its prediction.
        weights: Weights that it comes with, in place of training; `own` for those of the bundle.
    """

    name: str
    bundle: str
    presets: tuple[str, ...] = ()
    overrides: Mapping[str, Any]
    predict_overrides: Mapping[str, Any]
    weights: str | None = None


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A benchmark.

    Attributes:
        name: Of the suite.
        task: What is scored.
        dataset: `name` of a public dataset, `folder`, or `phantom` with its settings; and `datalist`.
        fold_count: How many folds are dealt; None for the dataset's own.
        fold_seed: Of the dealing.
        folds: Folds that are tested on, None for all.
        selection: How the cases that choose weights are taken from the others: `next_fold`, a share, or their ids.
        seeds: Training seeds.
        regions: What is scored, as `medseg evaluate --regions` takes it.
        metrics: Shown in the table.
        lesion_wise: Rules of lesion-wise scores, None without.
        calibration: Whether probabilities are saved and their calibration is measured.
        epochs: Of each training, None for the bundle's own.
        time_budget_s: Of each training, None without.
        entries: The contestants.
        anchors: `dataset` and `protocol` by which published results are looked up, None without.
        source: The file.
    """

    name: str
    task: Task
    dataset: Mapping[str, Any]
    fold_count: int | None
    fold_seed: int | None
    folds: tuple[int, ...] | None
    selection: str | float | tuple[str, ...]
    seeds: tuple[int, ...]
    regions: Any
    metrics: tuple[str, ...]
    lesion_wise: str | None
    calibration: bool
    epochs: int | None
    time_budget_s: float | None
    entries: tuple[Entry, ...]
    anchors: Mapping[str, str] | None
    source: Path


def find_suite(name: str) -> Path:
    """The file of a suite, by path or by name in `configs/benchmarks`.

    Raises:
        ConfigError: When there is none; names the nearest one.
    """
    path = Path(name).expanduser()
    if path.suffix in (".yaml", ".yml", ".json") and path.is_file():
        return path.resolve()
    suites = list_suites()
    if name in suites:
        return suites[name]
    msg = f"no suite is named {name!r}. {nearest(name, suites)}"
    raise ConfigError(msg)


def read_suite(path: Path) -> Suite:
    """Read a suite.

    Raises:
        ConfigError: When a key is unknown or missing, or a value cannot be.
    """
    content = read_document(path).content
    _known_keys(content, _TOP, where=str(path))
    folds = _mapping(content.get("folds"), path, "folds")
    _known_keys(folds, ["count", "seed", "run"], where=f"{path}: folds")
    budget = _mapping(content.get("budget"), path, "budget")
    _known_keys(budget, ["epochs", "time_budget"], where=f"{path}: budget")
    run = folds.get("run")
    task = content.get("task", "segmentation")
    if task not in ("segmentation", "detection"):
        raise _wrong(path, "task", task, "segmentation or detection")
    return Suite(
        name=_name(content.get("name", path.stem), path, "name"),
        task=task,
        dataset=_dataset(content.get("dataset"), path),
        fold_count=_whole(folds.get("count"), path, "folds: count", least=2),
        fold_seed=_whole(folds.get("seed"), path, "folds: seed", least=0),
        folds=None if run is None else _numbers(run, path, "folds: run"),
        selection=_selection(content.get("selection", "next_fold"), path),
        seeds=_numbers(content.get("seeds", [0]), path, "seeds"),
        regions=content.get("regions"),
        metrics=_metrics(content.get("metrics"), task, path),
        lesion_wise=content.get("lesion_wise"),
        calibration=_calibration(content.get("calibration", False), task, path),
        epochs=_whole(budget.get("epochs"), path, "budget: epochs", least=1),
        time_budget_s=_seconds(budget.get("time_budget"), path),
        entries=_entries(content.get("entries"), path),
        anchors=_mapping(content.get("anchors"), path, "anchors") or None,
        source=path,
    )


def _known_keys(content: Mapping[str, Any], known: list[str], *, where: str) -> None:
    for key in content:
        if key not in known:
            msg = f"{where}: there is no key {key!r}. {nearest(str(key), {name: Path() for name in known})}"
            raise ConfigError(msg)


def _wrong(path: Path, key: str, got: object, wanted: str) -> ConfigError:
    return ConfigError(f"{path}: {key}: {got!r}. Wanted {wanted}.")


def _mapping(value: Any, path: Path, key: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(path, key, value, "a mapping")
    return value


def _name(value: Any, path: Path, key: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise _wrong(path, key, value, "letters, digits, '.', '_' and '-', since it names a folder")
    return value


def _whole(value: Any, path: Path, key: str, *, least: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _wrong(path, key, value, f"a whole number from {least}")
    return value


def _numbers(value: Any, path: Path, key: str) -> tuple[int, ...]:
    right = isinstance(value, list) and value and all(type(one) is int and one >= 0 for one in value)
    if not right or len(set(value)) < len(value):
        raise _wrong(path, key, value, "a list of different whole numbers from 0")
    return tuple(value)


def _dataset(value: Any, path: Path) -> dict[str, Any]:
    content = _mapping(value, path, "dataset")
    kinds = [key for key in ("name", "folder", "phantom") if key in content]
    if len(kinds) != 1:
        raise _wrong(path, "dataset", value, "one of name, folder and phantom")
    settings = ["cases", "seed", "shape", "spacing_mm", "label_convention"] if kinds == ["phantom"] else []
    _known_keys(content, [*kinds, "datalist", *settings], where=f"{path}: dataset")
    return content


def _selection(value: Any, path: Path) -> str | float | tuple[str, ...]:
    if value == "next_fold":
        return "next_fold"
    if isinstance(value, float) and 0 < value < 1:
        return value
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise _wrong(path, "selection", value, "next_fold, a share between 0 and 1, or a list of case ids")


def _metrics(value: Any, task: Task, path: Path) -> tuple[str, ...]:
    known = list(known_metrics()) if task == "segmentation" else ["cpm"]
    chosen = value if value is not None else (["dice", "hd95_mm", "nsd"] if task == "segmentation" else ["cpm"])
    if not isinstance(chosen, list) or not chosen or any(name not in known for name in chosen):
        raise _wrong(path, "metrics", value, f"a list of {', '.join(known)}")
    return tuple(dict.fromkeys(chosen))


def _calibration(value: Any, task: Task, path: Path) -> bool:
    if not isinstance(value, bool) or (value and task != "segmentation"):
        raise _wrong(path, "calibration", value, "true or false, and true for segmentation only")
    return value


def _seconds(value: Any, path: Path) -> float | None:
    if value is None:
        return None
    try:
        return parse_seconds(value)
    except ConfigError:
        raise _wrong(path, "budget: time_budget", value, "a time such as 20min, 90s or 2h") from None


def parse_seconds(value: Any) -> float:
    """Seconds of a time such as `20min`.

    Raises:
        ConfigError: When it is none.

    >>> parse_seconds("1.5min")
    90.0
    """
    told = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h)\s*", value) if isinstance(value, str) else None
    if not told or float(told[1]) <= 0:
        msg = f"{value!r} is no time. Wanted one such as 20min, 90s or 2h."
        raise ConfigError(msg)
    return float(told[1]) * _UNITS[told[2]]


def _entries(value: Any, path: Path) -> tuple[Entry, ...]:
    if not isinstance(value, list) or not value:
        raise _wrong(path, "entries", value, "a list of contestants, each with a bundle")
    entries = [_entry(one, path, number) for number, one in enumerate(value)]
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise _wrong(path, "entries", name, "a name of its own for each")
    return tuple(entries)


def _entry(value: Any, path: Path, number: int) -> Entry:
    where = f"entries {number}"
    content = _mapping(value, path, where)
    _known_keys(content, _ENTRY, where=f"{path}: {where}")
    bundle, presets = content.get("bundle"), content.get("presets", [])
    if not isinstance(bundle, str) or not bundle:
        raise _wrong(path, f"{where}: bundle", bundle, "the name or path of a bundle")
    if not isinstance(presets, list) or not all(isinstance(one, str) for one in presets):
        raise _wrong(path, f"{where}: presets", presets, "a list of presets")
    overrides = _mapping(content.get("overrides"), path, f"{where}: overrides")
    for key in ("epochs", "seed", "fold", "datalist", "dataset_dir", "output_dir"):
        if key in overrides:
            raise _wrong(path, f"{where}: overrides", key, "what the suite does not set itself")
    return Entry(
        name=_name(content.get("name", Path(bundle).name), path, f"{where}: name"),
        bundle=bundle,
        presets=tuple(presets),
        overrides=overrides,
        predict_overrides=_mapping(content.get("predict_overrides"), path, f"{where}: predict_overrides"),
        weights=content.get("weights"),
    )
