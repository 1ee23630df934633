import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medseg.errors import DataError
from medseg.volumes.boxes import (
    as_boxes,
    box_centres,
    box_sizes,
    box_volumes,
    boxes_from_centres,
    boxes_lps_to_ras,
    boxes_to_voxel,
    boxes_to_world,
    check_boxes,
    clip_boxes,
    points_lps_to_ras,
    points_to_voxel,
    valid_boxes,
)
from medseg.volumes.geometry import voxels_to_world

whole = st.integers(0, 12)


@st.composite
def boxes(draw, count=3):
    low = draw(arrays(np.float64, (count, 3), elements=st.floats(-200, 200)))
    size = draw(arrays(np.float64, (count, 3), elements=st.floats(0.5, 60)))
    return np.concatenate([low, low + size], axis=1)


@st.composite
def aligned_affines(draw):
    """Any axes, any flips, any spacing, any place."""
    order = draw(st.permutations(range(3)))
    signs = draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    spacing = draw(st.tuples(*[st.floats(0.3, 5.0)] * 3))
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, order] * np.array(signs) * np.array(spacing)
    affine[:3, 3] = draw(st.tuples(*[st.floats(-300, 300)] * 3))
    return affine


@st.composite
def any_affines(draw):
    turn = np.linalg.qr(draw(arrays(np.float64, (3, 3), elements=st.floats(-1, 1))) + 3 * np.eye(3))[0]
    affine = draw(aligned_affines())
    affine[:3, :3] = turn @ affine[:3, :3]
    return affine


@given(boxes(), aligned_affines())
def test_there_and_back_is_the_same_box_on_an_aligned_grid(box, affine):
    np.testing.assert_allclose(boxes_to_voxel(affine, boxes_to_world(affine, box)), box, atol=1e-8)
    np.testing.assert_allclose(boxes_to_world(affine, boxes_to_voxel(affine, box)), box, atol=1e-8)


@given(st.tuples(whole, whole, whole), any_affines())
def test_the_box_of_a_voxel_is_centred_where_the_affine_puts_its_index(voxel, affine):
    box = boxes_to_world(affine, [*voxel, *(index + 1 for index in voxel)])
    np.testing.assert_allclose(box_centres(box), voxels_to_world(affine, voxel), atol=1e-9)


@given(boxes(1), any_affines())
def test_a_box_in_the_world_is_the_bounding_box_of_its_eight_corners(box, affine):
    corners = np.array(list(itertools.product(*zip(box[0, :3], box[0, 3:], strict=True))))
    world = voxels_to_world(affine, corners - 0.5)
    expected = np.concatenate([world.min(axis=0), world.max(axis=0)])
    np.testing.assert_allclose(boxes_to_world(affine, box)[0], expected, atol=1e-8)


@given(boxes(), any_affines())
def test_going_there_and_back_on_an_oblique_grid_never_loses_any_of_the_box(box, affine):
    back = boxes_to_voxel(affine, boxes_to_world(affine, box))
    assert (back[:, :3] <= box[:, :3] + 1e-6).all()
    assert (back[:, 3:] >= box[:, 3:] - 1e-6).all()


@given(boxes(), aligned_affines())
def test_volume_follows_the_voxel_size(box, affine):
    expected = box_volumes(box) * abs(np.linalg.det(affine))
    np.testing.assert_allclose(box_volumes(boxes_to_world(affine, box)), expected, rtol=1e-6)


@given(boxes())
def test_corners_are_centre_and_size(box):
    np.testing.assert_allclose(boxes_from_centres(box_centres(box), box_sizes(box)), box, atol=1e-9)


@given(boxes())
def test_lps_to_ras_is_its_own_inverse_bit_for_bit_and_keeps_boxes_upright(box):
    turned = boxes_lps_to_ras(box)
    assert valid_boxes(turned).all()
    np.testing.assert_array_equal(boxes_lps_to_ras(turned), box)
    np.testing.assert_allclose(box_centres(turned), points_lps_to_ras(box_centres(box)), atol=1e-9)


@given(boxes(), st.tuples(*[st.integers(1, 80)] * 3))
def test_clipping_stays_inside_and_changes_nothing_that_is_inside(box, shape):
    clipped = clip_boxes(box, shape)
    assert (clipped >= 0).all()
    assert (clipped <= np.tile(shape, 2)).all()
    inside = ((box >= 0) & (box <= np.tile(shape, 2))).all(axis=1)
    np.testing.assert_array_equal(clipped[inside], box[inside])
    np.testing.assert_array_equal(clip_boxes(clipped, shape), clipped)


@given(boxes(1), aligned_affines())
def test_points_and_boxes_land_together(box, affine):
    np.testing.assert_allclose(
        points_to_voxel(affine, box_centres(box)), box_centres(boxes_to_voxel(affine, box)), atol=1e-7
    )


def test_the_half_voxel():
    # Index 10 of a 1 mm grid at the origin is centred at 10 mm and spans 9.5 to 10.5 mm.
    assert boxes_to_voxel(np.eye(4), [9.5, 9.5, 9.5, 10.5, 10.5, 10.5]).tolist() == [[10, 10, 10, 11, 11, 11]]


def test_diameters_make_cubes():
    assert boxes_from_centres([[0, 0, 0], [5, 5, 5]], [2, 4]).tolist() == [[-1, -1, -1, 1, 1, 1], [3, 3, 3, 7, 7, 7]]


@pytest.mark.parametrize("nothing", [[], np.zeros((0, 6)), np.zeros(0), np.zeros((0, 3))])
def test_no_boxes_are_0_by_6_everywhere(nothing):
    assert as_boxes(nothing).shape == (0, 6)
    assert boxes_to_world(np.eye(4), nothing).shape == (0, 6)
    assert boxes_lps_to_ras(nothing).shape == (0, 6)
    assert boxes_from_centres(np.zeros((0, 3)), []).shape == (0, 6)
    assert box_volumes(nothing).shape == valid_boxes(nothing).shape == (0,)


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ([0, 0, 0, 1, 1, 0], "has no size along an axis"),
        ([0, 0, 0, 1, -1, 1], "is inverted"),
        ([0, 0, float("nan"), 1, 1, 1], "is not finite"),
        ([0, 0, 0, float("inf"), 1, 1], "is not finite"),
    ],
)
def test_a_box_that_cannot_be_is_refused_in_one_line(box, fault):
    with pytest.raises(DataError, match=f"case7: box 1 .* {fault}") as error:
        check_boxes([[0, 0, 0, 1, 1, 1], box], where="case7")
    assert "\n" not in str(error.value)


def test_boxes_of_four_numbers_are_refused():
    with pytest.raises(DataError, match=r"case7: shape \(2, 4\) is no list of boxes"):
        check_boxes(np.zeros((2, 4)), where="case7")
