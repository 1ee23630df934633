import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medseg.kernels.intensity import Moments, moments, normalize, scale_range

VOLUMES = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7), elements=st.floats(-1e3, 1e3, width=32)
)


@settings(max_examples=30, deadline=None)
@given(VOLUMES, st.booleans())
def test_moments_are_numpys_in_float64(volume, skip_zeros):
    values = volume[volume != 0] if skip_zeros else volume
    found = moments(volume, skip_zeros=skip_zeros)
    assert found.voxels == values.size
    if values.size:
        wide = values.astype(np.float64)
        np.testing.assert_allclose([found.mean, found.std], [wide.mean(), wide.std()], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_moments_do_not_depend_on_the_threads(threads):
    volume = np.random.default_rng(0).normal(1e4, 3, 300_000).astype(np.float32)
    assert moments(volume, threads=threads) == moments(volume)


def test_far_from_zero_the_deviation_stays_exact():
    volume = np.float32(2**20) + np.tile(np.float32([-1, 1]), 50_000)
    assert moments(volume) == Moments(mean=2.0**20, std=1.0, voxels=100_000)


def test_zeros_stay_zeros():
    assert normalize(np.float32([0, 1, 3, 0]), nonzero=True).tolist() == [0, -1, 1, 0]
    assert normalize(np.zeros((2, 2), np.float32), nonzero=True).tolist() == [[0, 0], [0, 0]]


def test_the_median_can_be_what_becomes_zero():
    got = normalize(np.float32([0, 1, 2, 9, 0]), nonzero=True, centre="median")
    np.testing.assert_allclose(got, np.float32([0, -1, 0, 7, 0]) / np.std([1, 2, 9]), rtol=1e-6)


def test_blocks_of_zeros_among_others():
    volume = np.zeros(100_003, np.float32)
    volume[20_000:20_010], volume[-1] = 5, 7
    tissue = volume != 0
    want = np.where(tissue, (volume - volume[tissue].mean()) / volume[tissue].std(), 0)
    for threads in (1, 3):
        np.testing.assert_allclose(normalize(volume, nonzero=True, threads=threads), want, rtol=1e-5)
    np.testing.assert_allclose(normalize(volume), (volume - volume.mean()) / volume.std(), rtol=1e-4)


def test_a_constant_becomes_zero():
    assert normalize(np.full((2, 2, 2), 7, np.int16)).max() == 0


def test_nan_is_seen_in_the_moments():
    assert np.isnan(moments(np.float32([1, np.nan])).mean)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_range_is_moved_and_clipped(threads):
    hu = np.arange(-2000, 2000, 100, dtype=np.int16)
    got = scale_range(hu, source=(-1000, 1000), target=(-1, 1), clip=True, threads=threads)
    np.testing.assert_allclose(got, np.clip(hu / 1000, -1, 1), atol=1e-6)
    assert scale_range(hu, source=(-1000, 1000), target=(-1, 1)).min() == -2


def test_nan_stays_nan():
    assert np.isnan(scale_range(np.float32([np.nan]), source=(0, 1), clip=True))[0]
