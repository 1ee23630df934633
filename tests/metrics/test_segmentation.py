import math

import numpy as np
import pytest

from medseg.errors import DataError
from medseg.metrics.segmentation import empty_score, missing_score, score_labels
from medseg.metrics.surface import hausdorff_mm, surface_distances
from medseg.metrics.table import METRICS

SHAPE = (20, 16, 12)
SPACING = (1.0, 2.0, 2.5)
REGIONS = {"whole": (1, 4), "core": (4,)}


@pytest.fixture
def reference():
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[3:13, 3:13, 2:9] = 1
    labels[5:9, 5:9, 4:7] = 4
    return labels


def score(reference, prediction, **options):
    return score_labels(reference, prediction, regions=REGIONS, spacing_mm=SPACING, **options)


def test_a_map_against_itself_is_perfect(reference):
    for region in score(reference, reference).values():
        assert region.state == "ok"
        assert {
            name: value for name, value in region.values.items() if METRICS[name].better == "higher"
        } == dict.fromkeys(("dice", "iou", "nsd", "precision", "recall"), 1.0)
        assert {region.values[name] for name in ("hd95_mm", "assd_mm", "volume_error_ml")} == {0.0}


def test_regions_are_scored_as_their_masks_would_be(reference):
    prediction = np.roll(reference, 2, axis=0)
    prediction[0, 0, 0] = 4
    scores = score(reference, prediction)
    for name, values in REGIONS.items():
        a, b = np.isin(reference, values), np.isin(prediction, values)
        assert scores[name].values["dice"] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
        assert scores[name].values["hd95_mm"] == hausdorff_mm(surface_distances(a, b, spacing_mm=SPACING))
        assert scores[name].volume_ref_ml == pytest.approx(a.sum() * 5 / 1000)
        assert scores[name].values["volume_error_ml"] == pytest.approx((b.sum() - a.sum()) * 5 / 1000)


@pytest.mark.parametrize("orders", ["FF", "CF", "FC"])
def test_memory_order_does_not_matter(reference, orders):
    prediction = np.roll(reference, 2, axis=1)
    arrays = [np.asarray(labels, order=order) for labels, order in zip((reference, prediction), orders, strict=True)]
    want, got = score(reference, prediction), score(*arrays)
    for name in REGIONS:
        assert got[name].values == pytest.approx(want[name].values, rel=1e-12)


def test_an_empty_prediction_is_the_worst_there_is(reference):
    region = score(reference, np.zeros_like(reference))["core"]
    diagonal_mm = math.hypot(20 * 1, 16 * 2, 12 * 2.5)
    assert region.state == "pred_empty"
    assert region.values == {
        "dice": 0.0,
        "iou": 0.0,
        "hd95_mm": pytest.approx(diagonal_mm),
        "nsd": 0.0,
        "assd_mm": pytest.approx(diagonal_mm),
        "volume_error_ml": pytest.approx(-4 * 4 * 3 * 5 / 1000),
        "precision": 0.0,
        "recall": 0.0,
    }


def test_a_false_alarm_is_the_worst_there_is(reference):
    region = score(np.zeros_like(reference), reference)["core"]
    assert region.state == "ref_empty"
    assert (region.values["dice"], region.values["nsd"], region.values["recall"]) == (0, 0, 0)
    assert region.values["volume_error_ml"] == pytest.approx(region.volume_pred_ml)


def test_two_empty_maps_are_perfect(reference):
    empty = np.zeros_like(reference)
    assert score(empty, empty)["core"] == empty_score()
    assert empty_score().values["dice"] == 1
    assert empty_score().values["hd95_mm"] == 0


def test_the_worst_distance_is_beyond_any_that_can_occur(reference):
    corners = [np.zeros_like(reference) for _ in range(2)]
    corners[0][0, 0, 0] = corners[1][-1, -1, -1] = 4
    found = score(*corners)["core"].values["hd95_mm"]
    assert found < missing_score(volume_ref_ml=1, worst_mm=math.hypot(20, 32, 30)).values["hd95_mm"]


def test_a_missing_prediction_is_the_worst_even_where_there_is_nothing():
    region = missing_score(volume_ref_ml=0.0, worst_mm=373.0)
    assert region.state == "missing_prediction"
    assert (region.values["dice"], region.values["hd95_mm"], region.values["volume_error_ml"]) == (0, 373, 0)


def test_tolerance_and_definition_are_handed_on(reference):
    prediction = np.roll(reference, 1, axis=2)
    assert score(reference, prediction, tolerance_mm=2.4)["core"].values["nsd"] < 1
    assert score(reference, prediction, tolerance_mm=2.5)["core"].values["nsd"] == 1
    by_definition = {
        d: score(reference, prediction, definition=d)["core"].values["assd_mm"] for d in ("deepmind", "voxel")
    }
    assert by_definition["deepmind"] != by_definition["voxel"]


def test_maps_of_different_shape_are_refused(reference):
    with pytest.raises(DataError, match="must be equal and 3D"):
        score(reference, reference[1:])


def test_every_metric_has_a_finite_score_in_every_state(reference):
    empty = np.zeros_like(reference)
    for pair in ((reference, reference), (reference, empty), (empty, reference), (empty, empty)):
        for region in score(*pair).values():
            assert region.values.keys() == METRICS.keys()
            assert all(math.isfinite(value) for value in region.values.values())
