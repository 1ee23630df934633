import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.kernels.foreground import box_above


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.permutations(range(3)), st.integers(1, 3), st.sampled_from([0.9, 0.99, 1.0]))
def test_the_box_is_numpys(seed, order, threads, emptiness):
    volumes = (np.random.default_rng(seed).random((2, 5, 6, 7)) > emptiness).astype(np.float32)
    volumes = volumes.transpose(0, *(axis + 1 for axis in order))
    places = np.argwhere(volumes.any(axis=0))
    expected = tuple(zip(places.min(axis=0), places.max(axis=0) + 1, strict=True)) if len(places) else None
    assert box_above(volumes, threads=threads) == expected


@pytest.mark.parametrize("value", [-5, 0, np.nan])
def test_nothing_is_above(value):
    assert box_above(np.full((1, 2, 2, 2), value)) is None
