import numpy as np
import pytest

from medseg.kernels.merge import add_window, divide


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


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_division_sees_what_is_not_finite_inside_the_part_only(strange):
    total = np.full((2, 4, 4, 4), 6, np.float32)
    total[1, 0, 0, 0] = strange
    weights = np.full((4, 4, 4), 3, np.float32)
    assert divide(total, weights, start=(1, 1, 1), size=(3, 3, 3))
    assert (total[:, 1:, 1:, 1:] == 2).all()
    assert (total[0, 0] == 6).all()
    assert not divide(total, weights, start=(0, 0, 0), size=(1, 1, 1))
