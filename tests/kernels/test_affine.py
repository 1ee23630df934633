import numpy as np
import pytest
from scipy import ndimage

from medseg.errors import DataError
from medseg.kernels.affine import affine_linear, affine_nearest

RNG = np.random.default_rng(0)


def _turned(seed):
    rng = np.random.default_rng(seed)
    linear = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.7, 1.4, 3)
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = np.array([9, 8, 7]) - linear @ np.array([8, 9, 8]) + rng.normal(size=3)
    return matrix


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("outside", [0.0, -3.0])
def test_linear_lookup_is_scipys(seed, outside):
    volume = RNG.normal(size=(19, 17, 15)).astype(np.float32)
    matrix = _turned(seed)
    expected = ndimage.affine_transform(
        np.pad(volume, 2, constant_values=outside).astype(np.float64),
        matrix[:3, :3],
        matrix[:3, 3] + 2,
        output_shape=(17, 18, 16),
        order=1,
        cval=outside,
    )
    got = affine_linear(volume, matrix, shape=(17, 18, 16), outside=outside)
    np.testing.assert_allclose(got, expected, atol=2e-5)


@pytest.mark.parametrize("seed", range(3))
def test_nearest_lookup_is_scipys_in_the_stored_type(seed):
    volume = RNG.integers(0, 9, size=(19, 17, 15)).astype(np.uint8)
    matrix = _turned(seed)
    centres = np.stack(np.meshgrid(*map(np.arange, (17, 18, 16)), indexing="ij"), axis=-1) @ matrix[:3, :3].T
    index = np.floor(centres + matrix[:3, 3] + 0.5).astype(int)
    inside = ((index >= 0) & (index < volume.shape)).all(axis=-1)
    expected = np.where(inside, volume[tuple(np.moveaxis(np.clip(index, 0, np.array(volume.shape) - 1), -1, 0))], 7)
    got = affine_nearest(volume, matrix, shape=(17, 18, 16), outside=7)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("look_up", [affine_linear, affine_nearest])
def test_the_identity_changes_nothing_up_to_the_last_voxel(look_up):
    volume = RNG.normal(size=(5, 6, 7)).astype(np.float32)
    np.testing.assert_array_equal(look_up(volume, np.eye(4), shape=(5, 6, 7)), volume)


def test_far_away_there_is_only_outside():
    matrix = np.eye(4)
    matrix[:3, 3] = 1e6
    assert (affine_linear(np.ones((3, 3, 3), np.float32), matrix, shape=(2, 2, 2), outside=-1.0) == -1).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("padding", "mode"), [("border", "nearest"), ("reflection", "reflect")])
def test_paddings_are_scipys(seed, padding, mode):
    volume, matrix = RNG.normal(size=(9, 8, 7)).astype(np.float32), _turned(seed)
    matrix[:3, 3] -= 5
    points = np.stack(np.meshgrid(*map(np.arange, (9, 8, 9)), indexing="ij"), axis=-1) @ matrix[:3, :3].T
    expected = ndimage.map_coordinates(
        volume.astype(np.float64), np.moveaxis(points + matrix[:3, 3], -1, 0), order=1, mode=mode
    )
    for threads in (1, 3):
        got = affine_linear(volume, matrix, shape=(9, 8, 9), padding=padding, threads=threads)
        np.testing.assert_allclose(got, expected, atol=2e-5)


def test_an_unknown_padding_is_refused():
    with pytest.raises(DataError, match="'wrap' is none of zeros, border, reflection"):
        affine_linear(np.ones((2, 2, 2), np.float32), np.eye(4), shape=(2, 2, 2), padding="wrap")
