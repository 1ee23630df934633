import gzip
import json
import shutil

import numpy as np
import pytest

from medseg.datasets import luna16
from medseg.datasets.boxed import boxes_of_entry, detection_items
from medseg.datasets.layouts import take_inventory
from medseg.datasets.phantoms import make_luna16_phantom, write_luna16_phantoms
from medseg.datasets.preparation import prepare_dataset
from medseg.datasets.registry import DATASETS
from medseg.datasets.splits import datalist_of, split_cases, write_datalist
from medseg.datasets.verify import verify_dataset
from medseg.errors import DataError
from medseg.volumes import luna16_csv

SMALL = {"shape": (48, 40, 24), "spacing_mm": 4.5}
HEAD = "seriesuid,coordX,coordY,coordZ,diameter_mm"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("luna16")
    write_luna16_phantoms(folder, cases=12, seed=3, **SMALL)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made, tmp_path / "d")
    return tmp_path / "d"


def _found(folder):
    return sorted((one.check, one.level) for one in verify_dataset(folder, workers=1).findings)


def test_cases_have_their_nodules_as_ras_boxes_and_their_subset_as_fold(made):
    taken = take_inventory(made)
    assert (taken.name, taken.modalities, taken.labels, taken.findings) == ("luna16", ("ct",), {0: "nodule"}, ())
    cases = {case.case_id: case for case in taken.cases}
    assert len(cases) == 12
    for number in range(12):
        phantom = make_luna16_phantom(number, seed=3, **SMALL)
        case = cases[phantom.series_uid]
        assert case.fold == number % 10
        assert case.scans[0].name == f"{phantom.series_uid}.mhd"
        assert len(case.facts["box_ras_mm"]) == len(case.facts["box_label"]) == len(phantom.nodules)
        for box, nodule in zip(np.array(case.facts["box_ras_mm"]).reshape(-1, 6), phantom.nodules, strict=True):
            centre = np.array(nodule.centre_lps_mm) * [-1, -1, 1]
            np.testing.assert_allclose(box[:3], centre - nodule.diameter_mm / 2, atol=1e-6)
            np.testing.assert_allclose(box[3:], centre + nodule.diameter_mm / 2, atol=1e-6)
    assert any(not case.facts["box_ras_mm"] for case in cases.values())
    assert DATASETS["luna16"].cases(made) == taken.cases


def test_verify_is_clean_and_finds_what_is_planted(folder):
    assert _found(folder) == []
    header = next((folder / "subset1").glob("*.mhd"))
    raw = header.with_suffix(".raw")
    raw.write_bytes(raw.read_bytes()[:-10])  # truncated
    next((folder / "subset2").glob("*.raw")).unlink()  # missing
    table = folder / "annotations.csv"
    uid = next((folder / "subset3").glob("*.mhd")).stem
    table.write_text(table.read_text() + f"{uid},9000,0,0,5\n{uid},0,0,0,-1\n9.9.9,0,0,0,5\n")
    assert _found(folder) == [
        ("boxes", "error"),
        ("boxes", "error"),
        ("orphan-label", "error"),
        ("readable", "error"),
        ("readable", "error"),
    ]


def test_some_subsets_alone_are_a_note(folder):
    for number in range(2, 10):
        shutil.rmtree(folder / f"subset{number}")
    taken = take_inventory(folder)
    assert len(taken.cases) == 4
    (found,) = taken.findings
    assert (found.check, found.level) == ("absent", "note")
    assert found.message.startswith("8 of 12 scans are not in the folder, ")
    (folder / "seriesuids.csv").unlink()
    (found,) = take_inventory(folder).findings
    assert found.check == "absent"


def test_a_scan_in_two_subsets_is_found(folder):
    for file in (folder / "subset4").iterdir():
        shutil.copy(file, folder / "subset5")
    assert {"case-id", "duplicate"} <= {check for check, _ in _found(folder)}


def test_a_scan_that_no_list_has_is_a_note(folder):
    for file in (folder / "subset4").iterdir():
        shutil.copy(file, folder / "subset5" / f"7.7.7{file.suffix}")
    header = folder / "subset5" / "7.7.7.mhd"
    header.write_text(header.read_text().rsplit("ElementDataFile", 1)[0] + "ElementDataFile = 7.7.7.raw\n")
    found = {(one.check, one.case_id) for one in take_inventory(folder).findings}
    assert found == {("unlisted", "7.7.7")}


def test_tables_may_lie_where_the_evaluation_script_has_them_and_be_packed(folder):
    inner = folder / "evaluationScript" / "annotations"
    inner.mkdir(parents=True)
    (folder / "seriesuids.csv").rename(inner / "seriesuids.csv")
    table = folder / "annotations.csv"
    (inner / "annotations.csv.gz").write_bytes(gzip.compress(table.read_bytes()))
    table.unlink()
    assert luna16.is_luna16(folder)
    taken = take_inventory(folder)
    assert taken.source == inner / "annotations.csv.gz"
    assert (len(taken.cases), taken.findings) == (12, ())


def test_lung_masks_beside_the_subsets_are_no_cases(folder):
    shutil.copytree(folder / "subset0", folder / "seg-lungs-LUNA16")
    assert len(take_inventory(folder).cases) == 12


def test_damaged_or_missing_tables_are_one_line(folder):
    (folder / "annotations.csv").write_text(f"{HEAD}\n1.2,a,0,0,5\n")
    with pytest.raises(DataError, match=r"annotations\.csv, line 2: coordX is 'a'"):
        take_inventory(folder)
    (folder / "annotations.csv").unlink()
    with pytest.raises(DataError, match=r"LUNA16's annotations\.csv is missing"):
        luna16.inventory(folder)
    for number in range(10):
        shutil.rmtree(folder / f"subset{number}")
    (folder / "annotations.csv").write_text(f"{HEAD}\n")
    with pytest.raises(DataError, match=r"no scan\. Wanted subset0 to subset9"):
        luna16.inventory(folder)


def test_the_split_is_the_official_one_and_its_datalist_has_the_boxes(folder):
    taken = take_inventory(folder)
    split = split_cases(taken)
    assert (split.rule, split.folds) == ("listed", 10)
    content = datalist_of(taken, split)
    assert content["labels"] == {"0": "nodule"}
    entry = next(entry for entry in content["training"] if entry["fold"] == 7)
    assert set(entry) == {"case_id", "image", "box_ras_mm", "box_label", "fold"}
    assert entry["image"] == f"subset7/{entry['case_id']}.mhd"
    assert all(len(box) == 6 and box[:3] < box[3:] for box in entry["box_ras_mm"])
    write_datalist(folder / "datalist.json", content)
    again = take_inventory(folder)
    assert again.cases == taken.cases
    assert verify_dataset(folder, workers=1).findings == ()


def test_the_real_tables_give_888_cases_and_1186_boxes(real_data, tmp_path):
    tables = real_data / "luna16"
    if not tables.is_dir():
        pytest.skip("LUNA16's tables are not on this machine (../shared/data/luna16)")
    shutil.copytree(tables, tmp_path, dirs_exist_ok=True)
    for number, uid in enumerate(luna16_csv.read_series(tables / "seriesuids.csv")):
        header = tmp_path / f"subset{number % 10}" / f"{uid}.mhd"  # any subset will do here, and no voxels
        header.parent.mkdir(exist_ok=True)
        header.touch()
    taken = take_inventory(tmp_path)
    assert (len(taken.cases), taken.findings) == (888, ())
    assert sum(len(case.facts["box_ras_mm"]) for case in taken.cases) == 1186
    assert sum(bool(case.facts["box_ras_mm"]) for case in taken.cases) == 601
    split = split_cases(taken)
    assert (split.rule, split.folds) == ("listed", 10)


@pytest.mark.parametrize("listed", [False, True])
def test_one_fold_is_tested_on_the_next_validates_and_eight_train(folder, listed):
    if listed:
        taken = take_inventory(folder)
        write_datalist(folder / "other.json", datalist_of(taken, split_cases(taken)))
    folds = {}
    for fold in (0, 9):
        for section in ("training", "validation", "testing", "all"):
            items = detection_items(
                dataset_dir=folder, datalist="other.json" if listed else None, fold=fold, section=section
            )
            folds[fold, section] = sorted({item["fold"] for item in items})
    assert (folds[0, "testing"], folds[0, "validation"], folds[0, "training"]) == ([0], [1], list(range(2, 10)))
    assert (folds[9, "testing"], folds[9, "validation"], folds[9, "training"]) == ([9], [0], list(range(1, 9)))
    assert folds[0, "all"] == list(range(10))
    item = detection_items(dataset_dir=folder, fold=3, section="testing")[0]
    assert set(item) == {"case_id", "image", "box_ras_mm", "box_label", "fold"}
    assert item["image"] == str(folder / "subset3" / f"{item['case_id']}.mhd")


def test_scans_without_nodules_have_empty_lists(folder):
    items = detection_items(dataset_dir=folder, section="all")
    empty = [item for item in items if not item["box_label"]]
    assert len(empty) == 3
    assert all(item["box_ras_mm"] == [] for item in empty)


def test_a_datalist_of_ones_own_with_lists_in_place_of_folds(folder):
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("subset*/*.mhd"))
    boxes = [{"image": name, "box_ras_mm": [[0, 0, 0, 5, 5, 5]]} for name in names]
    content = {"modality": {"0": "CT"}, "training": boxes[:3], "validation": boxes[3:5], "testing": boxes[5:6]}
    (folder / "own.json").write_text(json.dumps(content))
    counts = {
        section: len(detection_items(dataset_dir=folder, datalist="own.json", section=section))
        for section in ("training", "validation", "testing", "all")
    }
    assert counts == {"training": 3, "validation": 2, "testing": 1, "all": 6}
    (item, *_) = detection_items(dataset_dir=folder, datalist="own.json", section="validation")
    assert item["box_label"] == [0]
    assert "fold" not in item


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"section": "train"}, r"section: 'train' is not one of training, validation, testing, all"),
        ({"fold": 10}, r"fold: no case of .* has fold 10\. Its folds: 0, 1, "),
        ({"dataset_dir": "nowhere"}, r"dataset_dir: nowhere is no folder"),
        ({"datalist": "none.json"}, r"none\.json: no such datalist"),
    ],
)
def test_items_that_cannot_be_had_are_one_line(made, options, message):
    with pytest.raises(DataError, match=message):
        detection_items(**{"dataset_dir": made, **options})


def test_two_folds_leave_none_to_train_on(folder):
    entries = [
        {"image": path.relative_to(folder).as_posix(), "box_ras_mm": [], "fold": index % 2}
        for index, path in enumerate(sorted(folder.glob("subset*/*.mhd")))
    ]
    (folder / "own.json").write_text(json.dumps({"modality": {"0": "ct"}, "training": entries}))
    with pytest.raises(DataError, match=r"2 folds leave none to train on"):
        detection_items(dataset_dir=folder, datalist="own.json")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, r'c1: no "box_ras_mm" in the datalist'),
        ({"box_ras_mm": [[0, 0, 0, 1, 1]]}, r"c1: shape \(1, 5\) is no list of boxes"),
        ({"box_ras_mm": [[0, 0, 0, 1, 0, 1]]}, r"c1: box 0 .* has no size along an axis"),
        ({"box_ras_mm": [["a"] * 6]}, r"c1: box_ras_mm or box_label holds what is no number"),
        ({"box_ras_mm": [[0, 0, 0, 1, 1, 1]], "box_label": []}, r"c1: 1 boxes and the classes \[\]"),
        ({"box_ras_mm": [[0, 0, 0, 1, 1, 1]], "box_label": [-1]}, r"c1: 1 boxes and the classes \[-1\]"),
    ],
)
def test_boxes_that_cannot_be_are_one_line(entry, message):
    with pytest.raises(DataError, match=message):
        boxes_of_entry(entry, where="c1")


@pytest.mark.parametrize("diameter", ["0", "-1"])
def test_a_nodule_without_a_size_is_not_trained_as_background(folder, diameter, tmp_path):
    table = folder / "annotations.csv"
    head, first, *others = table.read_text().splitlines()
    table.write_text("\n".join([head, ",".join([*first.split(",")[:4], diameter]), *others]))
    for use in (
        lambda: detection_items(dataset_dir=folder),
        lambda: datalist_of(take_inventory(folder), split_cases(take_inventory(folder))),
        lambda: prepare_dataset(folder, tmp_path / "out", workers=1),
    ):
        with pytest.raises(DataError, match=rf"annotations.csv: scan .* diameter {diameter} mm has no box.*\(1 such"):
            use()
    assert ("boxes", "error") in _found(folder)


def test_verify_finds_a_nodule_that_is_there_twice(folder):
    table = folder / "annotations.csv"
    table.write_text(table.read_text() + table.read_text().splitlines()[1] + "\n")
    assert _found(folder) == [("boxes", "error")]


@pytest.mark.parametrize(
    "facts",
    [
        {"box_ras_mm": "boxes", "box_label": []},
        {"box_ras_mm": [[0, 0, 0, 1, 1]]},
        {"box_ras_mm": [[0, 0, 0, 1, 0, 1]]},
        {"box_ras_mm": [[0, 0, 0, 1, 1, 1]], "box_label": []},
    ],
)
def test_verify_finds_bad_boxes_of_a_datalist(folder, facts):
    taken = take_inventory(folder)
    content = datalist_of(taken, split_cases(taken))
    content["training"][0].update(facts)
    (folder / "own.json").write_text(json.dumps(content))
    found = verify_dataset(folder, datalist="own.json", workers=1).findings
    assert [(one.check, one.case_id) for one in found] == [("boxes", content["training"][0]["case_id"])]
