import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from medseg.datasets.scan_facts import read_facts, whole_values


@given(arrays.arrays(st.sampled_from([np.uint8, np.int16, np.int32, np.float32]), (3, 4), elements=st.integers(0, 200)))
def test_whole_values_are_those_of_unique(array):
    assert whole_values(array).tolist() == np.unique(array).tolist()


@pytest.mark.parametrize("array", [np.array([0.0, 1e300]), np.array([0.25]), np.array([-1e20])])
def test_what_is_no_whole_number(array):
    assert whole_values(array) is None


def test_values_far_apart_and_negative_ones():
    assert whole_values(np.array([1 << 40, -5, 0])).tolist() == [-5, 0, 1 << 40]


@pytest.mark.parametrize(("dtype", "suffix"), [(np.int16, ".nii"), (np.float32, ".nii.gz"), (np.float64, ".nii")])
def test_the_hash_is_of_the_voxels_and_not_of_the_file(tmp_path, dtype, suffix):
    values = np.arange(60).reshape(3, 4, 5)
    first, second = tmp_path / "a.nii.gz", tmp_path / f"b{suffix}"
    nib.save(nib.Nifti1Image(values.astype(np.int32), np.eye(4)), first)
    nib.save(nib.Nifti1Image(values.astype(dtype), np.diag([2, 2, 2, 1])), second)
    assert read_facts(first)[0].voxels_sha256 == read_facts(second)[0].voxels_sha256
    nib.save(nib.Nifti1Image(values.reshape(5, 4, 3).astype(dtype), np.eye(4)), second)
    assert read_facts(first)[0].voxels_sha256 != read_facts(second)[0].voxels_sha256


def test_facts_leave_nan_out_of_the_range(tmp_path):
    values = np.array([[[1.0, np.nan, 4.0, -np.inf]]], dtype=np.float32)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    facts, seen = read_facts(tmp_path / "a.nii", is_label=True)
    assert (facts.not_finite, facts.lowest, facts.highest, seen.tolist()) == (2, 1.0, 4.0, [1, 4])
    nib.save(nib.Nifti1Image(np.full((2, 2, 2), np.nan, np.float32), np.eye(4)), tmp_path / "a.nii")
    facts, seen = read_facts(tmp_path / "a.nii", is_label=True)
    assert (facts.not_finite, seen.size) == (8, 0)
