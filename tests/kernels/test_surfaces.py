import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from scipy.spatial.distance import cdist

from medseg.kernels.surfaces import MOST_STEPS, near_offsets, nearest_distances, surface_codes

MASKS = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7), elements=st.integers(0, 1)
)


@settings(max_examples=40, deadline=None)
@given(MASKS)
def test_border_voxels_are_what_one_erosion_takes_away(mask):
    codes = surface_codes(mask, (1, 2, 3), subvoxel=False)
    border = np.pad(mask, [(1, 1), (2, 2), (3, 3)]).astype(bool)
    border ^= ndimage.binary_erosion(border)
    np.testing.assert_array_equal(codes.astype(bool), border)


def test_one_voxel_has_eight_elements_one_at_each_corner():
    codes = surface_codes(np.ones((1, 1, 1), dtype=np.uint8), (1, 1, 1), subvoxel=True)
    # The element at corner (0, 0, 0) sees the voxel at its offset (1, 1, 1): bit 7.
    assert codes[:2, :2, :2].reshape(-1).tolist() == [128, 64, 32, 16, 8, 4, 2, 1]
    assert np.count_nonzero(codes) == 8


def test_a_solid_inside_has_no_elements():
    codes = surface_codes(np.ones((5, 5, 5), dtype=np.uint8), (1, 1, 1), subvoxel=True)
    assert not codes[1:5, 1:5, 1:5].any()
    assert np.count_nonzero(codes) == 6**3 - 4**3


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.5, 0.5, 5.0), (3.0, 0.2, 0.7), (1.0, 1.0, 1e-6)])
def test_near_offsets_are_a_whole_ball_nearest_first(spacing_mm):
    offsets, lengths_mm = near_offsets(spacing_mm)
    assert offsets[0].tolist() == [0, 0, 0]
    assert (np.diff(lengths_mm) >= 0).all()
    assert np.abs(offsets).max() <= MOST_STEPS
    reach = np.abs(offsets).max(axis=0) + 1
    grid = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), axis=-1).reshape(-1, 3)
    inside = np.linalg.norm(grid * spacing_mm, axis=1) <= lengths_mm[-1]
    assert inside.sum() == len(offsets)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(0, 39)] * 3), min_size=1, max_size=12, unique=True),
    st.lists(st.tuples(*[st.integers(0, 39)] * 3), min_size=1, max_size=12, unique=True),
    st.tuples(*[st.sampled_from([0.4, 1.0, 2.5])] * 3),
)
def test_distances_near_and_far_equal_all_pairs(here, there, spacing_mm):
    margin = np.abs(near_offsets(spacing_mm)[0]).max(axis=0) + 1
    codes = np.zeros(40 + 2 * margin, dtype=np.uint8)
    codes[tuple((np.array(there) + margin).T)] = 1
    elements = np.sort(np.ravel_multi_index(tuple((np.array(here) + margin).T), codes.shape))
    got = nearest_distances(elements, np.flatnonzero(codes), codes, spacing_mm)
    points = np.stack(np.unravel_index(elements, codes.shape), axis=1) - margin
    want = cdist(points * spacing_mm, np.array(there) * spacing_mm).min(axis=1)
    np.testing.assert_allclose(got, want, rtol=1e-12)
