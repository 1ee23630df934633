import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.kernels.merge import add_window, best_class, mean_window


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
    expected[(some, *target)] = products if fresh else expected[(some, *target)] + products
    add_window(scores, weights, total, read=(2, 1, 3), write=(4, 0, 5), size=(4, 3, 4), fresh=fresh, channels=channels)
    assert np.array_equal(total, expected)


def case(seed=0, *, channels=4):
    """Scores, weights, sums and their weights, the part of each and its mean as numpy computes it."""
    rng = np.random.default_rng(seed)
    scores, weights = rng.standard_normal((channels, 6, 5, 40), np.float32), rng.random((6, 5, 40), np.float32)
    total, count = rng.standard_normal((channels, 9, 9, 44), np.float32), rng.random((4, 3, 37), np.float32) + 1
    source, target = np.s_[2:6, 1:4, 3:40], np.s_[4:8, 0:3, 5:42]
    products = scores[(slice(None), *source)] * weights[source]
    return scores, weights, total, count, products, (slice(None), *target)


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("channels", [None, (1, 3)])
def test_the_mean_is_numpys(fresh, channels):
    scores, weights, total, count, products, target = case()
    expected, some = total.copy(), slice(*channels) if channels else slice(None)
    mean = (products if fresh else total[target] + products) / count
    expected[target][some] = mean[some]
    assert mean_window(scores, weights, total, count, read=(2, 1, 3), write=(4, 0, 5), fresh=fresh, channels=channels)
    assert np.array_equal(total, expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 9), st.booleans(), st.permutations(range(3)), st.integers(-2, 8))
def test_the_best_class_is_that_of_the_mean(seed, channels, alone, order, digits):
    scores, weights, total, count, products, target = case(seed, channels=channels)
    if digits < 3:  # scores of few values, many of them alike
        scores, weights, total, count = (
            np.rint(part * 2).astype(np.float32) for part in (scores, weights, total, count)
        )
        products = scores[:, 2:6, 1:4, 3:40] * weights[2:6, 1:4, 3:40]
    mean = (products if alone else total[target] + products) / count
    stored = np.zeros([(4, 3, 37)[axis] for axis in order], np.uint8)
    out = stored.transpose(np.argsort(order))[::-1, :, ::-1]  # any memory order, reversed axes too
    part = None if alone else np.ascontiguousarray(total[target])
    for planes in ((0, 1), (1, 4)):
        assert best_class(scores, weights, part, count, out, read=(2, 1, 3), planes=planes)
    assert np.array_equal(out, mean.argmax(0))
    inner = np.zeros((2, 1, 30), np.uint16)
    assert best_class(scores, weights, part, count, inner, read=(3, 2, 8), skip=(1, 1, 5))
    assert np.array_equal(inner, mean.argmax(0)[1:3, 1:2, 5:35])


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_seen_inside_the_part_only(strange):
    scores, weights, total, count, _, _ = case()
    scores[1, 0, 0, 0] = strange
    out = np.zeros((4, 3, 37), np.uint8)
    assert mean_window(scores, weights, total.copy(), count, read=(2, 1, 3), write=(4, 0, 5))
    assert best_class(scores, weights, total, count, out, read=(2, 1, 3))
    assert not mean_window(scores, weights, total.copy(), count, read=(0, 0, 0), write=(4, 0, 5))
    assert not best_class(scores, weights, total, count, out, read=(0, 0, 0))
