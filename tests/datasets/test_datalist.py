import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.datasets import datalist_for, patient_of, read_datalist, select_items, training_items
from medseg.datasets.datalist import with_folds
from medseg.errors import DataError

BRATS = ("t1", "t1c", "t2", "flair")


@pytest.fixture
def brats_folder(touch_volumes):
    return touch_volumes(*(f"c{i}/c{i}_{m}.nii.gz" for i in range(10) for m in (*BRATS, "seg")))


def _write(root, training, name="datalist.json", **more):
    (root / name).write_text(json.dumps({"training": training, **more}))


def test_folder_without_datalist_is_dealt_into_folds(brats_folder):
    sections = [
        {
            item["case_id"]
            for item in training_items(dataset_dir=brats_folder, modalities=BRATS, fold=fold, section="validation")
        }
        for fold in range(5)
    ]
    assert [len(section) for section in sections] == [2] * 5
    assert set.union(*sections) == {f"c{i}" for i in range(10)}
    train = training_items(dataset_dir=brats_folder, modalities=["flair"], fold=2)
    assert {item["case_id"] for item in train} == {f"c{i}" for i in range(10)} - sections[2]
    assert all(Path(item["image"][0]).is_absolute() and item["fold"] != 2 for item in train)
    everything = training_items(dataset_dir=brats_folder, modalities=BRATS, section="all")
    assert len(everything) == 10


@given(st.permutations([f"BraTS-GLI-{p:05d}-{v:03d}" for p in range(9) for v in range(1 + p % 3)]), st.integers(0, 99))
def test_folds_keep_patients_together_and_ignore_the_order_of_entries(cases, seed):
    dealt = with_folds([{"image": f"{case}-t1c.nii.gz"} for case in cases], folds=4, seed=seed)
    fold_of = defaultdict(set)
    for case, entry in zip(cases, dealt, strict=True):
        fold_of[patient_of(case)].add(entry["fold"])
    assert all(len(folds) == 1 for folds in fold_of.values())
    sizes = Counter(next(iter(folds)) for folds in fold_of.values())
    assert max(sizes.values()) - min(sizes.values()) <= 1
    again = with_folds([{"image": f"{case}-t1c.nii.gz"} for case in sorted(cases)], folds=4, seed=seed)
    assert {e["image"]: e["fold"] for e in again} == {e["image"]: e["fold"] for e in dealt}


def test_folds_are_the_same_on_every_machine():
    folds = [entry["fold"] for entry in with_folds([f"case_{i}.nii.gz" for i in range(10)], folds=5, seed=0)]
    assert folds == [1, 0, 2, 2, 3, 1, 4, 3, 4, 0]


def test_datalist_order_of_modalities_is_turned_into_the_configs(brats_folder):
    training = [
        {
            "image": [f"c{i}/c{i}_{m}.nii.gz" for m in ("flair", "t2", "t1c", "t1")],
            "label": f"c{i}/c{i}_seg.nii.gz",
            "fold": i % 2,
        }
        for i in range(4)
    ]
    names = {"0": "FLAIR", "1": "T2w", "2": "t1gd", "3": "T1w"}
    for more in ({"modality": names}, {}):
        _write(brats_folder, training, **more)
        items = training_items(dataset_dir=brats_folder, modalities=["t1", "flair"], fold=1)
        assert [item["case_id"] for item in items] == ["c0", "c2"]
        assert [Path(path).name for path in items[1]["image"]] == ["c2_t1.nii.gz", "c2_flair.nii.gz"]
        assert items[1]["label"] == str(brats_folder / "c2/c2_seg.nii.gz")


def test_msd_4d_items_carry_channels(touch_volumes):
    root = touch_volumes(*(f"{d}/BRATS_00{i}.nii.gz" for i in range(5) for d in ("imagesTr", "labelsTr")))
    training = [
        {"image": f"./imagesTr/BRATS_00{i}.nii.gz", "label": f"./labelsTr/BRATS_00{i}.nii.gz"} for i in range(5)
    ]
    _write(root, training, "dataset.json", modality={"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"})
    items = training_items(dataset_dir=root, modalities=BRATS, fold=0)
    assert len(items) == 4
    assert items[0]["channels"] == [1, 2, 3, 0]
    assert isinstance(items[0]["image"], str)


def test_4d_files_in_an_nnunet_like_folder_keep_their_channels(touch_volumes):
    root = touch_volumes(*(f"imagesTr/c{i}.nii.gz" for i in range(3)), shape=(2, 2, 2, 2))
    touch_volumes(*(f"labelsTr/c{i}.nii.gz" for i in range(3)))
    (root / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1", "1": "FLAIR"}}))
    items = training_items(dataset_dir=root, modalities=["flair", "t1"], section="all")
    assert [item["channels"] for item in items] == [[1, 0]] * 3


def test_nnunet_dataset_json_has_no_list_and_the_folders_tell(touch_volumes):
    root = touch_volumes(*(f"imagesTr/c{i}_000{k}.nii.gz" for i in range(5) for k in range(2)))
    touch_volumes(*(f"labelsTr/c{i}.nii.gz" for i in range(5)))
    (root / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1", "1": "FLAIR"}, "numTraining": 5}))
    items = training_items(dataset_dir=root, modalities=["flair", "t1"], fold=0)
    assert len(items) == 4
    assert Path(items[0]["image"][0]).name.endswith("_0001.nii.gz")


def test_an_own_validation_list_stands_instead_of_folds(brats_folder):
    entry = [{"image": f"c{i}/c{i}_t1.nii.gz", "label": f"c{i}/c{i}_seg.nii.gz"} for i in range(3)]
    _write(brats_folder, entry[:2], "own.json", validation=entry[2:])
    arguments = {"dataset_dir": brats_folder, "datalist": "own.json", "modalities": ["t1"], "fold": 4}
    assert [item["case_id"] for item in training_items(**arguments)] == ["c0", "c1"]
    assert [item["case_id"] for item in training_items(**arguments, section="validation")] == ["c2"]


def test_cases_without_a_fold_always_train(brats_folder):
    entry = [{"image": f"c{i}/c{i}_t1.nii.gz", "label": f"c{i}/c{i}_seg.nii.gz"} for i in range(3)]
    _write(brats_folder, [{**entry[0], "fold": 0}, {**entry[1], "fold": 1}, entry[2]])
    items = training_items(dataset_dir=brats_folder, modalities=["t1"], fold=0)
    assert [item["case_id"] for item in items] == ["c1", "c2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fold": 7}, r"fold: no case has fold 7\. Folds in the datalist: 0, 1"),
        ({"modalities": ["t2"]}, r"case c0 \(c0_t1\.nii\.gz\): modality t2 is missing; found t1"),
        ({"datalist": "gone.json"}, r"gone\.json: no such datalist"),
        ({"dataset_dir": "/nowhere/at/all"}, "is no folder"),
        ({"section": "test"}, "section: 'test' is not one of training, validation, all"),
        (
            {"label_convention": "brats2023"},
            r"the labels are brats2017, the bundle takes them for brats2023\. Set label",
        ),
    ],
)
def test_clear_errors(brats_folder, change, message):
    training = [{"image": [f"c{i}/c{i}_t1.nii.gz"], "label": f"c{i}/c{i}_seg.nii.gz", "fold": i} for i in range(2)]
    _write(brats_folder, training, label_convention="brats2017")
    arguments = {"dataset_dir": brats_folder, "modalities": ["t1"], "fold": 1, "label_convention": "brats2018"}
    assert len(training_items(**arguments)) == 1
    with pytest.raises(DataError, match=message):
        training_items(**{**arguments, **change})


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ([{"image": "c0/c0_t1.nii.gz", "fold": 0}, {"image": "c1/c1_t1.nii.gz", "fold": 1}], "case c0 has no label"),
        ([{"image": "c0/gone.nii.gz", "case_id": "c0", "fold": 0}, {"image": "x", "fold": 1}], "case c0: no such file"),
        ([{"image": "c0/c0_t1.nii.gz", "fold": 1}], "no training case is left with fold 1 of 1 cases"),
        ([{"image": "c0/c0_t1.nii.gz", "fold": 0}] * 2 + [{"image": "x", "fold": 1}], "two cases are called 'c0'"),
        ([{"label": "x", "fold": 0}, {"image": "x", "fold": 1}], 'no "image" in the datalist'),
    ],
)
def test_bad_entries(brats_folder, training, message):
    _write(brats_folder, training)
    with pytest.raises(DataError, match=message):
        training_items(dataset_dir=brats_folder, modalities=["t1"], fold=1)


def test_unreadable_datalists(tmp_path):
    path = tmp_path / "datalist.json"
    path.write_text("{")
    with pytest.raises(DataError, match="not a readable datalist"):
        read_datalist(path)
    path.write_text("[]")
    with pytest.raises(DataError, match='a datalist needs "training"'):
        read_datalist(path)


def test_a_folder_without_labels_cannot_train(touch_volumes):
    with pytest.raises(DataError, match="cases without labels cannot train"):
        datalist_for(touch_volumes("a_ct.nii.gz"), modalities=["ct"])


def test_select_items_reads_a_datalist_in_memory(brats_folder):
    datalist = {"training": [{"image": "c0/c0_t1.nii.gz", "fold": 0}]}
    items = select_items(datalist, dataset_dir=brats_folder, modalities=["mr"], fold=0, section="validation")
    assert items == [{"case_id": "c0", "image": [str(brats_folder / "c0/c0_t1.nii.gz")], "fold": 0}]


def test_real_hippocampus(real_data):
    root = real_data / "msd_task04_hippocampus"
    train = training_items(dataset_dir=root, modalities=["mr"], fold=0)
    validation = training_items(dataset_dir=root, modalities=["mr"], fold=0, section="validation")
    assert (len(train), len(validation)) == (160, 40)
    loo = training_items(dataset_dir=real_data / "brats2015", modalities=["t1c", "flair"], fold=3, folds=4)
    assert len(loo) == 3
