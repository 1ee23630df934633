import json
from collections import Counter

import pytest

from medseg.datasets import datalist_for, training_items
from medseg.datasets.layouts import take_inventory
from medseg.datasets.shelf import RECORD
from medseg.datasets.splits import datalist_of, nnunet_folds, split_cases
from medseg.errors import DataError


def folds_of(content):
    return {entry["case_id"]: entry["fold"] for entry in content["training"]}


def as_split_writes(root, **arguments):
    """The folds that `medseg data split` writes for the folder."""
    taken = take_inventory(root)
    return folds_of(datalist_of(taken, split_cases(taken, **arguments)))


@pytest.fixture
def own_dataset(touch_volumes):
    """Three patients with two visits each, files named as no tool names them."""
    cases = [f"P{patient}_visit{visit}" for patient in range(6) for visit in (1, 2)]
    root = touch_volumes(*(f"{case}/{kind}.nii.gz" for case in cases for kind in (f"{case}_gd", f"{case}_fl", "roi")))
    (root / "dataset.yaml").write_text(
        'images: {t1c: "{case}/{case}_gd.nii.gz", flair: "{case}/{case}_fl.nii.gz"}\n'
        'label: "{case}/roi.nii.gz"\nlabel_convention: brats2023\npatient: "{patient}_visit*"\n'
    )
    return root


def test_a_dataset_yaml_trains_without_a_datalist(own_dataset):
    content = datalist_for(own_dataset, modalities=["flair"])
    assert folds_of(content) == as_split_writes(own_dataset)
    items = training_items(dataset_dir=own_dataset, modalities=["flair"], fold=1, label_convention="brats2023")
    assert all(item["image"][0].endswith("_fl.nii.gz") and item["label"].endswith("roi.nii.gz") for item in items)
    validation = training_items(dataset_dir=own_dataset, modalities=["flair"], fold=1, section="validation")
    assert len(items) + len(validation) == 12
    assert not {i["case_id"][:2] for i in items} & {i["case_id"][:2] for i in validation}
    with pytest.raises(DataError, match="the labels are brats2023, the bundle takes them for brats2017"):
        training_items(dataset_dir=own_dataset, modalities=["flair"], label_convention="brats2017")


def test_a_dataset_yaml_says_what_is_missing(own_dataset):
    with pytest.raises(DataError, match="no pattern for t2; it has t1c, flair"):
        datalist_for(own_dataset, modalities=["t2"])
    (own_dataset / "P3_visit1/P3_visit1_fl.nii.gz").unlink()
    assert len(datalist_for(own_dataset, modalities=["t1c"])["training"]) == 12
    with pytest.raises(DataError, match="case P3_visit1 has no flair. Run medseg data verify"):
        datalist_for(own_dataset, modalities=["t1c", "flair"])


def test_cases_without_a_label_are_left_out(own_dataset):
    (own_dataset / "P3_visit1/roi.nii.gz").unlink()
    assert "P3_visit1" not in folds_of(datalist_for(own_dataset, modalities=["t1c"]))


def test_a_datalist_beside_a_dataset_yaml_gives_the_folds(own_dataset):
    taken = take_inventory(own_dataset)
    content = datalist_of(taken, split_cases(taken, folds=2, seed=9))
    (own_dataset / "datalist.json").write_text(json.dumps(content))
    assert folds_of(datalist_for(own_dataset, modalities=["t1c"])) == folds_of(content)


def test_channels_of_a_described_4d_file_keep_their_numbers(touch_volumes):
    root = touch_volumes(*(f"c{i}/all.nii.gz" for i in range(5)), shape=(2, 2, 2, 2))
    touch_volumes(*(f"c{i}/seg.nii.gz" for i in range(5)))
    (root / "dataset.yaml").write_text(
        'images: {t1: "{case}/all.nii.gz", flair: "{case}/all.nii.gz"}\nlabel: "{case}/seg.nii.gz"\n'
    )
    items = training_items(dataset_dir=root, modalities=["flair"], section="all")
    assert [item["channels"] for item in items] == [[1]] * 5


@pytest.mark.parametrize("layout", ["nnunet", "msd"])
def test_nnunet_and_msd_folders_train_in_nnunets_folds(touch_volumes, layout):
    number = "_0000" if layout == "nnunet" else ""
    ids = [f"liver_{i}" for i in range(11)]
    root = touch_volumes(*(f"imagesTr/{one}{number}.nii.gz" for one in ids), *(f"labelsTr/{one}.nii.gz" for one in ids))
    listed = [{"image": f"./imagesTr/{one}.nii.gz", "label": f"./labelsTr/{one}.nii.gz"} for one in ids]
    description = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver"}, "training": listed}
    (root / "dataset.json").write_text(json.dumps(description))
    # Also nnU-Net's first version, whose dataset.json lists names that lack the files' _0000.
    content = datalist_for(root, modalities=["ct"])
    found = [training_items(dataset_dir=root, modalities=["ct"], fold=f, section="validation") for f in range(5)]
    assert {item["case_id"]: item["fold"] for fold in found for item in fold} == nnunet_folds(ids)
    assert folds_of({"training": [{"case_id": i["case_id"], **i} for fold in found for i in fold]}) == nnunet_folds(ids)
    assert as_split_writes(root) == nnunet_folds(ids)
    assert len(content["training"]) == 11
    other = training_items(dataset_dir=root, modalities=["ct"], section="all", folds=2, seed=5)
    assert Counter(item["fold"] for item in other) == {0: 6, 1: 5}


def test_bids_trains_with_label_maps_in_derivatives(touch_volumes):
    names = [f"sub-{i:02d}_ses-{s}" for i in range(6) for s in ("a", "b")]
    root = touch_volumes(
        *(f"{n[:6]}/{n[7:]}/anat/{n}_acq-mprage_T1w.nii.gz" for n in names),
        *(f"derivatives/labels/{n[:6]}/{n[7:]}/anat/{n}_dseg.nii.gz" for n in names),
    )
    content = datalist_for(root, modalities=["t1"])
    assert folds_of(content) == as_split_writes(root)
    items = training_items(dataset_dir=root, modalities=["t1"], section="all")
    assert [item["case_id"] for item in items] == names
    assert all("derivatives" in item["label"] for item in items)
    folds = {(item["case_id"][:6], item["fold"]) for item in items}
    assert len(folds) == 6  # both sessions of a subject lie in one fold


def test_a_fetched_dataset_trains_in_its_own_layout(touch_volumes):
    cases = [f"case_{i:05d}" for i in range(7)]
    root = touch_volumes(*(f"{case}/{kind}.nii.gz" for case in cases for kind in ("imaging", "segmentation")))
    (root / RECORD).write_text(json.dumps({"name": "kits23"}))
    assert folds_of(datalist_for(root, modalities=["ct"])) == nnunet_folds(cases)  # nnU-Net's Dataset220 keeps the ids


def test_few_cases_train_in_fewer_folds(touch_volumes):
    root = touch_volumes(*(f"c{i}/c{i}_{kind}.nii.gz" for i in range(3) for kind in ("t1", "seg")))
    assert sorted(folds_of(datalist_for(root, modalities=["t1"])).values()) == [0, 1, 2]


def test_patients_that_a_datalist_names_stay_together(touch_volumes):
    root = touch_volumes(*(f"{name}.nii.gz" for i in range(8) for name in (f"c{i}", f"c{i}_seg")))
    training = [
        {"case_id": f"c{i}", "image": f"c{i}.nii.gz", "label": f"c{i}_seg.nii.gz", "patient": f"p{i // 2}"}
        for i in range(8)
    ]
    (root / "datalist.json").write_text(json.dumps({"training": training}))
    folds = folds_of(datalist_for(root, modalities=["ct"]))
    assert all(folds[f"c{2 * i}"] == folds[f"c{2 * i + 1}"] for i in range(4))
    assert set(folds.values()) == {0, 1, 2, 3}


def test_a_fetched_dataset_is_held_to_its_own_label_convention(touch_volumes):
    ids = [f"BRATS_{i:03d}" for i in range(5)]
    root = touch_volumes(*(f"{place}/{one}.nii.gz" for place in ("imagesTr", "labelsTr") for one in ids))
    listed = [{"image": f"./imagesTr/{one}.nii.gz", "label": f"./labelsTr/{one}.nii.gz"} for one in ids]
    names = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    (root / "dataset.json").write_text(json.dumps({"modality": names, "training": listed}))
    (root / RECORD).write_text(json.dumps({"name": "msd_task01_braintumour"}))
    arguments = {"dataset_dir": root, "modalities": ["flair"]}
    assert len(training_items(**arguments, label_convention="msd_task01")) == 4
    with pytest.raises(DataError, match="the labels are msd_task01, the bundle takes them for brats2017"):
        training_items(**arguments, label_convention="brats2017")


def test_a_folders_own_validation_cases_validate(touch_volumes):
    names = {"Tr": ("a_1", "a_2"), "Va": ("a_3",)}
    root = touch_volumes(
        *(f"{kind}{part}/{one}.nii.gz" for part in names for one in names[part] for kind in ("images", "labels"))
    )
    arguments = {"dataset_dir": root, "modalities": ["ct"], "fold": 3}
    assert [item["case_id"] for item in training_items(**arguments)] == ["a_1", "a_2"]
    assert [item["case_id"] for item in training_items(**arguments, section="validation")] == ["a_3"]
