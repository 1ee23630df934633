import numpy as np
import pytest

from medseg.datasets.phantoms.fields import Draws, blur, ramp


def test_the_stream_is_numpys_frozen_one():
    # PCG64 seeded through SeedSequence: both are frozen by NumPy's policy (NEP 19).
    raw = np.random.PCG64(np.random.SeedSequence([1, 2])).random_raw(1)
    assert Draws(1, 2).uniform(0.0, 1.0) == (int(raw[0]) >> 11) * 2.0**-53


def test_uniform_and_whole_stay_in_range_and_reach_the_ends():
    draws = Draws(0)
    values = [draws.uniform(-2.0, 3.0) for _ in range(2000)]
    assert min(values) >= -2.0
    assert max(values) < 3.0
    assert np.mean(values) == pytest.approx(0.5, abs=0.1)
    assert {draws.whole(4, 6) for _ in range(100)} == {4, 5, 6}
    assert {draws.sign() for _ in range(50)} == {-1.0, 1.0}


def test_noise_is_standard_and_looks_gaussian():
    noise = Draws(3).noise((40, 40, 40))
    assert noise.mean() == pytest.approx(0.0, abs=0.02)
    assert noise.std() == pytest.approx(1.0, abs=0.02)
    assert (np.abs(noise) < 1.0).mean() == pytest.approx(0.68, abs=0.03)


def test_smooth_noise_is_bounded_varied_and_smooth():
    field = Draws(4).smooth((50, 40, 30), (8.0, 8.0, 8.0))
    assert field.shape == (50, 40, 30)
    assert np.abs(field).max() <= 1.0
    assert field.std() > 0.2
    assert max(np.abs(np.diff(field, axis=axis)).max() for axis in range(3)) < 0.45


def test_blur_keeps_a_constant_and_spreads_a_point():
    assert (blur(np.full((4, 5, 6), 7.0)) == 7.0).all()
    point = np.zeros((5, 5, 5))
    point[2, 2, 2] = 64.0
    blurred = blur(point)
    assert blurred.sum() == 64.0
    assert (blurred[2, 2, 2], blurred[1, 2, 2], blurred[1, 1, 1]) == (8.0, 4.0, 1.0)


def test_ramp_limits_to_the_unit_interval():
    assert ramp(np.array([-1.0, 0.25, 2.0])).tolist() == [0.0, 0.25, 1.0]
