from pathlib import Path

import pytest

from medseg.errors import DataError
from medseg.evaluation.matching import case_id, find_label_maps, match_files


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("case7.nii.gz", "case7"),
        ("case7_seg.nii.gz", "case7"),
        ("case7-label.NII", "case7"),
        ("case7_Seg_pred.nrrd", "case7"),
        ("case7.mask.mha", "case7"),
        ("seg.nii.gz", "seg"),
        ("liver_001.nii.gz", "liver_001"),
        ("preseg.nii.gz", "preseg"),
    ],
)
def test_case_ids(name, wanted):
    assert case_id(Path(name)) == wanted


def test_flat_folders_of_any_naming_match(tmp_path):
    ref = touch(tmp_path / "ref", "a_seg.nii.gz", "b_seg.nii.gz", "notes.txt", ".hidden.nii.gz")
    pred = touch(tmp_path / "pred", "b.nii.gz", "a_pred.nrrd")
    matches = match_files(pred, ref)
    assert matches.pairs == {
        "a": (ref / "a_seg.nii.gz", pred / "a_pred.nrrd"),
        "b": (ref / "b_seg.nii.gz", pred / "b.nii.gz"),
    }
    assert not matches.unmatched


def test_a_folder_per_case_matches_a_flat_folder(tmp_path):
    ref = touch(
        tmp_path / "ref", "a/a_t1c.nii.gz", "a/a_seg.nii.gz", "b/b_flair.nii.gz", "b/b_seg.nii.gz", "empty/x.txt"
    )
    pred = touch(tmp_path / "pred", "a.nii.gz", "b.nii.gz", "probabilities/a.nii.gz")
    assert match_files(pred, ref).pairs["b"] == (ref / "b/b_seg.nii.gz", pred / "b.nii.gz")


@pytest.mark.parametrize("names", [("a/labels.nii.gz",), ("a/scan.nii.gz", "a/seg.nii.gz")])
def test_a_folder_per_case_with_fixed_names(tmp_path, names):
    source = touch(tmp_path, *names)
    assert find_label_maps(source) == {"a": source / names[-1]}


def test_scans_beside_their_label_maps_are_no_cases(tmp_path):
    source = touch(tmp_path, "a_t1.nii.gz", "a_t2.nii.gz", "a_seg.nii.gz", "ab.nii.gz", "b_label.nii.gz")
    assert sorted(find_label_maps(source)) == ["a", "ab", "b"]


def test_two_single_files_belong_together(tmp_path):
    source = touch(tmp_path, "truth.nii.gz", "mine.nii.gz")
    matches = match_files(source / "mine.nii.gz", source / "truth.nii.gz")
    assert matches.pairs == {"truth": (source / "truth.nii.gz", source / "mine.nii.gz")}


def test_a_single_prediction_is_compared_with_its_own_reference_only(tmp_path):
    ref = touch(tmp_path / "ref", "a.nii.gz", "b.nii.gz")
    pred = touch(tmp_path / "pred", "b.nii.gz") / "b.nii.gz"
    assert match_files(pred, ref).pairs == {"b": (ref / "b.nii.gz", pred)}


def test_missing_and_unmatched_predictions_are_told_apart(tmp_path):
    ref = touch(tmp_path / "ref", "a.nii.gz", "b.nii.gz")
    pred = touch(tmp_path / "pred", "b.nii.gz", "z.nii.gz")
    matches = match_files(pred, ref)
    assert matches.pairs["a"] == (ref / "a.nii.gz", None)
    assert matches.unmatched == {"z": pred / "z.nii.gz"}


def test_nothing_in_common_is_refused(tmp_path):
    touch(tmp_path, "ref/a.nii.gz", "pred/z.nii.gz")
    with pytest.raises(DataError, match=r"none of its 1 cases \(z\) is among the 1 .*\(a\).*Name the files alike"):
        match_files(tmp_path / "pred", tmp_path / "ref")


def test_two_label_maps_of_one_case_are_refused(tmp_path):
    source = touch(tmp_path, "a_seg.nii.gz", "a_pred.nii.gz")
    with pytest.raises(DataError, match=r"case a has two label maps, a_pred.nii.gz and a_seg.nii.gz"):
        find_label_maps(source)


@pytest.mark.parametrize("names", [("a/one.nii.gz", "a/two.nii.gz"), ("a/x_seg.nii.gz", "a/y_seg.nii.gz")])
def test_a_case_folder_without_one_clear_label_map_is_refused(tmp_path, names):
    with pytest.raises(DataError, match="wanted one label map, found"):
        find_label_maps(touch(tmp_path, *names))


def test_an_empty_folder_and_a_missing_one_are_refused(tmp_path):
    with pytest.raises(DataError, match="no label maps here"):
        find_label_maps(tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        find_label_maps(tmp_path / "gone")
