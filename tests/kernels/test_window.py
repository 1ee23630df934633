import numpy as np
import pytest

from medseg.errors import DataError
from medseg.kernels.window import ramp_of, windowed


@pytest.mark.parametrize(
    ("value", "want"), [(-2000, 0), (-1024, 0), (-362, 0.5), (300, 1), (3000, 1), (np.inf, 1), (-np.inf, 0)]
)
def test_the_ends_become_0_and_1_and_what_lies_beyond_is_clipped(value, want):
    assert windowed(np.float32(value), ramp_of((-1024, 300))) == pytest.approx(want)


def test_nan_stays_nan():
    assert np.isnan(windowed(np.float32(np.nan), ramp_of((0, 1))))


def test_no_window_changes_nothing():
    assert windowed(np.float32(-2000), ramp_of(None)) == -2000


@pytest.mark.parametrize("window", [(300, -1024), (1, 1), (0, float("inf")), (float("nan"), 1)])
def test_a_window_that_is_none_is_refused(window):
    with pytest.raises(DataError, match="the lower first"):
        ramp_of(window)
