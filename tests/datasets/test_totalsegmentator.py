import json

import nibabel as nib
import numpy as np
import pytest

from medseg.datasets import training_items
from medseg.datasets.layouts import take_inventory
from medseg.datasets.registry import DATASETS
from medseg.datasets.splits import datalist_of, split_cases, write_datalist
from medseg.datasets.totalsegmentator import read_sections
from medseg.datasets.verify import verify_dataset
from medseg.errors import DataError

HEADER = "image_id;age;gender;institute;study_type;split;manufacturer;scanner_model;kvp;pathology;pathology_location\n"


def save(path, values, step=1.5):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, np.diag([step, step, step, 1.0])), path)


@pytest.fixture
def folder(tmp_path):
    """Four subjects as distributed: two train, one validates, one tests."""
    random, rows = np.random.default_rng(0), []
    for number, split in ((0, "train"), (3, "train"), (7, "val"), (11, "test")):
        subject = tmp_path / f"s{number:04d}"
        save(subject / "ct.nii.gz", random.integers(-1000, 1000, (4, 5, 6)).astype(np.int16))
        for name in ("liver", "spleen"):
            save(subject / f"segmentations/{name}.nii.gz", random.integers(0, 2, (4, 5, 6)).astype(np.uint8))
        rows.append(f"{subject.name};60;m;C;ct abdomen;{split};siemens;x;120;no_pathology;\n")
    (tmp_path / "meta.csv").write_text(HEADER + "".join(rows), encoding="utf-8-sig")
    return tmp_path


def test_cases_have_masks_and_the_official_sections(folder):
    cases = DATASETS["totalsegmentator"].cases(folder)
    assert [(case.case_id, case.section) for case in cases] == [
        ("s0000", "training"), ("s0003", "training"), ("s0007", "validation"), ("s0011", "testing"),
    ]  # fmt: skip
    assert list(cases[0].masks) == ["liver", "spleen"]
    assert verify_dataset(folder).findings == ()
    assert verify_dataset(folder).n_files == 12


def test_split_writes_the_official_lists(folder):
    taken = take_inventory(folder)
    split = split_cases(taken)
    assert (split.rule, split.folds) == ("lists", 0)
    content = datalist_of(taken, split)
    assert [len(content[section]) for section in ("training", "validation", "testing")] == [2, 1, 1]
    assert content["validation"][0]["masks"]["spleen"] == "s0007/segmentations/spleen.nii.gz"
    write_datalist(folder / "datalist.json", content)
    assert verify_dataset(folder).findings == ()
    with pytest.raises(DataError, match="case s0000 has a mask for each structure in place of one label map"):
        training_items(dataset_dir=folder, modalities=["ct"])


def test_folds_that_are_asked_for_take_the_validation_cases_in(folder):
    taken = take_inventory(folder)
    content = datalist_of(taken, split_cases(taken, folds=3, seed=0))
    assert sorted(entry["fold"] for entry in content["training"]) == [0, 1, 2]
    assert "validation" not in content


def test_faults_are_found(folder):
    save(folder / "s0000/segmentations/liver.nii.gz", np.full((4, 5, 6), 3, np.uint8))
    save(folder / "s0003/segmentations/liver.nii.gz", np.ones((4, 5, 6), np.uint8), step=2.0)
    (folder / "s0007/ct.nii.gz").unlink()
    for mask in (folder / "s0011/segmentations").iterdir():
        mask.unlink()
    (folder / "meta.csv").write_text((folder / "meta.csv").read_text() + "s0099;1;m;C;ct;train;a;b;1;c;d\n")
    found = {(one.check, one.case_id) for one in verify_dataset(folder).errors}
    assert found == {
        ("label-values", "s0000"),
        ("grid", "s0003"),
        ("modality", "s0007"),
        ("image-without-label", "s0011"),
        ("readable", "s0099"),
    }


def test_subjects_may_lie_one_folder_deeper(folder, tmp_path_factory):
    above = tmp_path_factory.mktemp("above")
    (above / "Totalsegmentator_dataset_v201").symlink_to(folder)
    assert len(take_inventory(above).cases) == 4


def test_bad_tables_and_modalities_are_told(folder, tmp_path):
    (tmp_path / "meta.csv").write_text("image_id,split\ns0000,train\n")
    with pytest.raises(DataError, match="no table with image_id and split"):
        read_sections(tmp_path / "meta.csv")
    (folder / "meta.csv").unlink()
    assert {case.section for case in take_inventory(folder).cases} == {"training"}
    with pytest.raises(DataError, match="scans are ct, not t1"):
        take_inventory(folder, modalities=["t1"])
    (folder / "dataset.json").write_text(json.dumps({"x": 1}))
