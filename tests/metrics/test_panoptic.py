import numpy as np
import pytest

from medseg.errors import DataError
from medseg.metrics.panoptic import panoptic_quality


def row(*spans, length=40):
    mask = np.zeros((length, 3, 3), dtype=bool)
    for start, stop in spans:
        mask[start:stop, 1, 1] = True
    return mask


def test_identity_and_emptiness():
    assert panoptic_quality(row((0, 5), (10, 12)), row((0, 5), (10, 12))).quality == 1.0
    assert panoptic_quality(row(), row()).quality == 1.0
    assert panoptic_quality(row((0, 5)), row()).quality == 0.0
    assert panoptic_quality(row(), row((0, 5))).quality == 0.0


def test_by_hand():
    # IoU 8/10 of the first pair; 5/10 is not above a half, so it is a false positive and a miss; one more made up.
    found = panoptic_quality(row((0, 10), (15, 25)), row((0, 8), (15, 20), (30, 33)))
    assert (found.n_tp, found.n_fp, found.n_fn) == (1, 2, 1)
    assert found.segmentation == pytest.approx(0.8)
    assert found.recognition == pytest.approx(2 / 5)
    assert found.quality == pytest.approx(0.32)


def test_a_bridge_between_two_instances_matches_the_larger_one_alone():
    found = panoptic_quality(row((0, 10), (12, 14)), row((0, 14)))
    assert (found.n_tp, found.n_fp, found.n_fn) == (1, 0, 1)
    assert found.segmentation == pytest.approx(10 / 14)


def test_one_instance_in_two_predictions_matches_neither_unless_one_has_more_than_half():
    halves = panoptic_quality(row((0, 11)), row((0, 5), (6, 11)))
    assert (halves.quality, halves.n_tp, halves.n_fp, halves.n_fn) == (0.0, 0, 2, 1)
    parts = panoptic_quality(row((0, 11)), row((0, 8), (9, 11)))
    assert (parts.n_tp, parts.n_fp, parts.n_fn) == (1, 1, 0)
    assert parts.quality == pytest.approx(8 / 11 * 2 / 3)


def test_instances_that_touch_at_a_corner_are_one():
    mask = row((0, 4))
    mask[4:8, 2, 2] = True
    found = panoptic_quality(mask, mask)
    assert (found.quality, found.n_tp) == (1.0, 1)
    assert panoptic_quality(mask, row((0, 4))).n_tp == 0  # IoU of a half is not above it


def test_quality_is_symmetric():
    rng = np.random.default_rng(0)
    a = rng.random((16, 16, 16)) > 0.96
    b = a & (rng.random(a.shape) > 0.1) | (rng.random(a.shape) > 0.99)
    assert panoptic_quality(a, b).quality == pytest.approx(panoptic_quality(b, a).quality)


def test_shapes_must_agree():
    with pytest.raises(DataError, match="must be equal and 3D"):
        panoptic_quality(row(), row(length=3))
