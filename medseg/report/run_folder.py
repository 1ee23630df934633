"""What a run folder holds, read as far as it is there."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from medseg.errors import ConfigError, DataError
from medseg.labels import CONVENTIONS, Declared
from medseg.volumes import VOLUME_SUFFIXES

Row = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One evaluation: `summary.json` and `cases.csv`, empty where absent, and the folder where they lie."""

    folder: Path = Path()
    summary: Mapping[str, Any] = field(default_factory=dict)
    cases: tuple[Row, ...] = ()

    @property
    def regions(self) -> list[str]:
        """Names of the scored regions, in the order of the summary."""
        return list(self.summary.get("regions", {}))

    def table(self, name: str) -> tuple[Row, ...]:
        """Another table beside the summary, empty when absent."""
        return read_rows(self.folder / name) if self.summary else ()


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """A run as the report needs it.

    Attributes:
        path: The folder; a run, or a job of a suite, whose training is in `run`.
        record: `run.json`, what ran on what; empty when absent.
        predicted: The same of the predictions.
        history: Rows of `metrics.csv`, as text.
        scores: The network's evaluation.
        baseline: The baseline's evaluation.
        config: `config.yaml`, the resolved configuration; empty when absent.
        items: The cases that were predicted, by id, as `medseg.datasets` describes them.
    """

    path: Path
    record: Mapping[str, Any]
    predicted: Mapping[str, Any]
    history: tuple[Row, ...]
    scores: Scores
    baseline: Scores
    config: Mapping[str, Any]
    items: Mapping[str, Mapping[str, Any]]

    def prediction(self, case_id: str) -> Path | None:
        """The predicted label map of a case, None when there is none."""
        for root in (self.path / "predictions", self.path):
            for suffix in VOLUME_SUFFIXES:
                if (path := root / f"{case_id}{suffix}").is_file():
                    return path
        return None

    @property
    def convention(self) -> Declared | None:
        """The label convention that the scores were made with, None when every label counts for itself."""
        known = (self.scores.summary or self.config).get("label_convention")
        return known if isinstance(known, dict) or known in CONVENTIONS else None


def read_run_folder(path: Path) -> RunFolder:
    """Reads what there is.

    Raises:
        DataError: When the folder is missing, holds nothing that a report shows, or holds a damaged file.
    """
    if not path.is_dir():
        msg = f"{path}: there is no such run folder. Give the folder that `medseg train` or `medseg evaluate` wrote."
        raise DataError(msg)
    scores = _scores(path / "evaluation")
    scores = scores if scores.summary or scores.cases else _scores(path)
    trained = _trained(path)
    run = RunFolder(
        path=path,
        record=read_json(trained / "run.json"),
        predicted=read_json(path / "predictions" / "run.json"),
        history=read_rows(trained / "metrics.csv"),
        scores=scores,
        baseline=_scores(path / "baseline"),
        config=_config(trained / "config.yaml"),
        items=_items(path / "predictions", read_json(scores.folder / "references.json")),
    )
    if not (run.record or run.history or run.scores.summary or run.scores.cases):
        msg = f"{path}: holds no run.json, metrics.csv or evaluation/summary.json, so there is nothing to report."
        raise DataError(msg)
    return run


def _trained(path: Path) -> Path:
    """Where the training lies: a job of a suite has it in `run`."""
    job = path / "run"
    return job if (job / "run.json").is_file() and not (path / "run.json").is_file() else path


def _scores(folder: Path) -> Scores:
    nested = folder / "evaluation"
    folder = nested if (nested / "summary.json").is_file() else folder
    return Scores(folder=folder, summary=read_json(folder / "summary.json"), cases=read_rows(folder / "cases.csv"))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, empty when there is no file.

    Raises:
        DataError: When it is no JSON.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"{path}: is not JSON ({error}). Write it again, or remove it to have a report without it."
        raise DataError(msg) from error
    return content if isinstance(content, dict) else {"content": content}


def read_rows(path: Path) -> tuple[Row, ...]:
    """The rows of a CSV file as text, none when there is no file."""
    if not path.is_file():
        return ()
    with path.open(newline="", encoding="utf-8") as file:
        return tuple({key: value or "" for key, value in row.items() if key} for row in csv.DictReader(file))


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        msg = f"{path}: is not YAML ({' '.join(str(error).split())})."
        raise ConfigError(msg) from error
    return content if isinstance(content, dict) else {}


def _items(predictions: Path, references: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The cases that were predicted, by id, as the predictions' `config.yaml` has them, each with its reference."""
    dataset = _config(predictions / "config.yaml").get("dataset")
    data = dataset.get("data") if isinstance(dataset, Mapping) else None
    items = [item for item in data if isinstance(item, Mapping)] if isinstance(data, list) else []
    by_id = {str(item.get("case_id")): item for item in items if item.get("image")}
    return {
        case: item if item.get("label") or case not in references else {**item, "label": references[case]}
        for case, item in by_id.items()
    }
