import numpy as np
import pytest

from medseg.errors import DataError
from medseg.evaluation.label_files import check_pair, pack_labels, read_labels


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, ">i2", np.int32, np.float32, np.float64])
def test_labels_of_any_stored_type_come_back_as_uint8(tmp_path, save, labels, dtype):
    volume = read_labels(save(tmp_path / "a.nii.gz", labels, dtype=dtype), case_id="a")
    assert volume.array.dtype == np.uint8
    np.testing.assert_array_equal(volume.array, labels)
    assert volume.spacing_mm == (1.0, 1.0, 2.0)


@pytest.mark.parametrize(("value", "said"), [(0.5, "0.5 is no label value"), (-1, "-1 is no label value")])
def test_what_is_no_label_is_refused(tmp_path, save, labels, value, said):
    array = labels.astype(np.float32)
    array[0, 0, 0] = value
    with pytest.raises(DataError, match=rf"^a: .*a.nii.gz: {said}"):
        read_labels(save(tmp_path / "a.nii.gz", array, dtype=np.float32), case_id="a")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_voxels_are_refused(tmp_path, save, labels, value):
    array = labels.astype(np.float32)
    array[1, 2, 3] = value
    with pytest.raises(DataError, match="NaN or infinite voxels"):
        read_labels(save(tmp_path / "a.nii.gz", array, dtype=np.float32), case_id="a")


def test_channels_are_refused(tmp_path, save, labels):
    with pytest.raises(DataError, match="has channels"):
        read_labels(save(tmp_path / "a.nii.gz", np.stack([labels, labels], axis=-1)), case_id="a")


def test_a_truncated_file_is_refused_by_name(tmp_path, save, labels):
    path = save(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 4, labels.shape))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"^a: .*a.nii.gz"):
        read_labels(path, case_id="a")


def test_maps_on_other_grids_are_refused(tmp_path, save, labels):
    reference = read_labels(save(tmp_path / "r.nii.gz", labels), case_id="a")
    for name, array, spacing_mm, said in (
        ("shape", labels[1:], (1, 1, 2), "shape 15x14x12 != 16x14x12"),
        ("spacing", labels, (1, 1, 2.1), "affines differ"),
    ):
        prediction = read_labels(save(tmp_path / f"{name}.nii.gz", array, spacing_mm=spacing_mm), case_id="a")
        with pytest.raises(DataError, match=rf"^a: prediction .*against reference .*{said}"):
            check_pair(reference, prediction, case_id="a")


def test_labels_above_255_are_packed(labels):
    reference = labels.astype(np.int64) * 1000
    a, b, values = pack_labels(reference, labels, case_id="a")
    assert values == [0, 1, 2, 4, 1000, 2000, 4000]
    assert a.dtype == b.dtype == np.uint8
    np.testing.assert_array_equal(np.array(values)[a], reference)
    np.testing.assert_array_equal(np.array(values)[b], labels)


def test_a_scan_instead_of_labels_is_refused(labels):
    scan = np.arange(labels.size).reshape(labels.shape)
    with pytest.raises(DataError, match="Is this a scan"):
        pack_labels(scan, labels, case_id="a")
