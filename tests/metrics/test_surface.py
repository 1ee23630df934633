import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medseg.errors import DataError
from medseg.metrics.surface import average_distance_mm, hausdorff_mm, surface_dice, surface_distances

UNIT = (1.0, 1.0, 1.0)
DEFINITIONS = pytest.mark.parametrize("definition", ["deepmind", "voxel"])
SPACING = st.tuples(*[st.sampled_from([0.5, 1.0, 2.5])] * 3)
SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=7)


@st.composite
def mask_pairs(draw):
    shape = draw(SHAPES)
    masks = [draw(hnp.arrays(bool, shape)) for _ in range(2)]
    for mask in masks:
        mask[tuple(draw(st.integers(0, side - 1)) for side in shape)] = True
    return masks


def box(low, high, *, shape=(24, 24, 24)):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def ball(radius_mm, *, spacing_mm=UNIT, shape=(48, 48, 48)):
    middle = (np.array(shape) - 1) / 2
    offsets = (np.stack(np.indices(shape), axis=-1) - middle) * spacing_mm
    return np.linalg.norm(offsets, axis=-1) <= radius_mm


CUBE = box((6, 6, 6), (16, 16, 16))


@DEFINITIONS
def test_a_mask_against_itself(definition):
    distances = surface_distances(CUBE, CUBE, spacing_mm=(1.0, 2.0, 0.5), definition=definition)
    assert hausdorff_mm(distances) == 0
    assert hausdorff_mm(distances, percentile=100) == 0
    assert surface_dice(distances, tolerance_mm=0) == 1
    assert average_distance_mm(distances) == 0


@DEFINITIONS
@pytest.mark.parametrize(("axis", "voxels"), [(0, 1), (1, 2), (2, 3)])
def test_hd95_of_a_shifted_cube_is_the_shift_in_mm(definition, axis, voxels):
    spacing_mm = (0.8, 1.0, 2.5)
    shifted = np.roll(CUBE, voxels, axis=axis)
    distances = surface_distances(CUBE, shifted, spacing_mm=spacing_mm, definition=definition)
    assert hausdorff_mm(distances) == pytest.approx(voxels * spacing_mm[axis])
    assert hausdorff_mm(distances, percentile=100) == pytest.approx(voxels * spacing_mm[axis])


def test_nsd_and_assd_of_a_shifted_cube_by_hand():
    # Voxel surface of a 10-cube: 10^3 - 8^3 = 488. Shifted by one along x, the voxels of one end face (100) are 1 mm
    # from the other surface, and so are the 64 of the other end that lie inside the other cube; its rim touches.
    distances = surface_distances(CUBE, np.roll(CUBE, 1, axis=0), spacing_mm=UNIT, definition="voxel")
    assert distances.reference_mm.size == distances.prediction_mm.size == 488
    assert surface_dice(distances, tolerance_mm=0) == pytest.approx((488 - 164) / 488)
    assert surface_dice(distances, tolerance_mm=0.999) == pytest.approx((488 - 164) / 488)
    assert surface_dice(distances, tolerance_mm=1) == 1
    assert average_distance_mm(distances) == pytest.approx(164 / 488)


def test_the_area_of_a_cube_is_its_faces_with_cut_edges_and_corners():
    areas = surface_distances(CUBE, CUBE, spacing_mm=UNIT).reference_areas
    faces, edges, corners = 6 * 9**2, 12 * 9 * math.sqrt(0.5), 8 * math.sqrt(3) / 8
    assert areas.sum() == pytest.approx(faces + edges + corners)


def test_areas_scale_with_the_voxel_face():
    areas = surface_distances(CUBE, CUBE, spacing_mm=(2.0, 2.0, 2.0)).reference_areas
    assert areas.sum() == pytest.approx(4 * surface_distances(CUBE, CUBE, spacing_mm=UNIT).reference_areas.sum())


@DEFINITIONS
@pytest.mark.parametrize("spacing_mm", [UNIT, (1.0, 1.0, 2.0)])
def test_concentric_balls_are_as_far_apart_as_their_radii(definition, spacing_mm):
    small, large = ball(12, spacing_mm=spacing_mm), ball(16, spacing_mm=spacing_mm)
    distances = surface_distances(small, large, spacing_mm=spacing_mm, definition=definition)
    # A voxel wide at best: the elements of either surface lie on both sides of the true one.
    assert average_distance_mm(distances) == pytest.approx(4, abs=max(spacing_mm) / 2)
    assert hausdorff_mm(distances) == pytest.approx(4, abs=0.8)
    assert surface_dice(distances, tolerance_mm=5) == 1
    assert surface_dice(distances, tolerance_mm=1) < 0.02


def test_a_single_voxel_far_away_is_in_the_maximum_but_not_in_hd95():
    speck = CUBE.copy()
    speck[6, 6, 22] = True
    distances = surface_distances(CUBE, speck, spacing_mm=UNIT)
    assert hausdorff_mm(distances, percentile=100) == pytest.approx(7)
    assert hausdorff_mm(distances) == 0


@DEFINITIONS
def test_two_single_voxels(definition):
    a, b = box((2, 2, 2), (3, 3, 3)), box((5, 6, 2), (6, 7, 3))
    distances = surface_distances(a, b, spacing_mm=UNIT, definition=definition)
    # Voxel centres are 5 apart; so are corresponding corners, and the nearest corners are (2, 3, 0) apart.
    assert hausdorff_mm(distances, percentile=100) == 5
    assert distances.reference_mm.min() == pytest.approx(5 if definition == "voxel" else math.hypot(2, 3))


@DEFINITIONS
def test_two_empty_masks(definition):
    empty = np.zeros((4, 5, 6), dtype=bool)
    distances = surface_distances(empty, empty, spacing_mm=UNIT, definition=definition)
    assert hausdorff_mm(distances) == 0
    assert surface_dice(distances, tolerance_mm=1) == 1
    assert average_distance_mm(distances) == 0


@DEFINITIONS
@pytest.mark.parametrize("swap", [False, True])
def test_one_empty_mask(definition, swap):
    pair = [CUBE, np.zeros_like(CUBE)]
    distances = surface_distances(*(pair[::-1] if swap else pair), spacing_mm=UNIT, definition=definition)
    assert hausdorff_mm(distances) == math.inf
    assert surface_dice(distances, tolerance_mm=100) == 0
    assert average_distance_mm(distances) == math.inf


@DEFINITIONS
@settings(max_examples=30, deadline=None)
@given(pair=mask_pairs(), spacing_mm=SPACING)
def test_the_edge_of_the_image_is_a_surface(definition, pair, spacing_mm):
    here = surface_distances(*pair, spacing_mm=spacing_mm, definition=definition)
    padded = surface_distances(*(np.pad(mask, 3) for mask in pair), spacing_mm=spacing_mm, definition=definition)
    for field in ("reference_mm", "prediction_mm", "reference_areas", "prediction_areas"):
        np.testing.assert_array_equal(getattr(here, field), getattr(padded, field))


@DEFINITIONS
@settings(max_examples=30, deadline=None)
@given(pair=mask_pairs(), spacing_mm=SPACING, tolerance_mm=st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_scores_are_symmetric_and_turn_with_the_axes(definition, pair, spacing_mm, tolerance_mm):
    def scores(a, b, spacing):
        distances = surface_distances(a, b, spacing_mm=spacing, definition=definition)
        nsd = surface_dice(distances, tolerance_mm=tolerance_mm)
        return hausdorff_mm(distances, percentile=100), nsd, average_distance_mm(distances)

    a, b = pair
    assert scores(a, b, spacing_mm) == pytest.approx(scores(b, a, spacing_mm))
    assert scores(a, b, spacing_mm) == pytest.approx(scores(a.T, b.T, spacing_mm[::-1]))
    assert scores(a, b, spacing_mm) == pytest.approx(scores(a[::-1], b[::-1], spacing_mm))


@DEFINITIONS
@settings(max_examples=30, deadline=None)
@given(pair=mask_pairs(), spacing_mm=SPACING)
def test_bounds_and_order(definition, pair, spacing_mm):
    distances = surface_distances(*pair, spacing_mm=spacing_mm, definition=definition)
    diagonal = np.linalg.norm(np.multiply(pair[0].shape, spacing_mm))
    hd = [hausdorff_mm(distances, percentile=p) for p in (50, 95, 100)]
    assert 0 <= hd[0] <= hd[1] <= hd[2] <= diagonal
    assert average_distance_mm(distances) <= hd[2]
    nsd = [surface_dice(distances, tolerance_mm=t) for t in (0, 1, 2, diagonal)]
    assert 0 <= nsd[0] <= nsd[1] <= nsd[2] <= nsd[3] == pytest.approx(1)


def test_doubling_the_voxels_doubles_the_distances():
    other = np.roll(ball(9, shape=(24, 24, 24)), 2, axis=1)
    once = surface_distances(CUBE, other, spacing_mm=(1.0, 0.5, 2.0))
    twice = surface_distances(CUBE, other, spacing_mm=(2.0, 1.0, 4.0))
    assert hausdorff_mm(twice) == pytest.approx(2 * hausdorff_mm(once))
    assert average_distance_mm(twice) == pytest.approx(2 * average_distance_mm(once))


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_order_and_strides_do_not_matter(order):
    other = np.roll(CUBE, 2, axis=1)
    want = hausdorff_mm(surface_distances(CUBE, other, spacing_mm=(1.0, 2.0, 3.0)))
    strided = np.repeat(np.asarray(CUBE, order=order), 2, axis=0)[::2]
    assert hausdorff_mm(surface_distances(strided, np.asarray(other, order=order), spacing_mm=(1.0, 2.0, 3.0))) == want


def test_masks_of_different_shape_are_refused():
    with pytest.raises(DataError, match=r"\(24, 24, 24\) and \(23, 24, 24\) must be equal"):
        surface_distances(CUBE, CUBE[1:], spacing_mm=UNIT)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 0.0), (1.0, -1.0, 1.0), (1.0, 1.0, math.nan), (1.0, 1.0)])
def test_an_impossible_voxel_size_is_refused(spacing_mm):
    with pytest.raises(DataError, match="three positive numbers"):
        surface_distances(CUBE, CUBE, spacing_mm=spacing_mm)
