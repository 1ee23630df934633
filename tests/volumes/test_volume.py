import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.errors import DataError
from medseg.volumes import Volume, read_geometry, read_volume, write_label_map, write_volume

AFFINE = np.array([[-1.5, 0.0, 0.0, 90.0], [0.0, -1.0, 0.25, 239.0], [0.0, 0.0, 3.0, -7.0], [0.0, 0.0, 0.0, 1.0]])


def _save(path, array, affine=AFFINE, *, slope=None, sform=1, qform=0):
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code=sform)
    image.set_qform(affine, code=qform)
    image.header.set_xyzt_units("mm", "sec")
    if slope:
        image.header.set_slope_inter(*slope)
    nib.save(image, path)
    return path


def _ramp(shape=(4, 5, 6), dtype=np.int16):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.uint16, ">i2"])
def test_nifti_keeps_voxels_type_and_affine(tmp_path, suffix, dtype):
    path = _save(tmp_path / f"a{suffix}", _ramp(dtype=dtype))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, _ramp())
    assert volume.array.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_allclose(volume.affine_ras_mm, AFFINE)
    assert volume.spacing_mm == pytest.approx((1.5, 1.0, np.sqrt(9.0625)))


def test_slope_and_intercept_are_applied_in_float32(tmp_path):
    path = tmp_path / "a.nii.gz"
    # Written by hand, since nibabel un-scales on saving.
    header = nib.Nifti1Image(_ramp(), AFFINE).header.copy()
    header.set_slope_inter(2.0, -1024.0)
    header.set_data_offset(352)
    header["magic"] = b"n+1"
    path.write_bytes(gzip.compress(header.binaryblock + b"\0" * 4 + _ramp().tobytes(order="F")))
    volume = read_volume(path)
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, 2.0 * _ramp() - 1024.0)


def test_without_sform_and_qform_the_spacing_comes_from_pixdim(tmp_path):
    path = _save(tmp_path / "a.nii.gz", _ramp(), np.diag([2.0, 2.5, 3.0, 1.0]), sform=0, qform=0)
    volume = read_volume(path)
    assert volume.spacing_mm == pytest.approx((2.0, 2.5, 3.0))
    out = write_label_map(tmp_path / "out.nii.gz", np.zeros((4, 5, 6)), like=volume)
    np.testing.assert_allclose(read_volume(out).affine_ras_mm, volume.affine_ras_mm)
    header = nib.load(out).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (0, 0)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ((4, 5, 6, 1), (4, 5, 6)),
        ((4, 5, 6, 3), (4, 5, 6, 3)),
        ((4, 5, 6, 1, 3), (4, 5, 6, 3)),
        ((4, 5, 1), (4, 5, 1)),
    ],
)
def test_axes_of_size_one_behind_z_are_dropped(tmp_path, stored, read):
    path = _save(tmp_path / "a.nii.gz", _ramp(stored))
    assert read_volume(path).shape == read
    assert read_geometry(path)[0] == read
    np.testing.assert_array_equal(read_volume(path).array, _ramp(stored).reshape(read))


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6, 2, 3)])
def test_other_numbers_of_axes_are_refused(tmp_path, shape):
    path = _save(tmp_path / "a.nii", _ramp(shape))
    for function in (read_volume, read_geometry):
        with pytest.raises(DataError, match="is no 3D volume"):
            function(path)


@pytest.mark.parametrize("name", ["a.nii", "a.NII"])
@pytest.mark.parametrize("dtype", [np.int16, ">i2", ">f4"])
def test_plain_voxels_are_mapped_and_what_is_changed_in_memory_stays_there(tmp_path, name, dtype):
    header = nib.Nifti1Header(endianness=">" if np.dtype(dtype).byteorder == ">" else "<")
    image = nib.Nifti1Image(_ramp().astype(dtype), AFFINE, header=header)
    image.header.set_data_dtype(np.dtype(dtype))
    (tmp_path / name).write_bytes(image.to_bytes())
    volume = read_volume(tmp_path / name)
    assert type(volume.array) is np.ndarray
    assert volume.array.dtype.isnative
    volume.array[:] = -1
    np.testing.assert_array_equal(read_volume(tmp_path / name).array, _ramp())


def test_truncated_gzip_says_so_in_one_line(tmp_path):
    noise = np.random.default_rng(0).integers(0, 3000, (20, 20, 20)).astype(np.int16)
    path = _save(tmp_path / "a.nii.gz", noise)
    whole = path.read_bytes()
    for keep in (len(whole) - 9, len(whole) - 4, len(whole) // 2, 40, 12):
        path.write_bytes(whole[:keep])
        with pytest.raises(DataError, match=r"a\.nii\.gz: truncated or damaged gzip; copy or download it again"):
            read_volume(path)
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 255
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="truncated or damaged gzip"):
        read_volume(path)
    path.write_bytes(whole[:40])
    with pytest.raises(DataError, match="truncated or damaged gzip"):
        read_geometry(path)


def test_truncated_or_foreign_files_say_so(tmp_path):
    path = _save(tmp_path / "a.nii", _ramp())
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(DataError, match="not a readable NIfTI file"):
        read_volume(path)
    for name in ("b.nii", "c.nii.gz"):
        data = b"not a volume at all" * 40
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
        for function in (read_volume, read_geometry):
            with pytest.raises(DataError, match="not a readable NIfTI"):
                function(tmp_path / name)
    (tmp_path / "empty.nii").write_bytes(b"")
    with pytest.raises(DataError, match="not a readable NIfTI"):
        read_volume(tmp_path / "empty.nii")


def test_missing_file_folder_and_unknown_suffix(tmp_path):
    (tmp_path / "folder.nii").mkdir()
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="no such file"):
        read_volume(tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match="is a folder"):
        read_geometry(tmp_path / "folder.nii")
    with pytest.raises(DataError, match=r"not a volume that medseg knows\. Wanted one of \.nii\.gz"):
        read_volume(tmp_path / "a.txt")


def test_a_singular_affine_is_refused(tmp_path):
    path = _save(tmp_path / "a.nii", _ramp())
    raw = bytearray(path.read_bytes())
    raw[280:328] = b"\0" * 48
    path.write_bytes(raw)
    with pytest.raises(DataError, match="affine is singular"):
        read_volume(path)


def test_label_map_keeps_the_reference_header(tmp_path):
    reference = read_volume(_save(tmp_path / "ref.nii.gz", _ramp(), sform=2, qform=1, slope=None))
    labels = (_ramp() % 5).astype(np.int64)
    path = write_label_map(tmp_path / "deep" / "out.nii.gz", labels, like=reference)
    written = nib.load(path)
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(written.dataobj), labels)
    assert (int(written.header["sform_code"]), int(written.header["qform_code"])) == (2, 1)
    assert written.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_array_equal(written.affine, nib.load(tmp_path / "ref.nii.gz").affine)
    assert [p.name for p in path.parent.iterdir()] == ["out.nii.gz"]


def test_equal_label_maps_are_equal_files(tmp_path):
    reference = read_volume(_save(tmp_path / "ref.nii.gz", _ramp()))
    first, second = (write_label_map(tmp_path / d / "a.nii.gz", _ramp() % 3, like=reference) for d in "xy")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("bad", [np.full((4, 5, 6), 256), np.full((4, 5, 6), 0.5), np.full((4, 5, 6), -1)])
def test_values_that_are_no_labels_are_refused(tmp_path, bad):
    reference = read_volume(_save(tmp_path / "ref.nii.gz", _ramp()))
    with pytest.raises(DataError, match="whole numbers from 0 to 255"):
        write_label_map(tmp_path / "out.nii.gz", bad, like=reference)


def test_shape_format_and_disk_errors_of_writing(tmp_path, monkeypatch):
    reference = read_volume(_save(tmp_path / "ref.nii.gz", _ramp()))
    with pytest.raises(DataError, match="does not fit the grid"):
        write_label_map(tmp_path / "out.nii.gz", np.zeros((5, 4, 6)), like=reference)
    with pytest.raises(DataError, match="can be read but not written"):
        write_label_map(tmp_path / "out.mhd", np.zeros((4, 5, 6)), like=reference)

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(DataError, match=r"could not be written \(No space left on device\)"):
        write_label_map(tmp_path / "out.nii.gz", np.zeros((4, 5, 6)), like=reference)
    assert [p.name for p in tmp_path.iterdir()] == ["ref.nii.gz"]


def test_probabilities_keep_float_and_channels(tmp_path):
    reference = read_volume(_save(tmp_path / "ref.nii.gz", _ramp()))
    maps = np.random.default_rng(1).random((4, 5, 6, 3), dtype=np.float32)
    again = read_volume(write_volume(tmp_path / "p.nii.gz", maps, like=reference))
    assert again.array.dtype == np.float32
    np.testing.assert_array_equal(again.array, maps)


@settings(max_examples=15, deadline=None)
@given(
    spacing=st.tuples(*[st.floats(0.2, 6.0)] * 3),
    origin=st.tuples(*[st.floats(-300.0, 300.0)] * 3),
    flip=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    order=st.permutations([0, 1, 2]),
)
def test_nrrd_and_nifti_keep_the_place_in_the_world(tmp_path_factory, spacing, origin, flip, order):
    affine = np.eye(4)
    affine[:3, :3] = (np.diag(flip) * np.asarray(spacing))[:, order]
    affine[:3, 3] = origin
    folder = tmp_path_factory.mktemp("world")
    source = Volume(array=_ramp(), affine_ras_mm=affine, path=folder / "memory")
    for name in ("a.nrrd", "a.nii.gz"):
        path = write_label_map(folder / name, _ramp() % 7, like=source)
        again = read_volume(path)
        np.testing.assert_array_equal(again.array, _ramp() % 7)
        np.testing.assert_allclose(again.affine_ras_mm, affine, rtol=1e-5, atol=1e-4)
        shape, header_affine = read_geometry(path)
        assert shape == (4, 5, 6)
        np.testing.assert_array_equal(header_affine, again.affine_ras_mm)


def test_nrrd_channels_are_last_wherever_they_are_stored(tmp_path):
    import nrrd

    source = Volume(array=_ramp(), affine_ras_mm=AFFINE, path=tmp_path / "memory")
    maps = _ramp((4, 5, 6, 2))
    again = read_volume(write_volume(tmp_path / "last.nrrd", maps, like=source))
    np.testing.assert_array_equal(again.array, maps)
    header = {
        "space": "right-anterior-superior",
        "space directions": np.vstack([np.full(3, np.nan), np.diag([1.0, 2.0, 3.0])]),
        "space origin": [1.0, 2.0, 3.0],
        "kinds": ["list", "domain", "domain", "domain"],
    }
    nrrd.write(str(tmp_path / "first.nrrd"), np.moveaxis(maps, -1, 0), header)
    first = read_volume(tmp_path / "first.nrrd")
    np.testing.assert_array_equal(first.array, maps)
    assert first.spacing_mm == (1.0, 2.0, 3.0)
    assert first.affine_ras_mm[:3, 3].tolist() == [1.0, 2.0, 3.0]


def test_truncated_nrrd_says_so(tmp_path):
    source = Volume(array=_ramp(), affine_ras_mm=AFFINE, path=tmp_path / "memory")
    path = write_label_map(tmp_path / "a.nrrd", _ramp() % 7, like=source)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"a\.nrrd: not a readable NRRD file"):
        read_volume(path)
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="not a readable NRRD"):
        read_geometry(path)


def test_itk_and_pynrrd_put_a_real_ct_in_the_same_place(real_data):
    import itk

    path = real_data / "lung_ct" / "lung1_image.nrrd"
    volume = read_volume(path)
    image = itk.imread(str(path))
    np.testing.assert_array_equal(volume.array, itk.array_from_image(image).transpose(2, 1, 0))
    corner_lps = image.TransformIndexToPhysicalPoint([511, 0, 47])
    corner_ras = volume.affine_ras_mm @ [511, 0, 47, 1]
    np.testing.assert_allclose(corner_ras[:3], [-corner_lps[0], -corner_lps[1], corner_lps[2]], atol=1e-6)


def test_a_real_brats_scan_agrees_with_nibabel(real_data):
    path = next((real_data / "brats2015").glob("*/*_flair.nii.gz"))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, np.asarray(nib.load(path).dataobj))
    assert volume.array.dtype == np.int16
    shape, affine = read_geometry(path)
    assert shape == (240, 240, 155)
    np.testing.assert_array_equal(affine, volume.affine_ras_mm)
