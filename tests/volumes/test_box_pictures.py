import numpy as np
import pytest

from medseg.volumes.box_pictures import box_picture

AIR, TISSUE = -1000, 40


def _blob(affine, shape, places):
    """Tissue within 3 mm of world points, in air."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    near = [((world - np.array(place)) ** 2).sum(axis=-1) < 9 for place in places]
    return np.where(np.any(near, axis=0), TISSUE, AIR).astype(np.int16)


@pytest.mark.parametrize(
    "turn",
    [
        np.diag([1.0, 1, 1]),
        np.diag([-1.0, -1, 1]),
        np.eye(3)[[2, 0, 1]] * 1.5,
        [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, -1]],
    ],
)
def test_the_patient_lies_as_radiologists_hang_him_whatever_the_scans_axes(turn):
    affine = np.eye(4)
    affine[:3, :3] = turn
    affine[:3, 3] = -affine[:3, :3] @ np.full(3, 40)
    # markers 15 mm to the right, in front and above
    volume = _blob(affine, (81, 81, 81), [(15, 0, 0), (0, 15, 0), (0, 0, 15)])
    picture = box_picture(volume, affine, [-4, -4, -4, 4, 4, 4], field_mm=64, pixels=64, frame=False)
    axial, coronal, sagittal = np.split(picture, 3, axis=1)
    centre, left, top = (32, 32), (32, 17), (17, 32)  # row, column
    assert picture.shape == (64, 192)
    for panel in (axial, coronal, sagittal):
        assert panel[left] > 200
        assert panel[top] > 200
        assert panel[centre] < 120
        assert panel[32, 47] < 120
        assert panel[47, 32] < 120


def test_the_frame_surrounds_the_box_and_touches_nothing_in_it():
    volume = np.full((40, 40, 40), AIR, np.int16)
    box = [10, 10, 10, 20, 20, 30]
    framed, plain = (
        box_picture(volume, np.eye(4), box, field_mm=64, pixels=64, frame=frame)[:, 64:128] for frame in (True, False)
    )
    rows, columns = np.nonzero(framed != plain)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (21, 42, 26, 37)  # 20 mm high, 10 mm wide
    np.testing.assert_array_equal(framed[22:42, 27:37], plain[22:42, 27:37])


def test_outside_the_scan_it_is_black():
    picture = box_picture(np.full((8, 8, 8), 100, np.int16), np.eye(4), [500, 500, 500, 510, 510, 510], frame=False)
    assert picture.max() == 0
