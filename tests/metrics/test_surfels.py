import itertools

import numpy as np
import pytest

from medseg.metrics.surfels import surfel_areas_mm2

SPACINGS = [(1.0, 1.0, 1.0), (1.0, 1.0, 2.5), (0.7, 0.4, 3.1)]


def bits(code):
    return np.array([code >> bit & 1 for bit in range(8)], dtype=bool).reshape(2, 2, 2)


def code_of(inside):
    return int((inside.reshape(-1) << np.arange(8)).sum())


@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_only_uniform_neighbourhoods_have_no_area(spacing_mm):
    areas = surfel_areas_mm2(spacing_mm)
    assert np.flatnonzero(areas == 0).tolist() == [0, 255]


@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_a_flat_surface_has_the_area_of_a_voxel_face(spacing_mm):
    sx, sy, sz = spacing_mm
    for axis, face_mm2 in enumerate((sy * sz, sx * sz, sx * sy)):
        half = np.indices((2, 2, 2))[axis] == 0
        assert surfel_areas_mm2(spacing_mm)[code_of(half)] == pytest.approx(face_mm2)


@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_a_corner_is_a_triangle_between_three_edge_midpoints(spacing_mm):
    a, b, c = (np.array(v) * np.array(spacing_mm) / 2 for v in np.eye(3))
    triangle_mm2 = np.linalg.norm(np.cross(b - a, c - a)) / 2
    for corner in range(8):
        assert surfel_areas_mm2(spacing_mm)[1 << corner] == pytest.approx(triangle_mm2)


def test_inside_and_outside_have_the_same_surface():
    areas = surfel_areas_mm2((0.7, 0.4, 3.1))
    np.testing.assert_array_equal(areas, areas[::-1])


def test_area_turns_with_the_axes():
    spacing_mm = (0.7, 0.4, 3.1)
    for axes in itertools.permutations(range(3)):
        turned = surfel_areas_mm2(tuple(spacing_mm[axis] for axis in axes))
        for code in range(256):
            assert turned[code_of(bits(code).transpose(axes))] == pytest.approx(surfel_areas_mm2(spacing_mm)[code])


@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_areas_equal_the_published_table(spacing_mm):
    tables = pytest.importorskip("surface_distance.lookup_tables", reason="the extra 'dev' has surface-distance")
    published = tables.create_table_neighbour_code_to_surface_area(spacing_mm)
    weights = tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL
    for code in range(256):
        assert surfel_areas_mm2(spacing_mm)[code] == pytest.approx(
            published[int((bits(code) * weights).sum())], rel=1e-12
        )
