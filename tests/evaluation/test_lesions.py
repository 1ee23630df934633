import csv
import json

import numpy as np
import pytest

from medseg.errors import ConfigError, DataError
from medseg.evaluation import evaluate_folders


@pytest.fixture
def two_lesions():
    """Two enhancing lesions of 64 voxels in BraTS 2023's convention."""
    array = np.zeros((30, 20, 20), dtype=np.uint8)
    array[2:6, 4:8, 4:8] = 3
    array[20:24, 10:14, 10:14] = 3
    return array


@pytest.fixture
def sides(tmp_path, save, two_lesions):
    one = two_lesions.copy()
    one[15:] = 0
    extra = two_lesions.copy()
    extra[12, 0, 19] = 3
    for case, prediction in {"a": two_lesions, "b": one, "c": extra}.items():
        save(tmp_path / "ref" / f"{case}.nii.gz", two_lesions, spacing_mm=(1, 1, 1))
        save(tmp_path / "pred" / f"{case}.nii.gz", prediction, spacing_mm=(1, 1, 1))
    save(tmp_path / "ref" / "d.nii.gz", np.zeros_like(two_lesions), spacing_mm=(1, 1, 1))
    return tmp_path


def rows(folder):
    with (folder / "cases.csv").open() as file:
        return {(row["case_id"], row["region"]): row for row in csv.DictReader(file)}


def test_lesion_scores_stand_in_both_files(sides):
    summary = evaluate_folders(
        sides / "pred", sides / "ref", out_dir=sides / "out", regions="brats2023", lesion_wise="brats2023"
    )
    found = rows(sides / "out")
    dices = {case: float(found[case, "ET"]["lesion_dice"]) for case in "abcd"}
    assert dices == pytest.approx({"a": 1.0, "b": 0.5, "c": 2 / 3, "d": 0.0})
    assert float(found["b", "ET"]["lesion_hd95_mm"]) == 187
    assert float(found["d", "ET"]["lesion_hd95_mm"]) == 374, "not predicted at all: the worst, also without a lesion"
    assert [float(found["c", "WT"][name]) for name in ("lesion_tp", "lesion_fp", "lesion_fn")] == [2, 1, 0]
    written = json.loads((sides / "out" / "summary.json").read_text())
    assert written["regions"]["ET"]["lesion_f1"]["mean"] == pytest.approx((1 + 2 / 3 + 4 / 5 + 0) / 4)
    assert written["lesion_wise"]["counts"]["ET"] == {"lesion_tp": 5, "lesion_fp": 1, "lesion_fn": 1}
    assert written["lesion_wise"]["dilation"] == 3
    assert summary.mean["lesion_dice"].n == 4


def test_without_the_option_nothing_changes(sides):
    evaluate_folders(sides / "pred", sides / "ref", out_dir=sides / "out", regions="brats2023")
    assert "lesion_dice" not in rows(sides / "out")["a", "ET"]
    assert "lesion_wise" not in json.loads((sides / "out" / "summary.json").read_text())


def test_a_value_that_a_case_does_not_have_is_perfect_there(sides, save, two_lesions):
    save(sides / "pred" / "a.nii.gz", np.where(two_lesions == 3, 2, 0), spacing_mm=(1, 1, 1))
    evaluate_folders(sides / "pred", sides / "ref", out_dir=sides / "out", lesion_wise="brats2023_met")
    found = rows(sides / "out")
    assert float(found["b", "2"]["lesion_dice"]) == 1
    assert float(found["a", "2"]["lesion_fp"]) == 2
    assert float(found["d", "2"]["lesion_dice"]) == 0


def test_unknown_rules_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ConfigError, match="--lesion-wise: no rules are named 'brats1999'"):
        evaluate_folders(tmp_path, tmp_path, out_dir=tmp_path / "out", lesion_wise="brats1999")


def test_calibration_of_saved_probabilities(sides, save, two_lesions):
    for case in "abc":
        sure = np.where(two_lesions[..., None] == 3, 0.75, 0.0).repeat(3, axis=-1)
        save(sides / "probabilities" / f"{case}.nii.gz", sure, spacing_mm=(1, 1, 1), dtype=np.float32)
    summary = evaluate_folders(
        sides / "pred",
        sides / "ref",
        out_dir=sides / "out",
        regions="brats2023",
        probabilities=sides / "probabilities",
    )
    written = json.loads((sides / "out" / "summary.json").read_text())["calibration"]
    # 128 lesion voxels are 25 % less sure than right; 20 mm around the lesions is the whole of this image.
    assert written["regions"]["ET"]["ece"] == pytest.approx(0.25 * 128 / 12000)
    assert written["regions"]["ET"]["mce"] == pytest.approx(0.25)
    assert written["missing"] == ["d"]
    assert summary.calibration is not None


def test_probabilities_of_other_regions_are_refused(sides, save, two_lesions):
    save(sides / "p" / "a.nii.gz", np.zeros((30, 20, 20, 2)), spacing_mm=(1, 1, 1), dtype=np.float32)
    settings = {"out_dir": sides / "out", "probabilities": sides / "p"}
    with pytest.raises(DataError, match=r"a: probabilities .*: 2 channels. Wanted one for each region: TC, WT, ET"):
        evaluate_folders(sides / "pred", sides / "ref", regions="brats2023", **settings)
    with pytest.raises(ConfigError, match="Give --regions too"):
        evaluate_folders(sides / "pred", sides / "ref", **settings)
    save(sides / "p" / "a.nii.gz", np.full((30, 20, 20, 3), 4.0), spacing_mm=(1, 1, 1), dtype=np.float32)
    with pytest.raises(DataError, match="a: probabilities .* apply the sigmoid"):
        evaluate_folders(sides / "pred", sides / "ref", regions="brats2023", **settings)
