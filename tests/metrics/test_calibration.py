import numpy as np
import pytest

from medseg.errors import DataError
from medseg.metrics.calibration import merge, reliability


def test_certain_and_right():
    found = reliability(np.array([0.0, 1.0, 1.0]), np.array([False, True, True]))
    assert found.ece == found.brier == found.mce == 0


def test_certain_and_wrong():
    found = reliability(np.array([0.0, 1.0]), np.array([True, False]))
    assert found.ece == found.brier == found.mce == 1


def test_by_hand():
    # Two bins: 0.2 and 0.4 with one positive, 0.9 twice with one positive.
    found = reliability(np.array([0.2, 0.4, 0.9, 0.9]), np.array([False, True, True, False]), bins=2)
    assert found.curve() == [pytest.approx((0.3, 0.5, 2)), pytest.approx((0.9, 0.5, 2))]
    assert found.ece == pytest.approx((0.2 + 0.4) / 2)
    assert found.mce == pytest.approx(0.4)
    assert found.brier == pytest.approx((0.04 + 0.36 + 0.01 + 0.81) / 4)


def test_bins_are_open_below():
    found = reliability(np.array([0.0, 0.5, 0.500001, 1.0]), np.zeros(4, bool), bins=2)
    assert found.count.tolist() == [2, 2]


def test_calibrated_draws_have_almost_no_error():
    rng = np.random.default_rng(0)
    p = rng.random(200_000)
    found = reliability(p, rng.random(p.size) < p)
    assert found.ece < 0.006
    assert found.brier == pytest.approx(1 / 6, abs=0.003)  # the mean of p (1 - p)
    assert reliability(p**2, rng.random(p.size) < p).ece == pytest.approx(1 / 2 - 1 / 3, abs=0.01)


def test_cases_add_up_to_all_their_voxels():
    rng = np.random.default_rng(1)
    p, truth = rng.random((3, 50)), rng.random((3, 50)) < 0.4
    together, apart = reliability(p, truth), merge([reliability(a, b) for a, b in zip(p, truth, strict=True)])
    assert apart.ece == pytest.approx(together.ece)
    assert apart.brier == pytest.approx(together.brier)
    assert apart.count.tolist() == together.count.tolist()


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="2 probabilities, 1 truths"):
        reliability(np.array([0.1, 0.2]), np.array([True]))
    with pytest.raises(DataError, match="apply the sigmoid"):
        reliability(np.array([-3.0, 0.2]), np.array([True, True]))
    with pytest.raises(DataError, match="apply the sigmoid"):
        reliability(np.array([np.nan, 0.2]), np.array([True, True]))
    with pytest.raises(DataError, match="no reliability"):
        merge([])
