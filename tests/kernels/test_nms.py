import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.box_utils import batched_nms

from medseg.errors import ConfigError, DataError
from medseg.kernels.boxes import box_iou
from medseg.kernels.nms import nms


def random_marks(count, *, seed, classes=1, tied=False):
    draw = np.random.default_rng(seed)
    low = draw.uniform(0, 60, (count, 3))
    boxes = np.concatenate([low, low + draw.uniform(1, 25, (count, 3))], axis=1).astype(np.float32)
    scores = draw.random(count).astype(np.float32)
    return boxes, scores.round(1) if tied else scores, draw.integers(0, classes, count)


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.22, 0.5, 1.0])
@pytest.mark.parametrize("tied", [False, True])
def test_it_keeps_monais_boxes_in_monais_order(threshold, tied):
    boxes, scores, labels = random_marks(400, seed=3, tied=tied)
    for most in (None, 7):
        expected = batched_nms(boxes, scores, labels, threshold, most or -1)
        assert nms(boxes, scores, labels, iou_threshold=threshold, max_kept=most).tolist() == expected.tolist()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 80), threshold=st.floats(0, 1), spread=st.floats(1, 40))
def test_what_stays_does_not_overlap_and_what_goes_overlaps_something_better(seed, count, threshold, spread):
    boxes, scores, labels = random_marks(count, seed=seed, classes=3)
    boxes[0, 3:] += np.float32(spread)  # one box far larger than the others
    kept = nms(boxes, scores, labels, iou_threshold=threshold)
    close = (box_iou(boxes, boxes) > np.float32(threshold)) & (labels[:, None] == labels)
    assert not np.triu(close[np.ix_(kept, kept)], 1).any()
    for box in set(range(count)) - set(kept.tolist()):
        assert any(close[box, other] and scores[other] >= scores[box] for other in kept)


def test_boxes_of_different_classes_do_not_compete():
    boxes = [[0, 0, 0, 4, 4, 4]] * 3
    assert nms(boxes, [0.1, 0.9, 0.5], [0, 1, 0], iou_threshold=0.5).tolist() == [1, 2]


def test_of_equal_scores_the_earlier_box_stays():
    assert nms([[0, 0, 0, 4, 4, 4]] * 3, [0.5] * 3, iou_threshold=0.5).tolist() == [0]


def test_boxes_without_a_volume_suppress_nothing():
    assert nms([[1, 1, 1, 1, 1, 1]] * 2, [0.5, 0.4], iou_threshold=0.0).tolist() == [0, 1]


def test_without_boxes_nothing_stays():
    assert nms([], [], iou_threshold=0.5).shape == (0,)


def test_bad_arguments_are_refused():
    box = [[0, 0, 0, 1, 1, 1]]
    with pytest.raises(DataError, match="score of box 1 is NaN"):
        nms(box * 2, [0.5, np.nan], iou_threshold=0.5)
    with pytest.raises(DataError, match="1 boxes, 2 scores"):
        nms(box, [0.5, 0.5], iou_threshold=0.5)
    with pytest.raises(ConfigError, match="iou_threshold 1.5"):
        nms(box, [0.5], iou_threshold=1.5)
    with pytest.raises(ConfigError, match="max_kept 0"):
        nms(box, [0.5], iou_threshold=0.5, max_kept=0)
