import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.report.shrink import mean_shrunk, picked, shrunk_shape

sides = st.tuples(*[st.integers(1, 300)] * 3)
sizes = st.tuples(*[st.floats(0.2, 8.0)] * 3)


@given(sides, sizes, st.integers(1_000, 1_000_000))
def test_a_shape_fits_and_never_grows(shape: tuple[int, int, int], spacing: tuple[float, ...], most: int) -> None:
    small = shrunk_shape(shape, spacing, most=most)
    assert math.prod(small) <= most
    assert all(1 <= new <= old for new, old in zip(small, shape, strict=True))
    if math.prod(shape) <= most:
        assert small == shape


def test_thick_slices_are_kept_while_the_plane_gives_way() -> None:
    x, y, z = shrunk_shape((512, 512, 60), (0.7, 0.7, 5.0), most=3_200_000)
    assert z == 60
    assert x == y
    assert x * y * z == pytest.approx(3_200_000, rel=0.02)


@given(st.integers(1, 12), st.integers(1, 12))
def test_the_mean_is_kept_whatever_the_ratio(old: int, new: int) -> None:
    image = np.random.default_rng(old).normal(size=(old, 2, 3)).astype(np.float32)
    small = mean_shrunk(image, (min(new, old), 2, 3))
    assert small.mean() == pytest.approx(image.mean(), abs=1e-5)


def test_halving_averages_pairs_and_a_value_that_is_no_number_counts_as_zero() -> None:
    image = np.array([1, 3, 5, np.nan], np.float32).reshape(4, 1, 1)
    assert mean_shrunk(image, (2, 1, 1)).ravel().tolist() == [2.0, 2.5]


def test_labels_are_picked_at_the_centres() -> None:
    labels = np.arange(6).reshape(6, 1, 1)
    assert picked(labels, (2, 1, 1)).ravel().tolist() == [1, 4]
    assert picked(labels, (6, 1, 1)) is labels
