import json

import numpy as np
import pytest

from medseg.datasets.layouts import take_inventory
from medseg.datasets.registry import DATASETS
from medseg.datasets.splits import datalist_of, split_cases, write_datalist
from medseg.datasets.verify import verify_dataset
from medseg.errors import DataError


def test_real_adrenalmnist3d_has_its_official_split(real_data, tmp_path):
    folder = real_data / "adrenalmnist3d"
    taken = take_inventory(folder)
    content = datalist_of(taken, split_cases(taken))
    assert [len(content[section]) for section in ("training", "validation", "testing")] == [1188, 98, 298]
    with np.load(folder / "adrenalmnist3d.npz") as arrays:
        for entry in content["testing"][::50]:
            assert entry["image"] == "adrenalmnist3d.npz"
            assert arrays[entry["array"]][entry["index"]].shape == (28, 28, 28)
            assert arrays["test_labels"][entry["index"]].tolist() == [entry["class"]]
    write_datalist(tmp_path / "datalist.json", content)
    assert json.loads((tmp_path / "datalist.json").read_text())["split"]["rule"] == "lists"
    assert len(DATASETS["adrenalmnist3d"].cases(folder)) == 1584


def save(folder, **changed):
    parts = [(split, n) for split, n in (("train", 4), ("val", 2), ("test", 3))]
    images = {f"{split}_images": np.zeros((n, 3, 3, 3), np.uint8) for split, n in parts}
    labels = {f"{split}_labels": np.zeros((n, 1), np.uint8) for split, n in parts}
    np.savez(folder / "nodulemnist3d.npz", **{**images, **labels, **changed})


def test_several_classes_of_a_scan_are_kept(tmp_path):
    save(tmp_path, val_labels=np.array([[0, 1], [1, 1]], np.uint8))
    cases = take_inventory(tmp_path).cases
    assert [case.facts["class"] for case in cases if case.section == "validation"] == [[0, 1], [1, 1]]
    assert [case.case_id for case in cases][:2] == ["train_0", "train_1"]


def test_a_split_folder_is_read_again(tmp_path):
    save(tmp_path)
    taken = take_inventory(tmp_path)
    write_datalist(tmp_path / "datalist.json", datalist_of(taken, split_cases(taken, folds=2, seed=1)))
    again = take_inventory(tmp_path)
    assert sorted(case.fold for case in again.cases if case.section == "training") == [0, 0, 0, 1, 1, 1]
    assert [found.check for found in verify_dataset(tmp_path).findings] == ["checksum"]


def test_damaged_or_several_files_are_told(tmp_path):
    (tmp_path / "nodulemnist3d.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(DataError, match="no readable train_labels"):
        take_inventory(tmp_path)
    (tmp_path / "organmnist3d.npz").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 \.npz files"):
        take_inventory(tmp_path)
