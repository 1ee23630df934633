"""Scoring the predictions of a benchmark: `medseg evaluate` on the test cases of one fold, or of all folds together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medseg.benchmark.splitting import FoldLists
from medseg.benchmark.suite import Suite
from medseg.datasets.datalist import case_id_of
from medseg.errors import ConfigError
from medseg.labels import Declared
from medseg.record import write_text_atomically


def score_segmentations(
    predictions: Path, folds: Sequence[FoldLists], *, suite: Suite, dataset_dir: Path, out_dir: Path
) -> None:
    """Score label maps; a case without one is scored as the worst.

    Raises:
        ConfigError: When a tested case has no label.
        DataError: When no case can be scored.
    """
    from medseg.evaluation import Matches, evaluate_matches

    pairs, probabilities = {}, predictions / "probabilities"
    for entry in (entry for lists in folds for entry in lists.test):
        case = case_id_of(entry)
        if not entry.get("label"):
            msg = f"{suite.source}: case {case} is tested on but has no label. Take it out of the folds."
            raise ConfigError(msg)
        file = predictions / f"{case}.nii.gz"
        pairs[case] = (dataset_dir / str(entry["label"]), file if file.is_file() else None)
    evaluate_matches(
        Matches(pairs=dict(sorted(pairs.items())), unmatched={}),
        out_dir=out_dir,
        regions=regions_of(suite, folds[0]),
        lesion_wise=suite.lesion_wise,
        probabilities=probabilities if suite.calibration and probabilities.is_dir() else None,
    )


def regions_of(suite: Suite, lists: FoldLists) -> Declared | None:
    """What is scored: what the suite says, else what the dataset's labels are called."""
    if suite.regions is not None:
        return suite.regions  # type: ignore[no-any-return]  # checked where it is used
    if lists.told.get("label_convention"):
        return lists.told["label_convention"]  # type: ignore[no-any-return]
    labels = lists.told.get("labels")
    if not isinstance(labels, dict):
        return None
    return {str(name): int(value) for value, name in labels.items() if int(value)}


def score_detections(
    predictions: Path, folds: Sequence[FoldLists], *, suite: Suite, dataset_dir: Path, out_dir: Path
) -> None:
    """Score marks by LUNA16's rules, over the scans of these folds. A scan without a file found nothing.

    Raises:
        DataError: When the tables cannot be read, or there is no nodule.
    """
    from medseg.evaluation.detection import evaluate_luna16

    del suite
    scans = [case for lists in folds for case in lists.ids("test")]
    out_dir.mkdir(parents=True, exist_ok=True)
    series = out_dir / "seriesuids.csv"
    write_text_atomically(series, "".join(f"{scan}\n" for scan in ["seriesuid", *scans]))
    reference = dataset_dir / "annotations.csv"
    if not reference.is_file():
        reference = out_dir / "reference.json"
        entries = [entry for lists in folds for entry in lists.test]
        write_text_atomically(reference, json.dumps({"training": entries}))
    excluded = sorted(dataset_dir.glob("annotations_excluded.csv*"))
    marks = _marks(predictions, scans, out_dir / "marks")
    evaluate_luna16(
        marks,
        reference,
        out_dir=out_dir,
        exclude=excluded[0] if excluded and reference.suffix == ".csv" else None,
        series=series,
        subset=True,
    )


def _marks(predictions: Path, scans: Sequence[str], folder: Path) -> Path:
    """A folder with `<scan>.json` for each scan; an empty submission where there is none at all."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for scan in scans:
        found = predictions / scan / "detections.json"
        if found.is_file():
            shutil.copyfile(found, folder / f"{scan}.json")
    if any(folder.iterdir()):
        return folder
    empty = folder / "submission.csv"
    write_text_atomically(empty, "seriesuid,coordX,coordY,coordZ,probability\n")
    return empty


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of ours."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
