import json
import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medseg.errors import ConfigError, DataError
from medseg.transforms import LoadCased, SaveDetectionsd, WarnIfMirroredd
from medseg.volumes import read_volume
from medseg.volumes.boxes import boxes_to_voxel
from medseg.volumes.detections import read_detections, read_submission

AFFINE = np.array([[-2.0, 0, 0, 60], [0, -2.0, 0, 50], [0, 0, 3.0, -30], [0, 0, 0, 1]])
BOXES = [[2, 2, 2, 6, 6, 6], [10, 10, 10, 20, 18, 14], [5, 5, 5, 5, 6, 6]]


@pytest.fixture
def item(tmp_path):
    scan = np.random.default_rng(0).integers(-1000, 100, (30, 28, 24)).astype(np.int16)
    nib.save(nib.Nifti1Image(scan, AFFINE), tmp_path / "scan.nii.gz")
    item = LoadCased()({"case_id": "1.2.3", "image": str(tmp_path / "scan.nii.gz")})
    # the third box has no size: a detector's leftovers are not worth a lost case
    pred = {
        "box": torch.tensor(BOXES),
        "score": torch.tensor([0.4, 0.9, 0.8]),
        "label": torch.zeros(3, dtype=torch.long),
    }
    return {**item, "pred": pred}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_all_files_are_written_and_say_the_same(item, out):
    assert SaveDetectionsd("pred", out)(item) == item
    files = sorted(str(path.relative_to(out)) for path in out.rglob("[!.]*") if path.is_file())
    assert files == [
        "1.2.3.nii.gz", "1.2.3/crops/01.png", "1.2.3/crops/02.png", "1.2.3/detections.json", "submission.csv",
    ]  # fmt: skip
    found = read_detections(out / "1.2.3" / "detections.json")
    np.testing.assert_allclose(boxes_to_voxel(AFFINE, found.box_ras_mm), [BOXES[1], BOXES[0]], atol=1e-9)
    marks = read_submission(out / "submission.csv")
    np.testing.assert_allclose(marks.centre_ras_mm, (found.box_ras_mm[:, :3] + found.box_ras_mm[:, 3:]) / 2)
    assert marks.score.tolist() == found.score.tolist() == [np.float32(0.9), np.float32(0.4)]
    labels = read_volume(out / "1.2.3.nii.gz")
    np.testing.assert_array_equal(labels.affine_ras_mm, AFFINE)
    assert labels.array[15, 14, 12] == 1
    assert labels.array[4, 4, 4] == 2


def test_the_label_map_lies_in_the_scans_own_grid_whatever_the_network_saw(item, out):
    affine = AFFINE @ np.diag([2.0, 2, 1, 1])
    affine[:3, 3] += AFFINE[:3, :3] @ [0.5, 0.5, 0]
    meta = {"filename_or_obj": item["image"].meta["filename_or_obj"]}
    half = MetaTensor(torch.zeros(1, 15, 14, 24), affine=torch.as_tensor(affine), meta=meta)
    boxes = torch.tensor(BOXES[:2]) / torch.tensor([2.0, 2, 1, 2, 2, 1])
    pred = {"box": boxes, "score": torch.tensor([0.4, 0.9]), "label": torch.zeros(2)}
    SaveDetectionsd("pred", out, label_map_fill="box")({**item, "image": half, "pred": pred})
    labels = read_volume(out / "1.2.3.nii.gz").array
    assert (labels[10:20, 10:18, 10:14] == 1).all()
    assert (labels == 1).sum() == 10 * 8 * 4
    assert (labels == 2).sum() == 4 * 4 * 4


def test_boxes_in_the_world_are_taken_as_they_are(item, out):
    world = [[0.0, 0, 0, 10, 10, 10]]
    pred = {"box_ras_mm": world, "score": [0.5], "label": [0]}
    SaveDetectionsd("pred", out, label_map=False, crops=0, submission=False)({**item, "pred": pred})
    assert read_detections(out / "1.2.3" / "detections.json").box_ras_mm.tolist() == world
    assert [path.name for path in out.iterdir()] == ["1.2.3"]


def test_running_again_replaces_and_never_adds(item, out):
    save = SaveDetectionsd("pred", out)
    save(item)
    save({**item, "pred": {key: value[:1] for key, value in item["pred"].items()}})
    assert len(read_submission(out / "submission.csv")) == 1
    assert [path.name for path in (out / "1.2.3" / "crops").iterdir()] == ["01.png"]


def test_a_scan_without_detections_is_written_too(item, out):
    empty = {"box": torch.zeros(0, 6), "score": torch.zeros(0), "label": torch.zeros(0, dtype=torch.long)}
    SaveDetectionsd("pred", out)({**item, "pred": empty})
    assert json.loads((out / "1.2.3" / "detections.json").read_text())["detections"] == []
    assert len(read_submission(out / "submission.csv")) == 0
    assert not read_volume(out / "1.2.3.nii.gz").array.any()


def test_doubtful_boxes_may_be_left_out_of_the_label_map(item, out):
    SaveDetectionsd("pred", out, label_map_score=0.5)(item)
    assert read_volume(out / "1.2.3.nii.gz").array.max() == 1
    assert len(read_detections(out / "1.2.3" / "detections.json")) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": torch.tensor([0.4, float("nan"), 0.3])}, "score of box . is nan"),
        ({"score": torch.tensor([0.4])}, "3 boxes, 1 scores, 3 labels"),
        ({"box": torch.full((3, 6), float("nan"))}, "is not finite"),
        ({"label": torch.tensor([0, 1, 0])}, "the classes are"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_leaves_no_file(item, out, change, message):
    with pytest.raises(DataError, match=rf"1\.2\.3: pred: .*{message}") as error:
        SaveDetectionsd("pred", out)({**item, "pred": {**item["pred"], **change}})
    assert "\n" not in str(error.value)
    assert not out.exists()


def test_a_prediction_of_another_kind_is_refused(item, out):
    with pytest.raises(DataError, match="wanted a mapping with box or box_ras_mm, score and label, got Tensor"):
        SaveDetectionsd("pred", out)({**item, "pred": torch.zeros(1, 2, 2, 2)})
    with pytest.raises(ConfigError, match="label_map_fill 'star'"):
        SaveDetectionsd("pred", out, label_map_fill="star")


@pytest.fixture
def chest():
    """A lung on one side of a body, and a nodule in it as RAS and as LPS."""
    x, y, _ = np.meshgrid(*map(np.arange, (70, 60, 20)), indexing="ij")
    hu = np.full((1, 70, 60, 20), -1000, np.float32)
    hu[0][((x - 35) / 30) ** 2 + ((y - 30) / 24) ** 2 < 1] = 40
    hu[0][((x - 22) / 9) ** 2 + ((y - 30) / 15) ** 2 < 1] = -850
    affine = torch.diag(torch.tensor([-5.0, -5.0, 5.0, 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor([190.0, 320.0, -250.0])
    centre = affine[:3] @ torch.tensor([22.0, 30, 10, 1], dtype=torch.float64)
    ras = torch.cat([centre - 5, centre + 5])[None]
    mirrored = ras * torch.tensor([-1.0, -1, 1, -1, -1, 1])
    scan = {"case_id": "case7", "image": MetaTensor(torch.from_numpy(hu), affine=affine)}
    return scan, ras, mirrored[:, [3, 4, 2, 0, 1, 5]]


def test_boxes_in_lps_are_warned_of(chest, recwarn):
    scan, ras, lps = chest
    WarnIfMirroredd()({**scan, "box_ras_mm": ras})
    WarnIfMirroredd()({**scan, "box_ras_mm": []})
    WarnIfMirroredd(allow_missing_keys=True)(scan)
    assert not recwarn.list
    with pytest.warns(UserWarning, match="case7: box_ras_mm: 0 of 1 nodule centres lie in the lungs"):
        WarnIfMirroredd()({**scan, "box_ras_mm": lps})


def test_only_the_first_scans_with_boxes_are_looked_at_each_once(chest, recwarn):
    scan, _, lps = chest
    check = WarnIfMirroredd(scans=2)
    for case in ("a", "empty", "a", "b", "c"):
        check({**scan, "case_id": case, "box_ras_mm": [] if case == "empty" else lps})
    assert [str(warning.message).partition(":")[0] for warning in recwarn.list] == ["a", "b"]
    assert pickle.loads(pickle.dumps(check))._seen.cases == {"a", "b"}
    assert repr(check._seen) == repr(WarnIfMirroredd()._seen)  # by which a cache of transformed cases goes
    with pytest.raises(ConfigError, match="scans is 0"):
        WarnIfMirroredd(scans=0)


def test_the_bundle_looks_at_the_frame_of_its_boxes():
    from monai.bundle import ConfigParser

    bundle = Path(__file__).parents[2] / "bundles" / "lung_nodule_ct_detection" / "configs"
    for overlay in ("train", "evaluate"):
        parser = ConfigParser()
        layers = ("common", "train") if overlay == "train" else ("common", "inference", "evaluate")
        parser.read_config([str(bundle / f"{name}.yaml") for name in layers])
        where = "deterministic_transforms" if overlay == "train" else "preprocessing::transforms"
        kinds = [type(step).__name__ for step in parser.get_parsed_content(where)]
        assert kinds[:2] == ["LoadCased", "WarnIfMirroredd"]
