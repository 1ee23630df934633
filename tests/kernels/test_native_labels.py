import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medseg.errors import DataError
from medseg.kernels.native_labels import resampled_argmax, resampled_threshold, taps_at


def plainly(scores, positions):
    """Interpolates in float64, one axis after the other."""
    values = scores.astype(np.float64)
    for axis, at in enumerate(positions, 1):
        voxels = np.arange(values.shape[axis])
        values = np.apply_along_axis(lambda line, a=at, v=voxels: np.interp(a, v, line), axis, values)
    return values


def positions_over(shape, counts, *, seed):
    rng = np.random.default_rng(seed)
    return [np.sort(rng.uniform(0, size - 1, count)) for size, count in zip(shape, counts, strict=True)]


SHAPES = st.tuples(*[st.integers(1, 7)] * 3)
COUNTS = st.tuples(*[st.integers(1, 15)] * 3)


@settings(max_examples=60, deadline=None)
@given(SHAPES, COUNTS, st.integers(1, 6), st.permutations(range(3)), st.integers(1, 3), st.integers(0, 2**31))
def test_argmax_equals_interpolating_every_class(shape, counts, classes, order, threads, seed):
    scores = np.random.default_rng(seed).standard_normal((classes, *shape), np.float32)
    positions = positions_over(shape, counts, seed=seed)
    stored = np.zeros([counts[axis] for axis in order], np.uint8)
    out = stored.transpose(np.argsort(order))[::-1, :, ::-1]  # any memory order, reversed axes too
    resampled_argmax(scores, tuple(taps_at(at) for at in positions), out, threads=threads)
    values = plainly(scores, positions)
    # the class that was taken is the best, within the rounding
    taken = np.take_along_axis(values, out[None].astype(int), axis=0)[0]
    np.testing.assert_allclose(taken, values.max(axis=0), atol=2e-6)


@settings(max_examples=60, deadline=None)
@given(SHAPES, COUNTS, st.floats(-1, 1), st.integers(1, 3), st.integers(0, 2**31))
def test_threshold_equals_interpolating_every_channel(shape, counts, threshold, threads, seed):
    scores = np.random.default_rng(seed).standard_normal((2, *shape), np.float32)
    positions = positions_over(shape, counts, seed=seed)
    out = np.zeros((2, *counts), np.uint8)
    resampled_threshold(scores, tuple(taps_at(at) for at in positions), out, threshold=threshold, threads=threads)
    values = plainly(scores, positions)
    clear = np.abs(values - threshold) > 2e-6
    assert np.array_equal(out[clear], (values >= threshold)[clear])


def test_structures_of_some_size_differ_in_less_than_one_voxel_in_a_million():
    rng = np.random.default_rng(0)
    scores = np.stack([ndimage.gaussian_filter(rng.standard_normal((40, 40, 40)), 3) for _ in range(6)])
    scores = scores.astype(np.float32)
    positions = [np.linspace(0, 39, count) for count in (110, 100, 95)]
    out = np.zeros((110, 100, 95), np.uint8)
    resampled_argmax(scores, tuple(taps_at(at) for at in positions), out)
    assert np.count_nonzero(out != plainly(scores, positions).argmax(0)) <= 1


def test_a_class_that_is_second_at_all_corners_can_be_the_best_between_them():
    scores = np.array([[1, 0], [0, 1], [0.6, 0.6]], np.float32).reshape(3, 1, 1, 2)
    out, at = np.zeros((1, 1, 3), np.uint8), taps_at(np.zeros(1))
    resampled_argmax(scores, (at, at, taps_at(np.array([0, 0.5, 1]))), out)
    assert out.ravel().tolist() == [0, 2, 1]


def test_of_equal_scores_the_first_class_is_taken():
    out, at = np.full((1, 1, 2), 9, np.uint8), taps_at(np.zeros(1))
    resampled_argmax(np.zeros((3, 1, 1, 2), np.float32), (at, at, taps_at(np.array([0.3, 0.6]))), out)
    assert not out.any()


def test_a_grid_without_voxels_gets_none():
    at = taps_at(np.zeros(1))
    out = np.zeros((1, 0, 1), np.uint8)
    resampled_argmax(np.zeros((2, 1, 1, 1), np.float32), (at, taps_at(np.zeros(0)), at), out)


AT = taps_at(np.zeros(1))


@pytest.mark.parametrize(
    ("scores", "taps", "out", "message"),
    [
        (np.zeros((2, 1, 1, 1)), (AT, AT, AT), np.zeros((1, 1, 1), np.uint8), "float64 of shape"),
        (np.zeros((2, 1, 1, 1), np.float32), (AT, AT, AT), np.zeros((1, 1, 2), np.uint8), "labels of shape"),
        (np.zeros((300, 1, 1, 1), np.float32), (AT, AT, AT), np.zeros((1, 1, 1), np.uint8), "cannot hold 300"),
        (
            np.zeros((2, 1, 1, 1), np.float32),
            (AT, AT, taps_at(np.array([0.5]))),
            np.zeros((1, 1, 1), np.uint8),
            "beyond voxel 0",
        ),
    ],
)
def test_what_does_not_fit_is_refused(scores, taps, out, message):
    with pytest.raises(DataError, match=message):
        resampled_argmax(scores, taps, out)


def test_masks_for_another_number_of_channels_are_refused():
    with pytest.raises(DataError, match="1 masks for 2 channels"):
        resampled_threshold(
            np.zeros((2, 1, 1, 1), np.float32), (AT, AT, AT), np.zeros((1, 1, 1, 1), np.uint8), threshold=0
        )
