import numpy as np
import pytest
from scipy import ndimage

from medseg.kernels.spline import coefficients, cubic_taps


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 5), (4, 7, 3), (30, 2, 41)])
def test_coefficients_are_those_of_scipy_on_a_volume_with_repeated_edges(shape):
    volume = np.random.default_rng(0).normal(size=shape)
    padded = ndimage.spline_filter(np.pad(volume, 40, mode="edge"), order=3, mode="mirror", output=np.float64)
    want = padded[tuple(slice(39, 42 + count) for count in shape)]
    np.testing.assert_allclose(coefficients(volume), want, atol=1e-5 * np.abs(want).max())


def test_four_weights_always_sum_to_one():
    taps = cubic_taps(np.linspace(0, 9, 100))
    np.testing.assert_allclose(taps.weights.sum(axis=1), 1, rtol=1e-6)
    assert taps.first.max() == 9


def test_halfway_between_two_voxels_the_weights_are_symmetric():
    np.testing.assert_allclose(cubic_taps(np.array([4.5])).weights, np.array([[1, 23, 23, 1]]) / 48, rtol=1e-6)
