import pytest

from medseg.errors import DataError
from medseg.evaluation.matching import find_label_maps, match_files


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


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


def test_the_label_file_names_the_case_and_not_its_folder(tmp_path):
    """UCSF-PDGM: folders are called X_nifti, and maps of the brain lie beside that of the tumour."""
    maps = ("tumor_segmentation", "brain_segmentation", "brain_parenchyma_segmentation", "T1", "T1c_bias", "ADC")
    ref = touch(tmp_path / "ref", *(f"X-{i}_nifti/X-{i}_{name}.nii.gz" for i in (1, 2) for name in maps))
    pred = touch(tmp_path / "pred", "X-1.nii.gz", "X-2.nii.gz")
    matches = match_files(pred, ref)
    assert list(matches.pairs) == ["X-1", "X-2"]
    assert matches.pairs["X-2"] == (ref / "X-2_nifti/X-2_tumor_segmentation.nii.gz", pred / "X-2.nii.gz")


def test_brats_2015_as_distributed(tmp_path):
    tags = ("MR_Flair.54512", "MR_T1.54513", "MR_T1c.54514", "MR_T2.54515", "OT.54517")
    cases = ("HGG/brats_2013_pat0001_1", "LGG/brats_2013_pat0002_1")
    names = [f"{case}/VSD.Brain.XX.O.{tag}/VSD.Brain.XX.O.{tag}.mha" for case in cases for tag in tags]
    three = "LGG/brats_tcia_pat101_0001/VSD.Brain_3more.XX.O.OT.42"
    ref = touch(tmp_path / "ref", *names, f"{three}/{three.split('/')[-1]}.mha")
    pred = touch(tmp_path / "pred", "brats_2013_pat0001_1.nii.gz", "brats_tcia_pat101_0001.nii.gz")
    pairs = match_files(pred, ref).pairs
    assert list(pairs) == ["brats_2013_pat0001_1", "brats_2013_pat0002_1", "brats_tcia_pat101_0001"]
    assert pairs["brats_2013_pat0001_1"] == (ref / names[4], pred / "brats_2013_pat0001_1.nii.gz")
    assert pairs["brats_2013_pat0002_1"][1] is None
    inside = (ref / names[4]).parent
    assert find_label_maps(inside) == find_label_maps(inside.parent) == {"brats_2013_pat0001_1": ref / names[4]}


def test_cases_lie_at_any_depth(tmp_path):
    ref = touch(tmp_path / "ref", "HGG/a/a_flair.nii.gz", "HGG/a/a_seg.nii.gz", "LGG/b/b_seg.nii.gz", "survival.csv")
    pred = touch(tmp_path / "pred", "a.nii.gz", "b.nii.gz")
    assert match_files(pred, ref).pairs["b"] == (ref / "LGG/b/b_seg.nii.gz", pred / "b.nii.gz")


def test_the_references_of_a_training_folder_are_its_labels(tmp_path):
    source = touch(tmp_path, "imagesTr/c_1_0000.nii.gz", "imagesTr/c_1_0001.nii.gz", "labelsTr/c_1.nii.gz", "x.json")
    assert find_label_maps(source) == {"c_1": source / "labelsTr/c_1.nii.gz"}


def test_the_folder_of_one_case_is_its_name(tmp_path):
    source = touch(tmp_path / "a", "seg.nii.gz", "t1.nii.gz", "flair.nii.gz", "brain_mask.nii.gz")
    assert find_label_maps(source) == {"a": source / "seg.nii.gz"}
    assert find_label_maps(source / "seg.nii.gz") == {"a": source / "seg.nii.gz"}


@pytest.mark.parametrize(
    ("pred", "ref"),
    [
        ("a/output.nii.gz b/output.nii.gz", "a_seg.nii.gz b_seg.nii.gz"),
        ("a/out_seg.nii.gz b/out_seg.nii.gz", "a/truth.nii.gz b/truth.nii.gz"),
        ("a/a_output.nii.gz b/b_output.nii.gz", "a.nii.gz b.nii.gz"),
        ("pred_001.nii.gz pred_002.nii.gz", "gt_001.nii.gz gt_002.nii.gz"),
        ("seg_a.nii.gz seg_b.nii.gz", "seg_a.nii.gz seg_b.nii.gz"),
        ("seg_trial_1.nii.gz seg_trial_2.nii.gz", "seg_trial_1_seg.nii.gz seg_trial_2_seg.nii.gz"),
        ("a_label_smooth_1.nii.gz b.nii.gz", "a_label_smooth_1_seg.nii.gz b_seg.nii.gz"),
        ("my_brain.nii.gz your_brain.nii.gz", "my_brain_seg.nii.gz your_brain_seg.nii.gz"),
        ("p_1.nii.gz p_2.nii.gz", "p_1_tumor_seg.nii.gz p_2_tumor_seg.nii.gz"),
        ("s_t1.nii.gz s_t2.nii.gz", "s_t1.nii.gz s_t2.nii.gz"),
        ("a.nii.gz b.nii.gz", "labelsTr/a_t1.nii.gz labelsTr/b_t1.nii.gz"),
    ],
)
def test_names_of_many_tools_find_each_other(tmp_path, pred, ref):
    touch(tmp_path / "pred", *pred.split())
    touch(tmp_path / "ref", *ref.split())
    matches = match_files(tmp_path / "pred", tmp_path / "ref")
    pairs = {
        (str(p.relative_to(tmp_path / "pred")), str(r.relative_to(tmp_path / "ref"))) for r, p in matches.pairs.values()
    }
    assert pairs == set(zip(pred.split(), ref.split(), strict=True))
    assert not matches.unmatched


def test_the_last_two_files_do_not_match_by_their_folders_name(tmp_path):
    ref = touch(tmp_path / "ref", "fold0/a_seg.nii.gz", "fold0/b_seg.nii.gz")
    pred = touch(tmp_path / "pred", "fold0/a_seg.nii.gz", "fold0/z_seg.nii.gz")
    matches = match_files(pred, ref)
    assert matches.pairs["b"][1] is None
    assert list(matches.unmatched) == ["z"]


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


@pytest.mark.parametrize("names", [("a/one.nii.gz", "a/two.nii.gz"), ("a/seg.nii.gz", "a/mask.nii.gz")])
def test_a_case_folder_without_one_clear_label_map_is_refused(tmp_path, names):
    with pytest.raises(DataError, match="wanted one label map, found"):
        find_label_maps(touch(tmp_path, *names))


def test_an_empty_folder_and_a_missing_one_are_refused(tmp_path):
    with pytest.raises(DataError, match="no label maps here"):
        find_label_maps(tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        find_label_maps(tmp_path / "gone")
