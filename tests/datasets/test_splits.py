import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.datasets import training_items
from medseg.datasets.layouts import take_inventory
from medseg.datasets.shelf import RECORD
from medseg.datasets.splits import datalist_of, ids_sha256, nnunet_folds, split_cases, write_datalist
from medseg.errors import ConfigError, DataError


def _listed(touch_volumes, ids, **more):
    names = [f"{folder}/{case}.nii.gz" for case in ids for folder in ("imagesTr", "labelsTr")]
    root = touch_volumes(*names)
    training = [{"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"} for case in ids]
    content = {"name": "Organ", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "organ"}}
    (root / "dataset.json").write_text(json.dumps({**content, "training": training, **more}))
    return root


def _write_split(root, **options):
    inventory = take_inventory(root)
    split = split_cases(inventory, **options)
    write_datalist(root / "datalist.json", datalist_of(inventory, split), force=True)
    return split


def test_nnunet_folds_are_those_of_scikit_learn():
    # KFold(5, shuffle=True, random_state=12345).split(range(13)) of scikit-learn 1.9.1.
    published = [[0, 7, 9], [3, 6, 10], [8, 11, 12], [1, 4], [2, 5]]
    fold_of = nnunet_folds(f"case_{i:02d}" for i in reversed(range(13)))
    assert [[i for i in range(13) if fold_of[f"case_{i:02d}"] == fold] for fold in range(5)] == published


@pytest.mark.parametrize(
    ("count", "digest"),
    [
        (20, "abda1bb220bf70b244f0d202524c398d2e1787cf6733d67e292236d44b3c250f"),
        (41, "0a4052d7742e08d10ff89e7e94cde87c38b41507eb70d501cec68f08589a80eb"),
        (131, "3efd2f56bd83ba1ab7b3fbf068788fb1d5f45d8895b38eb89f9b481411b98558"),
        (260, "cfd64bafa40e47728af52504c4e9bfda5c47eb841aca869725cf168f4dbbcc02"),
        (484, "4afa36b8fbc510aff155b99404e7396aa0424d40e418b6946c71c8114ceac2f4"),
        (1251, "31bb31f8401d0f061665b73b3575617be5612aecc6c2c5e484331a8ce584d5a3"),
    ],
)
def test_nnunet_folds_of_the_sizes_of_public_datasets(count, digest):
    # sha256 of json.dumps of the five lists of test indices that scikit-learn 1.9.1 deals.
    fold_of = nnunet_folds(f"{i:05d}" for i in range(count))
    lists = [[i for i in range(count) if fold_of[f"{i:05d}"] == fold] for fold in range(5)]
    assert hashlib.sha256(json.dumps(lists).encode()).hexdigest() == digest


@given(st.sets(st.text(min_size=1, max_size=6), min_size=5, max_size=40))
def test_nnunet_folds_cover_each_case_once_in_even_folds(ids):
    fold_of = nnunet_folds(ids)
    assert set(fold_of) == ids
    sizes = [list(fold_of.values()).count(fold) for fold in range(5)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1


def test_msd_layout_gets_nnunets_folds_and_the_datalist_trains(touch_volumes):
    ids = [f"organ_{i:03d}" for i in range(13)]
    root = _listed(touch_volumes, ids)
    split = _write_split(root)
    assert (split.rule, split.folds, split.seed) == ("nnunet", 5, 12345)
    validation = training_items(dataset_dir=root, modalities=["ct"], fold=0, section="validation")
    assert [item["case_id"] for item in validation] == ["organ_000", "organ_007", "organ_009"]
    assert len(training_items(dataset_dir=root, modalities=["ct"], fold=0)) == 10
    content = json.loads((root / "datalist.json").read_text())
    assert content["labels"] == {"0": "background", "1": "organ"}
    assert content["training"][0] == {
        "case_id": "organ_000",
        "image": "imagesTr/organ_000.nii.gz",
        "label": "labelsTr/organ_000.nii.gz",
        "fold": 0,
    }


def test_the_datalist_records_the_sha256_of_every_id_list(touch_volumes):
    root = _listed(touch_volumes, ["b", "a", "c", "d", "e"], testing=[{"image": "imagesTr/a.nii.gz", "case_id": "t"}])
    _write_split(root)
    hashes = json.loads((root / "datalist.json").read_text())["split"]["ids_sha256"]
    assert list(hashes) == [*(f"fold {fold}" for fold in range(5)), "testing", "training"]
    assert hashes["training"] == hashlib.sha256(b"a\nb\nc\nd\ne\n").hexdigest()
    assert hashes["testing"] == ids_sha256(["t"])
    assert take_inventory(root).ids_sha256 == hashes


def test_visits_keep_a_patient_in_one_fold_even_in_msd_layout(touch_volumes):
    ids = [f"BraTS-GLI-{patient:05d}-{visit:03d}" for patient in range(8) for visit in range(2)]
    split = _write_split(_listed(touch_volumes, ids))
    assert (split.rule, split.seed) == ("patients", 0)
    for patient in range(8):
        assert len({split.fold_of[f"BraTS-GLI-{patient:05d}-{visit:03d}"] for visit in range(2)}) == 1


def test_asking_for_folds_or_seed_deals_by_patient_as_training_would(touch_volumes):
    root = _listed(touch_volumes, [f"o{i}" for i in range(9)])
    split = _write_split(root, folds=3)
    assert (split.rule, split.folds, split.seed) == ("patients", 3, 0)
    (root / "datalist.json").unlink()
    dealt = training_items(dataset_dir=root, modalities=["ct"], section="all", folds=3)
    assert split.fold_of == {item["case_id"]: item["fold"] for item in dealt}
    assert split_cases(take_inventory(root), folds=5).rule == "patients"
    assert split_cases(take_inventory(root), folds=3, seed=1).fold_of != split.fold_of


def test_folds_that_exist_are_kept(touch_volumes):
    root = touch_volumes(*(f"c{i}/c{i}_{kind}.nii.gz" for i in range(4) for kind in ("t1", "seg")))
    training = [{"image": f"c{i}/c{i}_t1.nii.gz", "label": f"c{i}/c{i}_seg.nii.gz", "fold": i // 2} for i in range(4)]
    (root / "datalist.json").write_text(json.dumps({"modality": {"0": "t1"}, "training": training}))
    split = _write_split(root)
    assert (split.rule, split.fold_of) == ("listed", {"c0": 0, "c1": 0, "c2": 1, "c3": 1})


def test_nnunets_own_file_of_folds_wins_over_its_rule(touch_volumes):
    root = _listed(touch_volumes, ["a", "b", "c"])
    folds = [{"train": ["b", "c"], "val": ["a"]}, {"train": ["a"], "val": ["b", "c"]}]
    (root / "splits_final.json").write_text(json.dumps(folds))
    split = split_cases(take_inventory(root))
    assert (split.rule, split.fold_of) == ("splits_final", {"a": 0, "b": 1, "c": 1})
    (root / "splits_final.json").write_text(json.dumps(folds[:1]))
    with pytest.raises(DataError, match="no fold validates b and 1 others"):
        split_cases(take_inventory(root))
    (root / "splits_final.json").write_text("[1]")
    with pytest.raises(DataError, match="no list of"):
        split_cases(take_inventory(root))


def test_what_cannot_be_split_is_one_error(touch_volumes):
    root = _listed(touch_volumes, ["a", "b", "c"])
    with pytest.raises(ConfigError, match="5 folds cannot be dealt from 3 patients. Give --folds 2 to 3."):
        split_cases(take_inventory(root))
    (root / "labelsTr" / "b.nii.gz").unlink()
    inventory = take_inventory(root)
    with pytest.raises(DataError, match="case b has no label"):
        datalist_of(inventory, split_cases(inventory, folds=2))
    (root / "datalist.json").write_text("mine")
    with pytest.raises(DataError, match=r"is there already. Name another file with -o, or replace it with --force"):
        write_datalist(root / "datalist.json", {})
    assert (root / "datalist.json").read_text() == "mine"


@pytest.mark.parametrize("name", ["brats2018", "brats2019"])
def test_nnunet_puts_the_grade_before_the_ids_of_brats_2018_and_2019(touch_volumes, name):
    """Task032_BraTS2018 and Task043_BraTS2019 call the cases HGG__<id> and LGG__<id>, which changes their order."""
    graded = {f"BraTS_{i:02d}": "LGG" if i % 3 == 0 else "HGG" for i in range(13)}
    files = (f"{grade}/{one}/{one}_{kind}.nii.gz" for one, grade in graded.items() for kind in ("t1", "seg"))
    root = touch_volumes(*files)
    (root / RECORD).write_text(json.dumps({"name": name}))
    dealt = split_cases(take_inventory(root, modalities=["t1"]))
    wanted = nnunet_folds(f"{grade}__{one}" for one, grade in graded.items())
    assert dealt.rule == "nnunet"
    assert dealt.fold_of == {one.partition("__")[2]: fold for one, fold in wanted.items()}
    assert dealt.fold_of != nnunet_folds(graded)
