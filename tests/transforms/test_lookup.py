import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.transforms.lookup import axis_positions, look_up, look_up_on_device


def matrix_of(seed, *, along_axes):
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    turn = np.eye(3)[rng.permutation(3)] if along_axes else np.linalg.qr(rng.normal(size=(3, 3)))[0]
    matrix[:3, :3] = turn * rng.uniform(0.4, 1.6, 3) * rng.choice([-1, 1], 3)
    matrix[:3, 3] = 3.5 - matrix[:3, :3] @ np.full(3, 3.5) + rng.normal(size=3)
    return matrix


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 2**31),
    st.booleans(),
    st.sampled_from(["zeros", "border", "reflection"]),
    st.sampled_from([torch.float32, torch.int16]),
)
def test_the_torch_twin_gives_the_same(seed, along_axes, padding, dtype):
    generator = torch.Generator().manual_seed(seed)
    image = (torch.rand(2, 6, 7, 8, generator=generator) * 1000).to(dtype)
    matrix = matrix_of(seed, along_axes=along_axes)
    got, want = (
        find(image, matrix, (8, 7, 6), mode="bilinear", padding=padding) for find in (look_up, look_up_on_device)
    )
    np.testing.assert_allclose(got, want, atol=5e-3)
    got, want = (
        find(image, matrix, (8, 7, 6), mode="nearest", padding=padding) for find in (look_up, look_up_on_device)
    )
    assert (got != want).float().mean() < 0.01


@pytest.mark.parametrize("seed", range(5))
def test_axes_are_told_from_turns(seed):
    assert axis_positions(matrix_of(seed, along_axes=True), (9, 9, 9), (5, 5, 5), padding="border") is not None
    assert axis_positions(matrix_of(seed, along_axes=False), (9, 9, 9), (5, 5, 5), padding="border") is None
