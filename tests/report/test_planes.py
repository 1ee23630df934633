import base64
import io

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from medseg.report import planes

masks = arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def area_of(path: str) -> int:
    """Pixels that a path of `filled_path` covers."""
    return sum(int(run.split("h")[1].split("v")[0]) for run in path.split("z") if run)


def length_of(path: str) -> int:
    """Length of a path of `outline_path`."""
    steps = [part.replace("v", "h").split("h")[1] for part in path.split("M") if part]
    return sum(map(int, steps))


@given(masks)
def test_a_filled_path_covers_the_mask(mask: np.ndarray) -> None:
    assert area_of(planes.filled_path(mask)) == mask.sum()


@given(masks)
def test_an_outline_is_as_long_as_the_border(mask: np.ndarray) -> None:
    padded = np.pad(mask, 1)
    border = (padded[1:] != padded[:-1]).sum() + (padded[:, 1:] != padded[:, :-1]).sum()
    assert length_of(planes.outline_path(mask)) == border


def test_a_png_decodes_to_the_same_pixels() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (7, 11), dtype=np.uint8)
    data = base64.b64decode(planes.png_data_uri(grey).split(",")[1])
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(io.BytesIO(data))), grey)


@pytest.mark.parametrize(
    ("affine", "corner"),
    [
        (np.diag([1.0, 1, 1, 1]), (3, 4, 5)),
        (np.diag([-1.0, -1, 1, 1]), (0, 0, 5)),
        (np.array([[0, 0, -2.0, 0], [1, 0, 0, 0], [0, 3, 0, 0], [0, 0, 0, 1]]), (4, 5, 0)),
    ],
)
def test_the_right_anterior_superior_corner_becomes_the_last_voxel(affine: np.ndarray, corner: tuple[int, ...]) -> None:
    shape = {3: (4, 5, 6), 0: (4, 5, 6), 4: (5, 6, 4)}[corner[0]]
    array = np.zeros(shape, dtype=np.uint8)
    array[corner] = 1
    assert planes.to_ras(array, affine)[-1, -1, -1] == 1


def test_spacing_follows_the_axes() -> None:
    affine = np.array([[0, 0, -2.0, 0], [1, 0, 0, 0], [0, 3, 0, 0], [0, 0, 0, 1]])
    assert planes.ras_spacing_mm(affine, (1.0, 3.0, 2.0)) == (2.0, 1.0, 3.0)


@pytest.mark.parametrize("plane", planes.PLANES, ids=lambda plane: plane.name)
def test_letters_say_where_a_voxel_is(plane: planes.Plane) -> None:
    """A voxel far to the right, front and top of the patient is drawn at the edges that carry its letters."""
    array = np.zeros((9, 9, 9), dtype=np.uint8)
    array[8, 8, 8] = 1  # right, anterior, superior in RAS
    row, column = np.argwhere(planes.cut(array, plane, 8))[0]
    left, right, top, bottom = plane.letters
    assert (left if column == 0 else right) in "RAS"
    assert (top if row == 0 else bottom) in "RAS"


def test_the_fullest_slice_and_the_box_of_an_empty_mask_are_the_middle_and_all() -> None:
    empty = np.zeros((4, 5, 6), dtype=bool)
    assert [planes.fullest_slice(empty, plane) for plane in planes.PLANES] == [3, 2, 2]
    assert planes.bounding_box(empty, margin=(1, 1, 1)) == (slice(0, 4), slice(0, 5), slice(0, 6))


def test_the_box_is_widened_and_clipped() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[4, 1, 8] = True
    assert planes.bounding_box(mask, margin=(2, 2, 2)) == (slice(2, 7), slice(0, 4), slice(6, 9))


def test_grey_values_span_the_window_and_nan_is_black() -> None:
    picture = np.array([[-5.0, 0.0, 5.0, 10.0, 99.0, np.nan]])
    assert planes.to_grey(picture, (0.0, 10.0)).tolist() == [[0, 0, 128, 255, 255, 0]]


def test_the_window_of_an_image_without_signal_is_valid() -> None:
    assert planes.grey_window(np.zeros((2, 2, 2))) == (0.0, 1.0)
