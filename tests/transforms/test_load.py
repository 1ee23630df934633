import nibabel as nib
import numpy as np
import pytest
import torch

from medseg.errors import DataError
from medseg.transforms import LoadCased

AFFINE = np.diag([-1.0, -2.0, 3.0, 1.0])


@pytest.fixture
def write(tmp_path):
    def _write(name, array, affine=AFFINE):
        path = tmp_path / name
        nib.save(nib.Nifti1Image(np.asarray(array), affine), path)
        return str(path)

    return _write


@pytest.fixture
def ramp():
    return np.arange(24, dtype=np.int16).reshape(2, 3, 4)


def test_one_file_per_modality_is_stacked_in_order_with_its_affine(write, ramp):
    item = {"case_id": "a", "image": [write("t1.nii.gz", ramp), write("t2.nii.gz", ramp + 100)]}
    image = LoadCased(num_channels=2)(item)["image"]
    assert image.dtype == torch.float32
    assert np.array_equal(image.numpy(), np.stack([ramp, ramp + 100]))
    assert np.array_equal(image.affine.numpy(), AFFINE)


def test_channels_are_taken_from_a_4d_file(write, ramp):
    path = write("all.nii.gz", np.stack([ramp, ramp + 1, ramp + 2], axis=-1))
    image = LoadCased(num_channels=2)({"image": path, "channels": [2, 0]})["image"]
    assert np.array_equal(image.numpy(), np.stack([ramp + 2, ramp]))


def test_the_label_keeps_its_values_and_the_case_gets_a_name(write, ramp):
    label = (ramp % 5).astype(np.uint8)
    item = LoadCased()({"image": write("scan7.nii.gz", ramp), "label": write("seg.nii.gz", label)})
    assert item["case_id"] == "scan7"
    assert np.array_equal(item["label"].numpy()[0], label)


FAULTS = {
    "shape": (
        lambda w, r: [w("a.nii.gz", r), w("b.nii.gz", r[:, :2])],
        r"case: image b.nii.gz against a.nii.gz: shape",
    ),
    "affine": (
        lambda w, r: [w("a.nii.gz", r), w("b.nii.gz", r, np.eye(4))],
        r"case: image b.nii.gz against a.nii.gz: same shape, but the affines",
    ),
    "nan": (lambda w, r: [w("a.nii.gz", np.where(r == 3, np.nan, r).astype(np.float32))], r"a.nii.gz holds 1 voxel"),
    "infinite": (
        lambda w, r: [w("a.nii.gz", np.where(r < 2, np.inf, r).astype(np.float32))],
        r"a.nii.gz holds 2 voxel",
    ),
    "constant": (lambda w, r: [w("a.nii.gz", np.zeros_like(r))], r"every voxel of a.nii.gz is 0"),
    "channels": (lambda w, r: [w("a.nii.gz", r)] * 3, r"gives 3 channel\(s\), the network wants 2"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_image_is_refused_in_one_line(write, ramp, fault):
    make, message = FAULTS[fault]
    wanted = 2 if fault == "channels" else None
    with pytest.raises(DataError, match=message) as error:
        LoadCased(num_channels=wanted)({"case_id": "case", "image": make(write, ramp)})
    assert "\n" not in str(error.value)


def test_a_channel_that_the_file_lacks_is_refused(write, ramp):
    with pytest.raises(DataError, match="channel 1 was asked for"):
        LoadCased()({"image": write("a.nii.gz", ramp), "channels": [1]})


def test_a_label_on_another_grid_is_refused(write, ramp):
    with pytest.raises(DataError, match="label seg.nii.gz against a.nii.gz: shape"):
        LoadCased()({"image": write("a.nii.gz", ramp), "label": write("seg.nii.gz", ramp[:1] % 2)})


def test_an_image_in_the_label_place_is_refused(write, ramp):
    fractional = (ramp / 7).astype(np.float32)
    with pytest.raises(DataError, match="no labels 0..255"):
        LoadCased()({"image": write("a.nii.gz", ramp), "label": write("seg.nii.gz", fractional)})


def test_a_required_label_that_is_absent_is_refused(write, ramp):
    with pytest.raises(DataError, match="no label"):
        LoadCased(require_label=True)({"image": write("a.nii.gz", ramp)})


def test_a_truncated_file_is_refused(write, tmp_path):
    rng = np.random.default_rng(0)
    path = write("a.nii.gz", rng.integers(0, 1000, (20, 20, 20), dtype=np.int16))
    whole = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="a.nii.gz"):
        LoadCased()({"image": path})
