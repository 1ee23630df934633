import numpy as np
import pytest

from medseg.datasets.phantoms import write_luna16_phantoms
from medseg.datasets.prepared_scan import prepare_scan, resampled_to_ras
from medseg.errors import DataError
from medseg.volumes import Volume, axis_codes, read_volume, voxels_to_world, write_volume

ORIENTATIONS = [
    np.diag([-0.8, -0.8, 2.5]),
    np.diag([0.8, 0.8, 2.5]),
    np.array([[0.0, 0.0, -2.5], [0.8, 0.0, 0.0], [0.0, -0.9, 0.0]]),
    np.array([[0.0, 0.7, 0.0], [0.0, 0.0, 3.0], [1.0, 0.0, 0.0]]),
]


def _affine(columns, origin=(11.0, -70.0, 300.0)):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = columns, origin
    return affine


def _plane(affine, shape):
    """A brightness that is linear in the world: linear interpolation keeps it, wherever the voxels are."""
    points = voxels_to_world(affine, np.stack(np.indices(shape), axis=-1).reshape(-1, 3))
    return (points @ [3.0, -2.0, 1.5]).reshape(shape)


@pytest.mark.parametrize("columns", ORIENTATIONS)
def test_each_voxel_shows_what_is_at_its_place_in_the_world(columns):
    affine = _affine(columns)
    made = resampled_to_ras(_plane(affine, (12, 13, 9)), affine, spacing_mm=(0.703125, 0.703125, 1.25))
    assert axis_codes(made.affine_ras_mm) == ("R", "A", "S")
    assert made.spacing_mm == (0.703125, 0.703125, 1.25)
    want = _plane(made.affine_ras_mm, made.shape)
    inner = (slice(0, -1),) * 3  # what lies beyond the last voxel repeats it
    np.testing.assert_allclose(made.array[inner], want[inner], atol=2e-3)


def test_an_oblique_scan_keeps_its_own_directions():
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    affine = _affine(turn * np.array([-0.8, -0.8, 2.5]))
    made = resampled_to_ras(_plane(affine, (12, 13, 9)), affine, spacing_mm=(1.0, 1.0, 1.0))
    assert axis_codes(made.affine_ras_mm) == ("R", "A", "S")
    np.testing.assert_allclose(made.affine_ras_mm[:3, :3], turn, atol=1e-12)
    want = _plane(made.affine_ras_mm, made.shape)
    np.testing.assert_allclose(made.array[:-1, :-1, :-1], want[:-1, :-1, :-1], atol=2e-3)


def test_it_is_monais_orientation_and_spacing(tmp_path):
    import torch
    from monai.data import MetaTensor
    from monai.transforms import Orientation, Spacing

    listing = write_luna16_phantoms(tmp_path, cases=3, shape=(48, 40, 24), spacing_mm=4.0)
    for header in sorted(listing.parent.glob("subset*/*.mhd")):
        volume = read_volume(header)
        made = resampled_to_ras(volume.array, volume.affine_ras_mm, spacing_mm=(3.0, 3.5, 2.5))
        image = MetaTensor(torch.from_numpy(volume.array.astype(np.float32))[None], affine=volume.affine_ras_mm)
        # labels: where the axes point to, for MONAI versions that take the affine for LPS without
        turned = Orientation(axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S")))(image)
        want = Spacing((3.0, 3.5, 2.5), padding_mode="border", dtype=np.float64)(turned)
        np.testing.assert_allclose(made.affine_ras_mm, want.affine.numpy(), atol=1e-4)
        assert np.abs(made.array - want[0].numpy()).max() < 0.51  # the rounding


def test_whole_hu_stay_int16_and_others_become_float32():
    for dtype, wanted in ((np.int16, np.int16), (np.uint8, np.int16), (np.int32, np.float32), (np.float64, np.float32)):
        assert resampled_to_ras(np.ones((3, 3, 3), dtype), np.eye(4), spacing_mm=(1, 1, 2)).array.dtype == wanted


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_the_file_holds_what_was_made_where_it_was(tmp_path, name):
    listing = write_luna16_phantoms(tmp_path / "raw", cases=3, shape=(48, 40, 24), spacing_mm=4.0)
    for source in listing.parent.glob("subset*/*.mhd"):
        done = prepare_scan(source, tmp_path / name, spacing_mm=(3.0, 3.0, 3.0), threads=2)
        volume, written = read_volume(source), read_volume(tmp_path / name)
        made = resampled_to_ras(volume.array, volume.affine_ras_mm, spacing_mm=(3.0, 3.0, 3.0))
        np.testing.assert_array_equal(written.array, made.array)
        np.testing.assert_allclose(written.affine_ras_mm, made.affine_ras_mm, atol=1e-4)
        assert (done.old_shape, done.shape) == (volume.shape, made.shape)
        assert done.seconds > 0


def test_channels_are_refused(tmp_path):
    source = Volume(array=np.zeros((3, 3, 3)), affine_ras_mm=np.eye(4), path=tmp_path)
    path = write_volume(tmp_path / "a.nii", np.zeros((3, 3, 3, 2), np.int16), like=source)
    with pytest.raises(DataError, match=r"a\.nii: 2 channels\. Wanted one image"):
        prepare_scan(path, tmp_path / "b.nii")
    assert not (tmp_path / "b.nii").exists()
