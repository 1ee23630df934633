import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.errors import ConfigError, DataError
from medseg.kernels.boxes import box_iou
from medseg.kernels.clustering import weighted_box_clustering

CUBE = [0.0, 0, 0, 4, 4, 4]
SHIFTED = [1.0, 0, 0, 5, 4, 4]  # IoU .6 with CUBE
APART = [20.0, 20, 20, 24, 24, 28]


def slowly(boxes, scores, expected, threshold):
    """The published formulas, cluster by cluster, in double precision."""
    boxes, scores = np.asarray(boxes, np.float64), np.asarray(scores, np.float64)
    volumes = np.prod(boxes[:, 3:] - boxes[:, :3], axis=1)
    ious = box_iou(boxes, boxes)
    left, found = list(np.argsort(-scores, kind="stable")), []
    while left:
        members = [i for i in left if ious[left[0], i] > np.float32(threshold)]
        weight = ious[left[0], members] * volumes[members]
        missing = max(expected - len(members), 0)
        score = (weight * scores[members]).sum() / (weight.sum() + missing * weight.mean())
        found.append((score, *np.average(boxes[members], axis=0, weights=weight * scores[members])))
        left = [i for i in left if i not in members]
    return np.array(sorted(found, key=lambda row: -row[0]))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 40), expected=st.integers(1, 6), threshold=st.floats(0.05, 0.9))
def test_it_follows_the_published_formulas(seed, count, expected, threshold):
    draw = np.random.default_rng(seed)
    low = draw.uniform(0, 40, (count, 3))
    boxes = np.concatenate([low, low + draw.uniform(2, 20, (count, 3))], axis=1).astype(np.float32)
    scores = draw.uniform(0.01, 1, count).astype(np.float32)
    found, marks, _ = weighted_box_clustering(boxes, scores, expected=expected, iou_threshold=threshold)
    reference = slowly(boxes, scores, expected, threshold)
    assert np.allclose(marks, reference[:, 0], atol=1e-5)
    assert np.allclose(np.sort(found, axis=0), np.sort(reference[:, 1:], axis=0), atol=1e-3)


def test_a_box_alone_stays_as_it_is():
    boxes, scores, labels = weighted_box_clustering([CUBE], [0.7], [3], expected=1)
    assert (boxes.tolist(), labels.tolist()) == ([CUBE], [3])
    assert scores.tolist() == pytest.approx([0.7])


def test_two_that_overlap_become_their_mean_weighted_by_overlap_and_score():
    boxes, scores, _ = weighted_box_clustering([CUBE, SHIFTED], [0.8, 0.4], expected=2)
    assert scores.item() == pytest.approx((1 * 0.8 + 0.6 * 0.4) / 1.6)
    assert boxes[0, 0] == pytest.approx(0.6 * 0.4 / (0.8 + 0.6 * 0.4), abs=1e-6)


def test_a_finding_of_one_model_in_five_scores_a_fifth_unless_told_otherwise():
    assert weighted_box_clustering([CUBE], [0.5], expected=5)[1].item() == pytest.approx(0.1)
    assert weighted_box_clustering([CUBE], [0.5], expected=5, missing_weight=0)[1].item() == pytest.approx(0.5)


def test_more_members_than_expected_do_not_raise_the_score():
    assert weighted_box_clustering([CUBE] * 4, [0.5] * 4, expected=2)[1].item() == pytest.approx(0.5)


def test_larger_boxes_count_more_when_asked():
    boxes = [CUBE, [0, 0, 0, 4, 4, 8]]  # IoU .5: half the overlap, twice the volume
    assert weighted_box_clustering(boxes, [0.8, 0.4], expected=2)[1].item() == pytest.approx(0.6)
    assert weighted_box_clustering(boxes, [0.8, 0.4], expected=2, use_area=False)[1].item() == pytest.approx(
        (0.8 + 0.5 * 0.4) / 1.5
    )


def test_weights_are_trust():
    boxes, _, _ = weighted_box_clustering([CUBE, SHIFTED], [0.5, 0.5], expected=2, weights=[1e-6, 1])
    assert boxes[0, 0] == pytest.approx(1, abs=1e-4)


def test_expected_may_differ_from_box_to_box():
    _, scores, _ = weighted_box_clustering([CUBE, APART], [0.6, 0.6], expected=[1, 3])
    assert scores.tolist() == pytest.approx([0.6, 0.2])


def test_classes_and_distant_boxes_stay_apart_and_the_best_comes_first():
    boxes, scores, labels = weighted_box_clustering([CUBE, CUBE, APART], [0.2, 0.9, 0.5], [0, 1, 0], expected=1)
    assert scores.tolist() == pytest.approx([0.9, 0.5, 0.2])
    assert labels.tolist() == [1, 0, 0]
    assert boxes.tolist() == [CUBE, APART, CUBE]


@pytest.mark.parametrize(("box", "score"), [([1, 1, 1, 1, 1, 1], 0.5), (CUBE, 0.0)])
def test_no_volume_and_no_score_are_no_nan(box, score):
    boxes, scores, _ = weighted_box_clustering([box], [score], expected=1)
    assert boxes.tolist() == [box]
    assert scores.tolist() == pytest.approx([score])


def test_without_boxes_there_are_no_clusters():
    boxes, scores, labels = weighted_box_clustering([], [], expected=3)
    assert (boxes.shape, scores.shape, labels.shape) == ((0, 6), (0,), (0,))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"expected": 0}, DataError, "expected must be at least 1"),
        ({"expected": [1, 2]}, DataError, "2 expected for 1 boxes"),
        ({"expected": 1, "weights": [0]}, DataError, "weights must be positive"),
        ({"expected": 1, "iou_threshold": -0.1}, ConfigError, "iou_threshold -0.1"),
        ({"expected": 1, "missing_weight": -1}, ConfigError, "missing_weight -1"),
    ],
)
def test_bad_arguments_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        weighted_box_clustering([CUBE], [0.5], **options)


def test_a_negative_score_is_refused():
    with pytest.raises(DataError, match="box 1 has the score -0.5"):
        weighted_box_clustering([CUBE, APART], [0.5, -0.5], expected=1)
