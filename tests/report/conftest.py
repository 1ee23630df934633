"""A small run folder as training, prediction and evaluation leave it, and one like it for the baseline."""

import csv
import dataclasses
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from medseg.benchmark.local import run_suite
from medseg.evaluation.calibration import Calibration
from medseg.metrics.calibration import reliability
from medseg.metrics.lesion_metrics import LESION_COUNTS
from medseg.metrics.lesionwise import get_lesion_rules
from medseg.volumes import Volume, write_label_map, write_volume

SHAPE = (40, 48, 32)
AFFINE = np.array([[-1.5, 0, 0, 30], [0, -1.5, 0, 36], [0, 0, 2.0, -32], [0, 0, 0, 1]], dtype=np.float64)
REGIONS = ("TC", "WT", "ET")


def ball(centre: tuple[float, ...], radius: float) -> np.ndarray:
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"))
    return np.sqrt(sum((axis - middle) ** 2 for axis, middle in zip(grid, centre, strict=True))) <= radius


def nested_labels(centre: tuple[float, ...], size: float) -> np.ndarray:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for value, radius in ((2, size), (1, size * 0.65), (4, size * 0.6), (1, size * 0.3)):
        labels[ball(centre, radius)] = value
    return labels


def write_scores(folder: Path, means: dict[str, float], *, cases: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "case_id": f"case_{case:02d}",
            "region": region,
            "dice": float(np.clip(means[region] + rng.normal(0, 0.05), 0, 1)),
            "hd95_mm": float(rng.uniform(1, 6)),
            "state": "pred_empty" if case == 3 and region == "ET" else "ok",
        }
        for case in range(cases)
        for region in REGIONS
    ]
    with (folder / "cases.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)

    def statistics(key: str, regions: tuple[str, ...]) -> dict[str, object]:
        values = np.array([row[key] for row in rows if row["region"] in regions])
        low, high = np.percentile(values, (2.5, 97.5))
        return {"mean": values.mean(), "sd": values.std(), "median": np.median(values), "ci95": [low, high], "n": cases}

    summary = {
        "regions": {name: {key: statistics(key, (name,)) for key in ("dice", "hd95_mm")} for name in REGIONS},
        "mean": {key: statistics(key, REGIONS) for key in ("dice", "hd95_mm")},
        "n_cases": cases,
        "label_convention": "brats2017",
        "rules": {"both_empty": "Dice 1, distances 0"},
        "surface_definition": "deepmind",
        "tolerance_mm": 1.0,
    }
    (folder / "summary.json").write_text(json.dumps(summary))


def write_history(path: Path, *, epochs: int) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "iteration", "loss", "loss_dice", "learning_rate", "seconds", "val_mean_dice"])
        for epoch in range(1, epochs + 1):
            loss = 0.2 + np.exp(-epoch / 6)
            val = round(0.9 - 0.8 * np.exp(-epoch / 7), 4) if epoch % 2 == 0 else ""
            writer.writerow([epoch, epoch * 20, f"{loss:.4f}", f"{loss * 0.6:.4f}", 1e-3 * (1 - epoch / 31), 12.5, val])


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    return maker(tmp_path)


@pytest.fixture(scope="module")
def make_run_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    return maker(tmp_path_factory.mktemp("runs"))


def maker(folder: Path) -> Callable[..., Path]:
    def make(name: str = "run", *, cases: int = 5, pictures: bool = True, extras: bool = False) -> Path:
        run = folder / name
        write_scores(run / "evaluation", {"TC": 0.86, "WT": 0.91, "ET": 0.82}, cases=cases, seed=0)
        write_scores(run / "baseline", {"TC": 0.31, "WT": 0.55, "ET": 0.36}, cases=cases, seed=1)
        write_history(run / "metrics.csv", epochs=30)
        record = {"verb": "train", "bundle": "brats_mri_segmentation", "seed": 7, "wall_s": 318.4}
        (run / "run.json").write_text(json.dumps(record | {"versions": {"medseg": "0.1.0", "torch": "2.13.0"}}))
        if pictures:
            write_cases(run, cases=cases)
        if extras:
            add_lesions(run / "evaluation")
            add_calibration(run / "evaluation")
        return run

    return make


def write_cases(run: Path, *, cases: int) -> None:
    rng = np.random.default_rng(0)
    like = Volume(array=np.zeros(SHAPE, dtype=np.uint8), affine_ras_mm=AFFINE, path=Path("grid.nii.gz"))
    items = []
    for case in range(cases):
        name, centre = f"case_{case:02d}", (13 + case, 25 - case, 16)
        labels = nested_labels(centre, 9)
        brain = ball((20, 24, 16), 15.5)
        image = np.where(brain, 300 + 60 * (labels > 0) + 90 * (labels == 2) + rng.normal(0, 18, SHAPE), 0)
        folder = run / "phantoms" / name
        write_volume(folder / f"{name}_flair.nii.gz", image.astype(np.int16), like=like)
        write_label_map(folder / f"{name}_seg.nii.gz", labels, like=like)
        guess = nested_labels((centre[0] + 1, centre[1], centre[2] + 0.5), 8.5)
        write_label_map(run / "predictions" / f"{name}.nii.gz", guess, like=like)
        item = {"case_id": name, "image": [str(folder / f"{name}_flair.nii.gz")]}
        items.append(item | {"label": str(folder / f"{name}_seg.nii.gz")})
    (run / "predictions" / "config.yaml").write_text(yaml.safe_dump({"dataset": {"data": items}}))


def add_lesions(folder: Path) -> None:
    """Lesion-wise scores as `medseg evaluate --lesion-wise brats2023` writes them: each third row misses a lesion."""
    with (folder / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for place, row in enumerate(rows):
        missed = int(place % 3 == 1)
        scores = {"lesion_dice": 0.8 / (1 + missed), "lesion_hd95_mm": 2.0, "lesion_f1": 1.0, "panoptic_quality": 0.7}
        row.update({key: str(value) for key, value in scores.items()})
        row.update(lesion_tp="2", lesion_fp=str(int(place == 0)), lesion_fn=str(missed))
    with (folder / "cases.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    summary = json.loads((folder / "summary.json").read_text())
    for name in REGIONS:
        for key in ("lesion_dice", "lesion_hd95_mm", "lesion_f1", "panoptic_quality"):
            summary["regions"][name][key] = {"mean": 0.75, "ci95": [0.7, 0.8]}
    counts = {
        name: {key: sum(int(row[key]) for row in rows if row["region"] == name) for key in LESION_COUNTS}
        for name in REGIONS
    }
    rules = dataclasses.asdict(get_lesion_rules("brats2023"))
    summary["lesion_wise"] = {"rules": "brats2023", **rules, "counts": counts}
    (folder / "summary.json").write_text(json.dumps(summary))


def add_calibration(folder: Path) -> None:
    """Calibration as `medseg evaluate --probabilities` writes it, of a network that is too sure of itself."""
    rng = np.random.default_rng(0)
    probabilities = rng.random(20_000)
    found = reliability(probabilities, rng.random(20_000) < probabilities**2)
    summary = json.loads((folder / "summary.json").read_text())
    summary["calibration"] = Calibration(regions=dict.fromkeys(REGIONS, found), missing=("case_03",)).to_json()
    (folder / "summary.json").write_text(json.dumps(summary))


SUITE = """
name: stub
dataset: {folder: DATA}
folds: {run: [0, 1]}
seeds: [0, 1]
regions: {WT: 1}
metrics: [dice, hd95_mm, lesion_dice]
lesion_wise: brats2023_met
anchors: {dataset: brats2018, protocol: two folds of phantoms}
entries:
- {name: good, bundle: brats_mri_segmentation, overrides: {modalities: [t1]}}
- {name: poor, bundle: brats_mri_segmentation, overrides: {modalities: [t1], learning_rate: 0.1}}
"""


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a suite of two contestants, two folds and two seeds, run with heavy stages that cost nothing."""
    spec = importlib.util.spec_from_file_location("stub_suite", Path(__file__).parents[1] / "benchmark/stub_suite.py")
    assert spec
    assert spec.loader
    stub = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stub)
    folder = tmp_path_factory.mktemp("suite")
    data = stub.write_dataset(folder / "data", cases=12)
    run_suite(stub.write_suite(folder / "suite.yaml", data, SUITE), folder / "out", heavy=stub.Stub(fail_cases=["p4"]))
    return folder / "out"
