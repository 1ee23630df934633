"""The LUNA16 bundle from phantoms to scores, as a user types it, with a network that takes seconds."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medseg.cli.main import main
from medseg.datasets.phantoms import make_luna16_phantom
from medseg.volumes.detections import read_detections

pytestmark = pytest.mark.slow

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "lung_nodule_ct_detection"
TINY: dict[str, Any] = {
    "network_def": "@light_fpn",
    "light_fpn::feature_extractor::channels": [8, 8],
    "light_fpn::feature_extractor::out_channels": 16,
    "spacing_mm": [4.0, 4.0, 4.0],
    "window_size": [64, 64, 32],
    "score_threshold": 0.0,
    "device": "cpu",
}


def medseg(*words: object) -> None:
    """The command line, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["medseg", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code, words


def overrides(**values: Any) -> list[str]:
    return [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items()]


@dataclass(frozen=True)
class Journey:
    """The folders that the commands have left."""

    data: Path
    run: Path


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    """Phantoms, a smoke training, one epoch more, detections and scores."""
    here = tmp_path_factory.mktemp("journey")
    data, run = here / "data", here / "run"
    medseg(
        "data", "phantom", "luna16", "--out", data, "--cases", 5, "--seed", 3, "--shape", "48,40,40", "--spacing-mm", 4
    )
    medseg("train", BUNDLE, "--preset", "smoke", "--run-dir", run, f"dataset_dir={data}", *overrides(**TINY))
    medseg("train", "--resume", run, "epochs=3")
    medseg("predict", BUNDLE, data, "-o", run / "predictions", "--weights", run, "device=cpu")
    tables = [f"--{key}={data / name}.csv" for key, name in _TABLES.items()]
    medseg("evaluate", "--task", "detection", "--pred", run / "predictions", *tables, "-o", run / "evaluation")
    return Journey(data=data, run=run)


_TABLES = {"ref": "annotations", "exclude": "annotations_excluded", "series": "seriesuids"}


def scans(journey: Journey) -> list[Path]:
    return sorted(journey.data.glob("subset*/*.mhd"))


def test_a_run_and_its_resume_leave_a_row_for_each_epoch(journey: Journey) -> None:
    with (journey.run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    for row in rows:
        assert float(row["classification"]) > 0
        assert 0 <= float(row["val_cpm"]) <= 1
        assert 0 <= float(row["val_ap"]) <= 1
    assert (journey.run / "model.pt").is_file()


def test_every_scan_has_boxes_in_the_world_and_a_label_map_in_its_own_grid(journey: Journey) -> None:
    for number, scan in enumerate(sorted(scans(journey), key=lambda path: path.parent.name)):
        phantom = make_luna16_phantom(number, seed=3, shape=(48, 40, 40), spacing_mm=4.0)
        assert scan.stem == phantom.series_uid
        found = read_detections(journey.run / "predictions" / scan.stem / "detections.json")
        assert 0 < len(found) <= 100
        corner = phantom.affine_ras_mm @ [*phantom.image_hu.shape, 1]
        low, high = np.sort([corner[:3], phantom.affine_ras_mm[:3, 3]], axis=0)
        centre = (found.box_ras_mm[:, :3] + found.box_ras_mm[:, 3:]) / 2
        margin = 8.0  # the grid of the network may be larger than the scan by a voxel
        assert ((centre > low - margin) & (centre < high + margin)).all()
        label_map = nib.load(journey.run / "predictions" / f"{scan.stem}.nii.gz")
        assert label_map.shape == phantom.image_hu.shape
        np.testing.assert_allclose(label_map.affine, phantom.affine_ras_mm, atol=1e-4)


def test_the_scores_are_those_of_the_challenge(journey: Journey) -> None:
    summary = json.loads((journey.run / "evaluation" / "summary.json").read_text())
    assert summary["n_scans"] == 5
    assert 0 <= summary["cpm"] <= 1
    assert list(summary["sensitivity_at_fp"]) == ["0.125", "0.25", "0.5", "1", "2", "4", "8"]


def test_a_turned_scan_has_its_boxes_at_the_same_place(journey: Journey, tmp_path: Path) -> None:
    phantom = make_luna16_phantom(0, seed=3, shape=(48, 40, 40), spacing_mm=4.0)
    image = nib.Nifti1Image(phantom.image_hu, phantom.affine_ras_mm)
    for name, scan in (("straight", image), ("turned", image.as_reoriented(np.array([[2, 1], [0, -1], [1, 1]])))):
        nib.save(scan, tmp_path / f"{name}.nii.gz")
        # in float32: in bfloat16 the rounding of the resampled image, 1e-3 HU, would show
        settings = ["--weights", journey.run, "amp=false"]
        medseg("predict", BUNDLE, tmp_path / f"{name}.nii.gz", "-o", tmp_path / "out", *settings)
    straight, turned = (read_detections(tmp_path / "out" / name / "detections.json") for name in ("straight", "turned"))
    np.testing.assert_allclose(turned.box_ras_mm, straight.box_ras_mm, atol=1e-2)
    np.testing.assert_allclose(turned.score, straight.score, atol=1e-4)


def test_folds_are_clustered_into_one_set_of_boxes(journey: Journey, tmp_path: Path) -> None:
    scan = scans(journey)[0]
    for name, more in (("one", []), ("same", [f"ensemble=[{journey.run}]"])):
        medseg("predict", BUNDLE, scan, "-o", tmp_path / name, "--weights", journey.run, *more, "max_detections=20")
    one, same = (read_detections(tmp_path / name / scan.stem / "detections.json") for name in ("one", "same"))
    said = json.loads((tmp_path / "same" / "run.json").read_text())["can_change_masks"]
    assert (said["ensemble"], said["max_detections"], said["lung_only"]) == ([str(journey.run)], 20, False)
    # a network and itself: each box has its twin, and the mean of equals is what it was
    assert len(same) == len(one) == 20
    np.testing.assert_allclose(same.score[0], one.score[0], atol=1e-5)
    np.testing.assert_allclose(same.box_ras_mm[0], one.box_ras_mm[0], atol=0.05)


def test_stock_monai_scores_the_path_that_ships(
    journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from monai.bundle import run

    monkeypatch.chdir(BUNDLE)
    where = {"bundle_root": str(BUNDLE), "dataset_dir": str(journey.data), "output_dir": str(tmp_path)}
    run(args_file="configs/args/evaluate.yaml", ckpt_path=str(journey.run / "model.pt"), **where, **TINY)
    [case] = json.loads((tmp_path / "reference.json").read_text())["training"]
    assert case["case_id"] == next(journey.data.glob("subset0/*.mhd")).stem
    assert json.loads((tmp_path / "summary.json").read_text())["n_nodules"] == len(case["box_ras_mm"]) > 0
    got, wanted = (
        read_detections(f / case["case_id"] / "detections.json") for f in (tmp_path, journey.run / "predictions")
    )
    np.testing.assert_allclose(got.box_ras_mm, wanted.box_ras_mm)


def test_label_maps_train_as_boxes_do(tmp_path: Path) -> None:
    for number in range(3):
        phantom = make_luna16_phantom(number, seed=3, shape=(48, 40, 40), spacing_mm=4.0)
        folder = tmp_path / "data" / f"case{number}"
        folder.mkdir(parents=True)
        nib.save(nib.Nifti1Image(phantom.image_hu, phantom.affine_ras_mm), folder / f"case{number}_ct.nii.gz")
        nib.save(nib.Nifti1Image(phantom.nodules_map, phantom.affine_ras_mm), folder / f"case{number}_seg.nii.gz")
    where = (f"dataset_dir={tmp_path / 'data'}", "annotations=masks")
    medseg("train", BUNDLE, "--preset", "smoke", "--run-dir", tmp_path / "run", *where, *overrides(**TINY))
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        assert any(float(row["box_regression"]) > 0 for row in csv.DictReader(file))


@pytest.mark.parametrize("choice", ["class_loss=focal box_loss=giou", "optimizer=@adamw tta=true lung_only=true"])
def test_the_choices_of_the_config_train(journey: Journey, tmp_path: Path, choice: str) -> None:
    words = [f"dataset_dir={journey.data}", "epochs=1", *overrides(**TINY), *choice.split()]
    medseg("train", BUNDLE, "--preset", "smoke", "--run-dir", tmp_path, *words)
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "finished"


@pytest.fixture
def inference(journey: Journey, tmp_path: Path) -> Callable[[str], Any]:
    """Parts of the bundle's inference config, built by stock MONAI."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "configs" / f"{name}.yaml") for name in ("common", "inference")])
    parser.update({"dataset_dir": str(journey.data), "output_dir": str(tmp_path), "bundle_root": str(BUNDLE), **TINY})
    return parser.get_parsed_content


def test_monai_label_s_calls_give_boxes_and_write_them(
    journey: Journey, inference: Callable[[str], Any], tmp_path: Path
) -> None:
    import torch

    item = inference("preprocessing")({"image": str(scans(journey)[0])})
    detector, network = inference("detector"), inference("network_def")
    assert inference("detector_ops") == []
    network.load_state_dict(torch.load(journey.run / "model.pt", weights_only=True))
    detector.network = network
    with torch.no_grad():
        detector.eval()
        [found] = detector(item["image"][None], use_inferer=True)
    assert {"box", "label", "label_scores", "pred"} <= found.keys()
    assert len(found["box"]) == len(found["label"]) == len(found["label_scores"]) > 0
    inference("postprocessing")({**item, **found})
    assert (tmp_path / scans(journey)[0].stem / "detections.json").is_file()
