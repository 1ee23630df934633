import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import box_utils

from medseg.errors import DataError
from medseg.kernels.boxes import box_giou, box_iou

CUBE = [0, 0, 0, 2, 2, 2]


def random_boxes(count, *, seed):
    draw = np.random.default_rng(seed)
    low = draw.uniform(0, 50, (count, 3))
    return np.concatenate([low, low + draw.uniform(0, 30, (count, 3))], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("other", "iou", "giou"),
    [
        (CUBE, 1, 1),
        ([1, 0, 0, 3, 2, 2], 1 / 3, 1 / 3),
        ([1, 1, 1, 3, 3, 3], 1 / 15, 1 / 15 - 12 / 27),
        ([2, 0, 0, 4, 2, 2], 0, 0),  # faces touch
        ([4, 0, 0, 6, 2, 2], 0, -1 / 3),
        ([0, 0, 0, 1, 1, 1], 1 / 8, 1 / 8),
        ([1, 1, 1, 1, 1, 1], 0, 0),  # no volume
    ],
)
def test_overlap_of_known_boxes(other, iou, giou):
    assert box_iou([CUBE], [other]).item() == pytest.approx(iou, abs=1e-6)
    assert box_iou([other], [CUBE]).item() == pytest.approx(iou, abs=1e-6)
    assert box_giou([CUBE], [other]).item() == pytest.approx(giou, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), counts=st.tuples(st.integers(0, 30), st.integers(0, 30)))
def test_pairs_equal_monais(seed, counts):
    a, b = random_boxes(counts[0], seed=seed), random_boxes(counts[1], seed=seed + 1)
    if 0 not in counts:
        assert np.allclose(box_iou(a, b), box_utils.box_iou(a, b), atol=1e-6)
        assert np.allclose(box_giou(a, b), box_utils.box_giou(a, b), atol=1e-5)
    assert box_iou(a, b).shape == box_giou(b, a).T.shape == counts


def test_no_boxes_of_any_shape_give_no_pairs():
    assert box_iou([], [CUBE]).shape == (0, 1)
    assert box_iou([CUBE, CUBE], np.zeros((0, 6))).shape == (2, 0)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[0, 0, 2, 2]], r"shape \(1, 4\)"),
        ([CUBE, [3, 0, 0, 2, 2, 2]], "box 1 is"),
        ([[0, 0, 0, 1, 1, np.inf]], "box 0 is"),
    ],
)
def test_what_is_no_box_is_refused(boxes, message):
    with pytest.raises(DataError, match=message):
        box_iou(boxes, [CUBE])
