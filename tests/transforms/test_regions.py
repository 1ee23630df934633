import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medseg.errors import DataError
from medseg.transforms import LabelsToRegionsd, RegionsToLabelsd, SaveCased


def test_labels_become_regions_and_come_back_with_their_affine():
    labels = MetaTensor(
        torch.tensor([[[[0, 1, 2, 4]]]], dtype=torch.uint8), affine=torch.diag(torch.tensor([1.0, 2, 3, 1]))
    )
    regions = LabelsToRegionsd("label", "brats2017")({"label": labels})["label"]
    assert regions[:, 0, 0].tolist() == [[0, 1, 0, 1], [0, 1, 1, 1], [0, 0, 0, 1]]
    back = RegionsToLabelsd("label", "brats2017")({"label": regions})["label"]
    assert torch.equal(back.as_tensor(), labels.as_tensor())
    assert torch.equal(back.affine, labels.affine)


def test_a_stray_value_names_the_case():
    with pytest.raises(DataError, match="case9: label: label values"):
        LabelsToRegionsd("label", "brats2023")({"case_id": "case9", "label": torch.full((1, 1, 1, 1), 4)})


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([-1.0, -2.0, 3.0, 1.0])), path)
    image = MetaTensor(torch.zeros(1, 2, 3, 4), meta={"filename_or_obj": str(path)})
    return {"case_id": "c1", "image": image}


def test_a_label_map_is_written_on_the_grid_of_the_scan(scan, tmp_path):
    labels = torch.randint(0, 5, (1, 2, 3, 4), dtype=torch.uint8)
    SaveCased("pred", tmp_path / "out")({**scan, "pred": labels})
    written = nib.load(tmp_path / "out" / "c1.nii.gz")
    assert written.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(written.dataobj), labels[0].numpy())
    assert np.array_equal(written.affine, np.diag([-1.0, -2.0, 3.0, 1.0]))


def test_probabilities_are_written_with_the_regions_last(scan, tmp_path):
    probabilities = torch.rand(3, 2, 3, 4)
    SaveCased("pred", tmp_path, kind="probabilities")({**scan, "pred": probabilities})
    written = np.asarray(nib.load(tmp_path / "c1.nii.gz").dataobj)
    assert np.allclose(written, np.moveaxis(probabilities.numpy(), 0, -1))


def test_a_result_on_another_grid_is_refused(scan, tmp_path):
    with pytest.raises(DataError, match="Invert the spatial transforms"):
        SaveCased("pred", tmp_path)({**scan, "pred": torch.zeros(1, 2, 2, 2)})
