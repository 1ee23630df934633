from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg.datasets.box_fingerprint import take_box_fingerprint
from medseg.datasets.fingerprint import take_fingerprint
from medseg.datasets.layouts import take_inventory
from medseg.errors import DataError

# Array axes are up, left-right (turned) and back-front: the fingerprint must be in the world's order.
AFFINE = np.array([[0, -2.0, 0, 0], [0, 0, 1.5, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, AFFINE), path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        image = np.full((4, 6, 8), 100, dtype=np.int16)
        image[0] = 0
        label = np.zeros((4, 6, 8), dtype=np.uint8)
        label[1:3, 2:5, 2:4] = 1
        image[label == 1] = 300
        if number == 2:
            label[3, 0, 0] = 7
        write(tmp_path / "imagesTr" / f"c{number}.nii.gz", image)
        write(tmp_path / "labelsTr" / f"c{number}.nii.gz", label)
    return tmp_path


def test_axes_are_the_worlds(folder: Path) -> None:
    found = take_fingerprint(take_inventory(folder))
    assert found.shape_vox == (6, 8, 4)
    assert found.spacing_mm == (2.0, 1.5, 3.0)
    assert found.extent_mm == (6.0, 3.0, 6.0)


def test_intensities_are_those_inside_the_labels(folder: Path) -> None:
    (values,) = take_fingerprint(take_inventory(folder)).intensities.values()
    assert values.middle == 300
    assert values.lowest == 0
    assert values.zero_share == pytest.approx(0.25)


def test_labels_that_nothing_declares_are_found_in_every_case(folder: Path) -> None:
    found = take_fingerprint(take_inventory(folder), most_cases=1)
    assert found.n_read == 1
    assert found.labels == {1: "label_1", 7: "label_7"}


def test_declared_labels_keep_their_names(folder: Path) -> None:
    images = [{"image": f"imagesTr/c{n}.nii.gz", "label": f"labelsTr/c{n}.nii.gz"} for n in range(3)]
    about = {"labels": {"0": "background", "1": "Spleen", "7": "Cyst"}, "modality": {"0": "CT"}, "training": images}
    (folder / "dataset.json").write_text(json.dumps(about))
    assert take_fingerprint(take_inventory(folder)).labels == {1: "Spleen", 7: "Cyst"}


def test_scans_without_labels_are_refused_with_advice(tmp_path: Path) -> None:
    write(tmp_path / "a.nii.gz", np.ones((4, 4, 4), dtype=np.int16))
    with pytest.raises(DataError, match="no case has a scan and one label map"):
        take_fingerprint(take_inventory(tmp_path))


def test_boxes_are_measured_in_the_world(folder: Path) -> None:
    items = [
        {"image": f"imagesTr/c{n}.nii.gz", "case_id": f"c{n}", "box_ras_mm": [[0, 0, 0, 4, 5, 6 + n]], "fold": n}
        for n in range(3)
    ]
    (folder / "datalist.json").write_text(json.dumps({"name": "boxes", "training": items}))
    found = take_box_fingerprint(folder, modalities=["image"])
    assert (found.annotations, found.n_cases) == ("boxes", 3)
    assert found.spacing_mm == (2.0, 1.5, 3.0)
    assert found.sizes_mm.tolist() == [[4, 5, 6], [4, 5, 7], [4, 5, 8]]


def test_masks_give_a_box_for_each_value(folder: Path) -> None:
    found = take_box_fingerprint(folder, modalities=["image"])
    assert found.annotations == "masks"
    assert sorted(found.sizes_mm.tolist())[-1] == [6.0, 3.0, 6.0]
    assert len(found.sizes_mm) == 4
