import numpy as np
import pytest

from medseg.errors import DataError
from medseg.evaluation.cases import score_case
from medseg.labels import get_convention


def score(reference, prediction, *, convention="brats2017"):
    chosen = get_convention(convention) if convention else None
    return score_case("a", reference, prediction, convention=chosen, tolerance_mm=1.0, definition="deepmind")


def test_the_regions_of_a_convention(tmp_path, save, labels):
    case = score(save(tmp_path / "r.nii.gz", labels), save(tmp_path / "p.nii.gz", np.where(labels == 4, 1, labels)))
    assert list(case.regions) == ["TC", "WT", "ET"]
    assert case.regions["WT"].values["dice"] == case.regions["TC"].values["dice"] == 1
    assert case.regions["ET"].state == "pred_empty"


def test_without_a_convention_each_label_value_is_a_region(tmp_path, save, labels):
    case = score(save(tmp_path / "r.nii.gz", labels), save(tmp_path / "p.nii.gz", labels), convention=None)
    assert list(case.regions) == ["1", "2", "4"]
    assert case.region("7").state == "both_empty"


def test_labels_above_255_keep_their_names(tmp_path, save, labels):
    path = save(tmp_path / "r.nii.gz", labels * np.int32(1000), dtype=np.int32)
    assert list(score(path, path, convention=None).regions) == ["1000", "2000", "4000"]


@pytest.mark.parametrize("convention", ["brats2017", None])
def test_a_missing_prediction_is_the_worst_in_every_region(tmp_path, save, labels, convention):
    case = score(save(tmp_path / "r.nii.gz", np.where(labels == 4, 1, labels)), None, convention=convention)
    names = case.regions if convention else ("1", "2", "99")
    for name in names:
        assert case.region(name).state == "missing_prediction"
        assert case.region(name).values["dice"] == 0
        assert case.region(name).values["hd95_mm"] == pytest.approx(np.linalg.norm([16, 14, 24]))


@pytest.mark.parametrize("side", ["r", "p"])
def test_a_value_outside_the_convention_names_its_file(tmp_path, save, labels, side):
    paths = {name: save(tmp_path / f"{name}.nii.gz", labels) for name in "rp"}
    save(paths[side], np.where(labels == 4, 3, labels))
    with pytest.raises(DataError, match=rf"^a: .*{side}.nii.gz: label values \[3\] are outside the convention"):
        score(paths["r"], paths["p"])


def test_voxels_are_measured_in_mm(tmp_path, save, labels):
    prediction = save(tmp_path / "p.nii.gz", np.roll(labels, 2, axis=2))
    case = score(save(tmp_path / "r.nii.gz", labels), prediction)
    assert case.regions["WT"].values["hd95_mm"] == pytest.approx(4.0)
    assert case.regions["WT"].volume_ref_ml == pytest.approx((labels > 0).sum() * 2 / 1000)
