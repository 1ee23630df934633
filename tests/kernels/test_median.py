import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medseg.kernels.median import median

VALUES = hnp.arrays(np.float32, st.integers(1, 60), elements=st.floats(width=32, allow_nan=False))


@settings(max_examples=60, deadline=None)
@given(VALUES, st.booleans())
def test_it_is_torchs(values, skip_zeros):
    counted = values[values != 0] if skip_zeros else values
    want = float(torch.from_numpy(counted).median()) if counted.size else 0.0
    assert median(values, skip_zeros=skip_zeros) == want


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_many_voxels_of_any_size(scale):
    values = (np.random.default_rng(0).normal(0.3, 1, (41, 40, 40)) * scale).astype(np.float32)
    assert median(values) == float(torch.from_numpy(values).median())


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float64])
def test_other_types(dtype):
    assert median(np.array([0, 9, 4, 0, 5, 7], dtype=dtype), skip_zeros=True) == 5


@pytest.mark.parametrize("bad", [np.nan, -np.nan])
def test_nan_is_not_lost(bad):
    assert np.isnan(median(np.float32([1, bad, 2])))
    assert median(np.float32([1, np.inf, -np.inf])) == 1
