import json
import os
import shutil
from pathlib import Path

import pytest

from medseg.datasets import find_cases
from medseg.errors import DataError

BRATS = ("t1", "t1c", "t2", "flair")


def _names(item):
    image = item["image"]
    return Path(image).name if isinstance(image, str) else [Path(path).name for path in image]


def test_folder_per_case_gives_images_in_the_wanted_order(touch_volumes):
    root = touch_volumes(*(f"HGG/{c}/{c}_{m}.nii.gz" for c in ("b", "a") for m in ("flair", "seg", "t1", "t1ce", "t2")))
    items = find_cases(root, modalities=BRATS)
    assert [item["case_id"] for item in items] == ["a", "b"]
    assert _names(items[0]) == ["a_t1.nii.gz", "a_t1ce.nii.gz", "a_t2.nii.gz", "a_flair.nii.gz"]
    assert Path(items[0]["label"]).name == "a_seg.nii.gz"
    assert _names(find_cases(root, modalities=["FLAIR", "t1gd"])[1]) == ["b_flair.nii.gz", "b_t1ce.nii.gz"]


def test_flat_folder_and_files_are_grouped_by_name(touch_volumes):
    root = touch_volumes(*(f"BraTS-GLI-0000{c}-000-{m}.nii.gz" for c in (1, 2) for m in ("t1n", "t1c", "t2w", "t2f")))
    for inputs in (root, sorted(root.iterdir()), [str(path) for path in root.iterdir()], [root, root]):
        items = find_cases(inputs, modalities=BRATS)
        assert [item["case_id"] for item in items] == ["BraTS-GLI-00001-000", "BraTS-GLI-00002-000"]
        assert "label" not in items[0]


def test_files_named_by_modality_alone_make_their_folder_the_case(touch_volumes):
    root = touch_volumes("tcga/t1.nii.gz", "tcga/t1c.nii.gz", "tcga/t2.nii.gz", "tcga/fla.nii.gz")
    touch_volumes("tcga/seg_a-20.nii.gz", "tcga/seg_b-20.nii.gz", "tcga/fusion_mav.nii.gz")
    (item,) = find_cases(root / "tcga", modalities=BRATS)
    assert item["case_id"] == "tcga"
    # Two label maps and nothing that says which: none is taken.
    assert "label" not in item
    touch_volumes("tcga/seg.nii.gz")
    assert Path(find_cases(root, modalities=BRATS)[0]["label"]).name == "seg.nii.gz"


def test_brats_2015_as_distributed(touch_volumes):
    tags = {"t1": "MR_T1.5", "t1c": "MR_T1c.6", "t2": "MR_T2.7", "flair": "MR_Flair.8", "label": "OT.9"}
    root = touch_volumes(
        *(f"pat{p}_1/VSD.Brain.XX.O.{t}/VSD.Brain.XX.O.{t}.nii" for p in (1, 2) for t in tags.values())
    )
    items = find_cases(root, modalities=BRATS)
    assert [item["case_id"] for item in items] == ["pat1_1", "pat2_1"]
    assert _names(items[0])[1] == "VSD.Brain.XX.O.MR_T1c.6.nii"
    assert Path(items[0]["label"]).name == "VSD.Brain.XX.O.OT.9.nii"


def test_ucsf_pdgm_as_distributed(touch_volumes):
    names = ("T1", "T1_bias", "T1c", "T2", "FLAIR", "ADC", "tumor_segmentation", "brain_segmentation")
    root = touch_volumes(*(f"X-{i}_nifti/X-{i}_{name}.nii.gz" for i in (1, 2) for name in names))
    items = find_cases(root, modalities=BRATS)
    assert [item["case_id"] for item in items] == ["X-1", "X-2"]
    assert Path(items[0]["label"]).name == "X-1_tumor_segmentation.nii.gz"


@pytest.mark.parametrize("extra", ["c_pred.nii.gz", "c_brain_mask.nii.gz", "c_seg-auto.nii.gz"])
def test_the_label_is_the_plainly_named_one(touch_volumes, extra):
    (item,) = find_cases(touch_volumes("c_ct.nii.gz", "c_seg.nii.gz", extra), modalities=["ct"])
    assert Path(item["label"]).name == "c_seg.nii.gz"


def test_a_case_may_be_called_brain(touch_volumes):
    (item,) = find_cases(touch_volumes("my_brain_t1.nii.gz", "my_brain_seg.nii.gz"), modalities=["t1"])
    assert (item["case_id"], Path(item["label"]).name) == ("my_brain", "my_brain_seg.nii.gz")


def test_images_and_labels_in_folders_of_their_own(touch_volumes):
    root = touch_volumes("imagesTr/spleen_1.nii.gz", "imagesTr/spleen_2.nii.gz", "labelsTr/spleen_1.nii.gz")
    touch_volumes("imagesTr/._spleen_1.nii.gz")
    items = find_cases(root, modalities=["ct"])
    assert [item["case_id"] for item in items] == ["spleen_1", "spleen_2"]
    assert Path(items[0]["label"]).parent.name == "labelsTr"
    assert "label" not in items[1]


def test_msd_4d_files_take_their_channels_from_dataset_json(touch_volumes):
    root = touch_volumes("imagesTs/BRATS_001.nii.gz", shape=(2, 2, 2, 4))
    with pytest.raises(DataError, match=r"case BRATS_001: .* has 4 channels and nothing names them"):
        find_cases(root, modalities=BRATS)
    (root / "dataset.json").write_text(json.dumps({"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}}))
    (item,) = find_cases(root / "imagesTs", modalities=BRATS)
    assert item == {
        "case_id": "BRATS_001",
        "image": str(root / "imagesTs/BRATS_001.nii.gz"),
        "channels": [1, 2, 3, 0],
    }
    with pytest.raises(DataError, match="modality adc is missing; found flair, t1, t1c, t2"):
        find_cases(root, modalities=["t1", "adc"])


def test_nnunet_channel_numbers(touch_volumes):
    root = touch_volumes(*(f"imagesTr/c_{c}_000{i}.nii.gz" for c in (1, 2) for i in range(2)), "labelsTr/c_1.nii.gz")
    (root / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T2", "1": "FLAIR"}, "labels": {}}))
    items = find_cases(root, modalities=["flair", "t2"])
    assert [item["case_id"] for item in items] == ["c_1", "c_2"]
    assert _names(items[0]) == ["c_1_0001.nii.gz", "c_1_0000.nii.gz"]
    assert Path(items[0]["label"]).name == "c_1.nii.gz"


def test_nnunet_single_channel_needs_no_description(touch_volumes):
    items = find_cases(touch_volumes("la_003_0000.nii.gz"), modalities=["mr"])
    assert items[0]["case_id"] == "la_003"


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan_t1.nii.gz", "scan_mr.nii.gz"])
def test_the_only_image_is_the_only_modality(touch_volumes, name):
    (item,) = find_cases(touch_volumes(name) / name, modalities=["mr"])
    assert _names(item) == [name]


def test_the_only_image_is_not_another_modality(touch_volumes):
    with pytest.raises(DataError, match=r"case scan \(scan_t1\.nii\.gz\): modality flair is missing; found t1"):
        find_cases(touch_volumes("scan_t1.nii.gz"), modalities=["flair"])


def test_missing_modality_names_case_modality_and_files(touch_volumes):
    root = touch_volumes("c7/c7_t1.nii.gz", "c7/c7_t1ce.nii.gz", "c7/c7_flair.nii.gz")
    with pytest.raises(DataError, match=r"case c7 \(c7_flair.*\): modality t2 is missing; found flair, t1, t1c"):
        find_cases(root, modalities=BRATS)


def test_two_files_for_one_modality_are_refused_unless_one_is_plain(touch_volumes):
    root = touch_volumes("c_t1_bias.nii.gz", "c_t1_brain.nii.gz", "c_t2.nii.gz")
    with pytest.raises(DataError, match=r"case c: 2 files are t1: c_t1_bias\.nii\.gz, c_t1_brain"):
        find_cases(root, modalities=["t1", "t2"])
    touch_volumes("c_t1.nii.gz")
    assert _names(find_cases(root, modalities=["t1", "t2"])[0]) == ["c_t1.nii.gz", "c_t2.nii.gz"]


def test_equal_ids_in_two_folders_are_refused(touch_volumes):
    root = touch_volumes("a/x_ct.nii.gz", "b/x_ct.nii.gz")
    with pytest.raises(DataError, match="two cases are called 'x'"):
        find_cases(root, modalities=["ct"])


def test_nothing_to_find(touch_volumes, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"empty: no case here: the folder has no \.nii\.gz"):
        find_cases(tmp_path / "empty", modalities=BRATS)
    with pytest.raises(DataError, match="no such file or folder"):
        find_cases(tmp_path / "gone", modalities=BRATS)
    with pytest.raises(DataError, match="not a volume that medseg knows"):
        find_cases(tmp_path / "notes.txt", modalities=BRATS)
    touch_volumes("w/foo.nii.gz", "w/bar.nii.gz")
    with pytest.raises(DataError, match=r"no case with t1, t1c, t2, flair found; the files are bar\.nii\.gz, foo"):
        find_cases(tmp_path / "w", modalities=BRATS)


def test_real_folders(real_data, tmp_path):
    items = find_cases(real_data / "brats2015", modalities=["t1c", "flair"])
    assert len(items) == 4
    assert all(Path(item["label"]).name == f"{item['case_id']}_seg.nii.gz" for item in items)
    (tcga,) = find_cases(real_data / "brats_tcga_silver", modalities=BRATS)
    assert _names(tcga) == ["t1.nii.gz", "t1c.nii.gz", "t2.nii.gz", "fla.nii.gz"]
    assert "label" not in tcga
    assert len(find_cases(real_data / "msd_task04_hippocampus", modalities=["mr"])) == 200
    (spleen,) = find_cases(real_data / "spleen_crop", modalities=["ct"])
    assert spleen["case_id"] == "sub-spleen2"
    assert spleen["label"].endswith("seg-manual.nii.gz")
    (lung,) = find_cases(real_data / "lung_ct", modalities=["ct"])
    assert lung["label"].endswith("lung1_label.nrrd")
    shutil.copy(real_data / "brats_tcga_silver" / "t1.nii.gz", tmp_path / "x_t1.nii.gz")
    with pytest.raises(DataError, match="modality t1c, t2, flair is missing; found t1"):
        find_cases(tmp_path, modalities=BRATS)


def test_a_folder_that_may_not_be_read_is_told(touch_volumes, monkeypatch):
    root = touch_volumes("a/a_t1.nii.gz", "b/b_t1.nii.gz")
    scan = os.scandir

    def refuse(place):
        if Path(place).name == "b":
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"/b: not readable \(Permission denied\)"):
        find_cases(root, modalities=["t1"])


def test_folders_linked_from_elsewhere_are_found_once_and_loops_end(touch_volumes, tmp_path):
    store = touch_volumes("a/a_t1.nii.gz", root=tmp_path / "store")
    root = touch_volumes("b/b_t1.nii.gz", root=tmp_path / "root")
    (root / "a").symlink_to(store / "a")
    (root / "same").symlink_to(store / "a")
    (store / "a" / "back").symlink_to(store)
    (root / "b" / "loop").symlink_to(root)
    (root / "up").symlink_to(tmp_path)
    assert [item["case_id"] for item in find_cases(root, modalities=["t1"])] == ["a", "b"]
