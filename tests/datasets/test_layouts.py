import json

import pytest

from medseg.datasets.inventory import label_names
from medseg.datasets.layouts import take_inventory
from medseg.datasets.registry import DATASETS
from medseg.datasets.shelf import RECORD
from medseg.datasets.splits import split_cases
from medseg.errors import DataError


def _facts(inventory):
    return [(case.case_id, list(case.images), case.label.name if case.label else None) for case in inventory.cases]


def test_nnunets_layout_with_and_without_a_list_of_cases(touch_volumes):
    root = touch_volumes(
        *(f"imagesTr/c{i}_000{channel}.nii.gz" for i in range(2) for channel in range(2)),
        *(f"labelsTr/c{i}.nii.gz" for i in range(2)),
        *(f"imagesTs/c9_000{channel}.nii.gz" for channel in range(2)),
    )
    told = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "lesion": 1}}
    wanted = [(f"c{i}", ["t1", "t2"], f"c{i}.nii.gz") for i in range(2)] + [("c9", ["t1", "t2"], None)]
    (root / "dataset.json").write_text(json.dumps(told))
    inventory = take_inventory(root)
    assert (_facts(inventory), inventory.findings) == (wanted, ())
    assert inventory.labels == {0: "background", 1: "lesion"}
    assert [case.section for case in inventory.cases] == ["training", "training", "testing"]
    # nnU-Net v1 lists names without the channel's number.
    training = [{"image": f"./imagesTr/c{i}.nii.gz", "label": f"./labelsTr/c{i}.nii.gz"} for i in range(2)]
    (root / "dataset.json").write_text(json.dumps({"modality": told["channel_names"], "training": training}))
    assert (_facts(take_inventory(root)), take_inventory(root).findings) == (wanted, ())


def test_a_datalist_of_some_channels_and_cases_of_nnunets_layout(touch_volumes):
    root = touch_volumes(*(f"imagesTr/c{i}_000{channel}.nii.gz" for i in range(3) for channel in range(2)))
    touch_volumes("labelsTr/c0.nii.gz", "labelsTr/c2.nii.gz", "labelsTr/c7.nii.gz")
    training = [{"case_id": "c0", "image": ["imagesTr/c0_0001.nii.gz"], "label": "labelsTr/c0.nii.gz"}]
    (root / "datalist.json").write_text(json.dumps({"modality": {"0": "t2"}, "training": training}))
    found = [(one.check, one.message.split()[0]) for one in take_inventory(root).findings]
    assert found == [
        ("image-without-label", "imagesTr/c1_0000.nii.gz"),
        ("image-without-label", "imagesTr/c1_0001.nii.gz"),
        ("unlisted", "c2_0000.nii.gz"),
        ("unlisted", "c2_0001.nii.gz"),
        ("orphan-label", "labelsTr/c7.nii.gz"),
    ]


def test_four_digits_that_belong_to_the_case(touch_volumes):
    root = touch_volumes(*(f"{folder}/amos_000{i}.nii.gz" for i in range(1, 4) for folder in ("imagesTr", "labelsTr")))
    (root / "labelsTr" / "amos_0003.nii.gz").unlink()
    training = [{"image": "./imagesTr/amos_0001.nii.gz", "label": "./labelsTr/amos_0001.nii.gz"}]
    (root / "dataset.json").write_text(json.dumps({"modality": {"0": "CT"}, "training": training}))
    inventory = take_inventory(root)
    assert [case.case_id for case in inventory.cases] == ["amos_0001"]
    found = [(one.check, one.case_id) for one in inventory.findings]
    assert found == [("unlisted", "amos_0002"), ("image-without-label", "amos_0003")]


def test_bids_with_label_maps_in_derivatives(touch_volumes):
    subjects = ("sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1")
    names = []
    for name in subjects:
        folder = name.replace("_", "/")
        names += [f"{folder}/anat/{name}_acq-mprage_T1w.nii.gz", f"{folder}/anat/{name}_FLAIR.nii.gz"]
        names += [f"derivatives/labels/{folder}/anat/{name}_dseg.nii.gz"] if name == subjects[0] else []
        names += [f"derivatives/labels/{folder}/anat/{name}_desc-lesion_mask.nii.gz"] if name != subjects[0] else []
    inventory = take_inventory(touch_volumes(*names))
    assert inventory.modalities == ("t1", "flair")
    assert [(case.case_id, case.patient) for case in inventory.cases] == [
        ("sub-01_ses-1", "sub-01"),
        ("sub-01_ses-2", "sub-01"),
        ("sub-02_ses-1", "sub-02"),
    ]
    assert all(len(case.images) == 2 and case.label for case in inventory.cases)
    assert inventory.findings == ()


def test_one_file_of_several_channels(touch_volumes):
    root = touch_volumes("imagesTr/b1.nii.gz", "imagesTr/b2.nii.gz", shape=(2, 2, 2, 4))
    touch_volumes("labelsTr/b1.nii.gz", "labelsTr/b2.nii.gz")
    modality = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    training = [{"image": f"imagesTr/b{i}.nii.gz", "label": f"labelsTr/b{i}.nii.gz"} for i in (1, 2)]
    (root / "dataset.json").write_text(json.dumps({"modality": modality, "training": training}))
    inventory = take_inventory(root)
    assert inventory.modalities == ("flair", "t1", "t1c", "t2")
    assert [case.scans for case in inventory.cases] == [(root / f"imagesTr/b{i}.nii.gz",) for i in (1, 2)]
    assert inventory.findings == ()


def test_modalities_are_those_of_most_cases_or_those_asked_for(touch_volumes):
    root = touch_volumes(
        *(f"c{i}/c{i}_{m}.nii.gz" for i in range(3) for m in ("t1", "t2", "seg")), "c0/c0_flair.nii.gz"
    )
    assert take_inventory(root).modalities == ("t1", "t2")
    asked = take_inventory(root, modalities=["FLAIR"])
    assert asked.modalities == ("flair",)
    assert [found.case_id for found in asked.findings] == ["c1", "c2"]


def test_folder_of_label_maps_without_scans_is_all_orphans(touch_volumes):
    root = touch_volumes("labelsTr/a.nii.gz", "labelsTr/b.nii.gz")
    assert [(found.check, found.case_id) for found in take_inventory(root).findings] == [
        ("orphan-label", "a"),
        ("orphan-label", "b"),
    ]


def test_a_fetched_dataset_brings_its_convention_and_layout(touch_volumes):
    root = touch_volumes(*(f"BraTS2021_0000{i}/BraTS2021_0000{i}_{m}.nii.gz" for i in range(2) for m in ("t1", "seg")))
    (root / RECORD).write_text(json.dumps({"name": "brats2021"}))
    inventory = take_inventory(root)
    assert (inventory.name, inventory.label_convention) == ("brats2021", "brats2021")
    assert [found.message[:6] for found in inventory.findings] == ["no t1c", "no t2 ", "no fla"] * 2


def test_kits_as_distributed(touch_volumes):
    root = touch_volumes(
        *(f"dataset/case_0000{i}/{name}.nii.gz" for i in range(2) for name in ("imaging", "segmentation"))
    )
    touch_volumes("dataset/case_00000/instances/tumor_instance-1_annotation-1.nii.gz")
    (root / RECORD).write_text(json.dumps({"name": "kits23"}))
    inventory = take_inventory(root)
    assert _facts(inventory) == [(f"case_0000{i}", ["ct"], "segmentation.nii.gz") for i in range(2)]
    assert inventory.findings == ()


def test_luna16_without_its_table_says_so(touch_volumes):
    root = touch_volumes("s0001/ct.nii.gz", "s0001/segmentations/liver.nii.gz")
    (root / RECORD).write_text(json.dumps({"name": "luna16"}))
    with pytest.raises(DataError, match="LUNA16's annotations.csv is missing"):
        take_inventory(root)


def test_label_names_of_nothing():
    assert label_names(None) is label_names({}) is label_names({"background": "x"}) is None


def test_amos_has_its_own_validation_cases(touch_volumes):
    names = {"Tr": ("amos_0001", "amos_0507"), "Va": ("amos_0008",), "Ts": ("amos_0002",)}
    root = touch_volumes(*(f"images{part}/{one}.nii.gz" for part, ids in names.items() for one in ids))
    touch_volumes(*(f"labels{part}/{one}.nii.gz" for part in ("Tr", "Va") for one in names[part]))
    sections = [("amos_0001", "training"), ("amos_0002", "testing"), ("amos_0008", "validation")]
    sections.append(("amos_0507", "training"))
    spec = DATASETS["amos22"]
    assert sorted((case.case_id, case.section) for case in spec.cases(root)) == sections
    description = {
        "labels": {"0": "background", "1": "spleen"},
        "modality": {"0": "CT"},
        **{
            key: [
                {"image": f"./images{part}/{one}.nii.gz", "label": f"./labels{part}/{one}.nii.gz"}
                for one in names[part]
            ]
            for key, part in (("training", "Tr"), ("validation", "Va"))
        },
        "test": ["./imagesTs/amos_0002.nii.gz"],
    }
    (root / "dataset.json").write_text(json.dumps(description))
    taken = take_inventory(root)
    assert sorted((case.case_id, case.section) for case in taken.cases) == sections
    assert taken.findings == ()
    assert split_cases(taken).rule == "lists"


def test_btcv_has_training_and_test_subjects(touch_volumes):
    root = touch_volumes(
        *(f"RawData/Training/{kind}/{kind}00{i:02d}.nii.gz" for i in (1, 40) for kind in ("img", "label")),
        "RawData/Testing/img/img0061.nii.gz",
    )
    cases = DATASETS["btcv"].cases(root)
    assert [(case.case_id, case.section) for case in cases] == [
        ("0001", "training"), ("0040", "training"), ("0061", "testing"),
    ]  # fmt: skip
    assert cases[0].label.name == "label0001.nii.gz"


def test_kits_cases_have_their_folders_names(touch_volumes):
    root = touch_volumes(*(f"case_0000{i}/{kind}.nii.gz" for i in range(2) for kind in ("imaging", "segmentation")))
    assert [case.case_id for case in DATASETS["kits23"].cases(root)] == ["case_00000", "case_00001"]
