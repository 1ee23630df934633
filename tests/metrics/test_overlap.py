import pytest

from medseg.metrics.overlap import Counts, dice, iou, precision, recall, volume_error_voxels

OVERLAPS = [dice, iou, precision, recall]


@pytest.mark.parametrize("metric", OVERLAPS)
def test_equal_masks_score_one(metric):
    assert metric(Counts(both=7, prediction_only=0, reference_only=0)) == 1.0


@pytest.mark.parametrize("metric", OVERLAPS)
def test_two_empty_masks_score_one(metric):
    assert metric(Counts(both=0, prediction_only=0, reference_only=0)) == 1.0


@pytest.mark.parametrize("metric", OVERLAPS)
@pytest.mark.parametrize(("prediction_only", "reference_only"), [(3, 0), (0, 3)])
def test_one_empty_mask_scores_zero(metric, prediction_only, reference_only):
    assert metric(Counts(both=0, prediction_only=prediction_only, reference_only=reference_only)) == 0.0


def test_a_half_overlap_by_hand():
    counts = Counts(both=6, prediction_only=2, reference_only=4)
    assert dice(counts) == pytest.approx(12 / 18)
    assert iou(counts) == pytest.approx(6 / 12)
    assert precision(counts) == pytest.approx(6 / 8)
    assert recall(counts) == pytest.approx(6 / 10)
    assert volume_error_voxels(counts) == -2


def test_swapping_the_masks_swaps_precision_and_recall_only():
    counts = Counts(both=6, prediction_only=2, reference_only=4)
    swapped = Counts(both=6, prediction_only=4, reference_only=2)
    assert (dice(counts), iou(counts)) == (dice(swapped), iou(swapped))
    assert precision(counts) == recall(swapped)
    assert volume_error_voxels(counts) == -volume_error_voxels(swapped)
