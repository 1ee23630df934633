import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.kernels.merge import add_window, best_class, divide


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("channels", [None, (1, 3)])
def test_a_part_is_added_as_numpy_adds_it(fresh, channels):
    rng = np.random.default_rng(0)
    scores, weights = rng.standard_normal((4, 6, 5, 7), np.float32), rng.random((6, 5, 7), np.float32)
    total = rng.standard_normal((5, 9, 9, 9), np.float32)
    expected = total.copy()
    some = slice(*channels) if channels else slice(4)
    source, target = np.s_[2:6, 1:4, 3:7], np.s_[4:8, 0:3, 5:9]
    products = scores[(some, *source)] * weights[source]
    if fresh:
        expected[some, 4:8, 0:3] = 0  # the rows' other voxels hold nothing yet
    expected[(some, *target)] = products if fresh else expected[(some, *target)] + products
    add_window(scores, weights, total, read=(2, 1, 3), write=(4, 0, 5), size=(4, 3, 4), fresh=fresh, channels=channels)
    assert np.array_equal(total, expected)


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_division_sees_what_is_not_finite_inside_the_part_only(strange):
    total = np.full((2, 4, 4, 4), 6, np.float32)
    total[1, 0, 0, 0] = strange
    count = np.full((3, 3, 3), 3, np.float32)
    assert divide(total, count, start=(1, 1, 1))
    assert (total[:, 1:, 1:, 1:] == 2).all()
    assert (total[0, 0] == 6).all()
    assert not divide(total, count)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 9), st.booleans(), st.permutations(range(3)), st.booleans())
def test_the_best_class_is_that_of_the_mean(seed, channels, alone, order, coarse):
    rng = np.random.default_rng(seed)
    shape, read, write = (5, 4, 40), (2, 1, 3), (0, 0, 0) if alone else (1, 0, 3)
    size = shape if alone else (3, 4, 33)
    scores, weights = rng.standard_normal((channels, 8, 6, 50), np.float32), rng.random((8, 6, 50), np.float32)
    total, count = rng.standard_normal((channels, *shape), np.float32), rng.random(shape, np.float32) + 1
    if coarse:  # scores of few values, many of them alike
        scores, weights, total, count = (np.rint(part).astype(np.float32) for part in (scores, weights, total, count))
    source, target = (tuple(slice(a, a + n) for a, n in zip(start, size, strict=True)) for start in (read, write))
    products, expected = scores[(slice(None), *source)] * weights[source], total * (not alone)
    expected[(slice(None), *target)] += products
    expected /= count
    stored = np.zeros([shape[axis] for axis in order], np.uint16)
    out = stored.transpose(np.argsort(order))[::-1, :, ::-1]  # any memory order, reversed axes too
    for planes in ((0, 2), (2, 5)):
        sums = None if alone else total
        assert best_class(scores, weights, sums, count, out, read=read, write=write, size=size, planes=planes)
    assert np.array_equal(out, expected.argmax(0))


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_a_mean_that_is_not_finite_is_seen(strange):
    scores, count = np.zeros((2, 3, 4, 20), np.float32), np.ones((2, 2, 17), np.float32)
    scores[1, 0, 0, 0] = strange
    for total in (None, np.zeros((2, 2, 2, 17), np.float32)):
        parts = (scores, np.ones((3, 4, 20), np.float32), total, count, np.zeros((2, 2, 17), np.uint8))
        assert best_class(*parts, read=(1, 1, 1), size=(2, 2, 17))
        assert not best_class(*parts, read=(0, 0, 0), size=(2, 2, 17))
