import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.errors import DataError
from medseg.volumes.geometry import (
    affine_from_parts,
    axis_codes,
    check_same_grid,
    grid_difference_mm,
    lps_to_ras,
    spacing_from_affine,
    voxels_to_world,
)

spacings = st.tuples(*[st.floats(0.1, 8.0)] * 3)
origins = st.tuples(*[st.floats(-400.0, 400.0)] * 3)
quaternions = st.tuples(*[st.floats(-1.0, 1.0)] * 4).filter(lambda q: sum(x * x for x in q) > 0.01)
flips = st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)


def _rotation(quaternion):
    w, x, y, z = np.array(quaternion) / np.sqrt(sum(v * v for v in quaternion))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@st.composite
def affines(draw):
    direction = _rotation(draw(quaternions)) * np.array(draw(flips))
    return affine_from_parts(direction, draw(spacings), draw(origins))


@given(quaternions, flips, spacings, origins)
def test_spacing_is_what_the_affine_was_built_from(quaternion, flip, spacing_mm, origin_mm):
    affine = affine_from_parts(_rotation(quaternion) * np.array(flip), spacing_mm, origin_mm)
    assert spacing_from_affine(affine) == pytest.approx(spacing_mm)


@given(affines())
def test_axis_codes_agree_with_nibabel_and_use_each_world_axis_once(affine):
    codes = axis_codes(affine)
    assert {frozenset(pair) for pair in ("RL", "AP", "SI") if set(pair) & set(codes)} == {
        frozenset("RL"),
        frozenset("AP"),
        frozenset("SI"),
    }
    cosines = np.sort(np.abs(affine[:3, :3] / spacing_from_affine(affine)), axis=0)
    if (cosines[-1] - cosines[-2]).min() > 1e-3 and cosines[-1].min() > 0.75:
        assert codes == nib.aff2axcodes(affine)


@given(affines())
def test_lps_to_ras_is_its_own_inverse_and_keeps_spacing(affine):
    np.testing.assert_array_equal(lps_to_ras(lps_to_ras(affine)), affine)
    assert spacing_from_affine(lps_to_ras(affine)) == pytest.approx(spacing_from_affine(affine))


@given(affines(), st.tuples(*[st.floats(-50, 50)] * 3))
def test_voxels_to_world_is_the_affine(affine, point):
    expected = (affine @ np.array([*point, 1.0]))[:3]
    np.testing.assert_allclose(voxels_to_world(affine, point)[0], expected, atol=1e-9)


@given(affines(), st.tuples(*[st.floats(-20, 20)] * 3))
def test_grid_difference_of_a_shift_is_its_length(affine, shift_mm):
    moved = affine.copy()
    moved[:3, 3] += shift_mm
    expected = np.sqrt(np.dot(shift_mm, shift_mm))
    assert grid_difference_mm((5, 6, 7), affine, moved) == pytest.approx(expected, abs=1e-6)


def test_a_difference_of_rounding_is_the_same_grid():
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    check_same_grid(
        (4, 4, 4, 2), affine + 1e-5, reference_shape=(4, 4, 4), reference_affine=affine, where="case1: label"
    )


def test_other_shape_is_refused_with_both_shapes():
    with pytest.raises(DataError, match=r"case1: label: shape 4x4x4 != 4x4x5\. Resample"):
        check_same_grid(
            (4, 4, 4), np.eye(4), reference_shape=(4, 4, 5), reference_affine=np.eye(4), where="case1: label"
        )


@pytest.mark.parametrize("bad", [np.diag([1.0, 1.0, 1.3, 1.0]), np.diag([-1.0, 1.0, 1.0, 1.0]), np.eye(4) * np.nan])
def test_other_affine_is_refused(bad):
    with pytest.raises(DataError, match="the affines differ by up to"):
        check_same_grid((4, 4, 4), bad, reference_shape=(4, 4, 4), reference_affine=np.eye(4), where="case1")
