import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.apps.detection.utils.ATSS_matcher import ATSSMatcher

from medseg.errors import ConfigError, DataError
from medseg.kernels.anchors import AnchorLevel, anchor_boxes, anchors_with_shapes
from medseg.kernels.atss import match_anchors

SIZE = (64, 48, 56)
MAPS = [(16, 12, 28), (8, 6, 14), (4, 3, 7)]
LEVELS = anchors_with_shapes([[6, 8, 4], [8, 6, 5], [10, 10, 6]], (1, 2, 4)).levels(SIZE, MAPS)


def random_boxes(count, *, seed, whole=False):
    draw = np.random.default_rng(seed)
    low = draw.uniform(0, 0.8, (count, 3)) * SIZE
    boxes = np.concatenate([low, low + draw.uniform(2, 16, (count, 3))], axis=1)
    return (boxes.round() if whole else boxes).astype(np.float32)


def match_monai(size, levels, boxes, *, num_candidates, center_in_gt):
    cells = [int(np.prod(level.cells(size))) for level in levels]
    anchors = anchor_boxes(size, levels, np.arange(sum(level.count(size) for level in levels)))
    matcher = ATSSMatcher(num_candidates, center_in_gt=center_in_gt)
    _, matches = matcher(torch.from_numpy(boxes), torch.from_numpy(anchors), cells, len(levels[0].boxes))
    index = torch.where(matches >= 0)[0]
    return index.numpy(), matches[index].numpy()


def assert_equal_to_monai(size, levels, boxes, **options):
    found, expected = match_anchors(size, levels, boxes, **options), match_monai(size, levels, boxes, **options)
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])


@pytest.mark.parametrize("center_in_gt", [True, False])
@pytest.mark.parametrize("num_candidates", [1, 4, 9])
@pytest.mark.parametrize("seed", range(5))
def test_the_positives_are_monais(num_candidates, center_in_gt, seed):
    boxes = random_boxes(12, seed=seed)
    assert_equal_to_monai(SIZE, LEVELS, boxes, num_candidates=num_candidates, center_in_gt=center_in_gt)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 6), candidates=st.integers(1, 12), inside=st.booleans())
def test_the_positives_are_monais_on_any_boxes(seed, count, candidates, inside):
    boxes = random_boxes(count, seed=seed)
    assert_equal_to_monai(SIZE, LEVELS, boxes, num_candidates=candidates, center_in_gt=inside)


def test_anchors_away_from_the_centre_of_their_cell_are_found():
    boxes = [np.array([[0, -3, 1, 9, 5, 8], [-7, -7, -7, 1, 1, 2]], np.float32)] * 2
    levels = [AnchorLevel((4, 4, 4), boxes[0]), AnchorLevel((8, 8, 8), boxes[1])]
    for seed in range(5):
        assert_equal_to_monai(SIZE, levels, random_boxes(8, seed=seed), num_candidates=3, center_in_gt=True)


def test_boxes_at_the_border_and_outside_are_matched_alike():
    boxes = np.array([[0, 0, 0, 3, 4, 5], [60, 44, 50, 67, 51, 60], [-30, 10, 10, -20, 20, 20]], np.float32)
    for inside in (True, False):
        assert_equal_to_monai(SIZE, LEVELS, boxes + np.float32(0.3), num_candidates=4, center_in_gt=inside)


def monai_with_the_lowest_number_of_equals(monkeypatch):
    def topk(values, count, dim, largest):
        ordered, index = values.sort(dim=dim, stable=True)
        return ordered[:, :count], index[:, :count]

    monkeypatch.setattr(torch.Tensor, "topk", topk)


@pytest.mark.parametrize("seed", range(5))
def test_of_cells_equally_far_the_one_with_the_lowest_number_is_taken(seed, monkeypatch):
    monai_with_the_lowest_number_of_equals(monkeypatch)
    boxes = random_boxes(12, seed=seed, whole=True)  # whole corners: many centres lie midway between cells
    assert_equal_to_monai(SIZE, LEVELS, boxes, num_candidates=4, center_in_gt=False)


def test_an_anchor_claimed_twice_goes_to_the_box_it_overlaps_most_and_of_equals_to_the_first(monkeypatch):
    monai_with_the_lowest_number_of_equals(monkeypatch)
    boxes = np.repeat(random_boxes(4, seed=1), 2, axis=0)
    boxes[1::4] += np.float32(0.7)
    assert_equal_to_monai(SIZE, LEVELS, boxes, num_candidates=4, center_in_gt=False)
    anchors, owners = match_anchors(SIZE, LEVELS, np.repeat(boxes[:1], 3, axis=0), num_candidates=4, center_in_gt=True)
    assert len(np.unique(anchors)) == len(anchors)
    assert set(owners.tolist()) == {0}


def test_levels_of_fewer_cells_than_candidates():
    levels = anchors_with_shapes([[6, 6, 6], [9, 9, 9]], (1, 2)).levels((16, 16, 16), [(2, 1, 2), (1, 1, 1)])
    boxes = np.array([[3.1, 2.2, 1.3, 9, 11, 9], [8.2, 7.1, 8.4, 15, 15, 15]], np.float32)
    assert_equal_to_monai((16, 16, 16), levels, boxes, num_candidates=9, center_in_gt=False)


def test_one_anchor_in_all_is_positive():
    level = AnchorLevel((8, 8, 8), np.array([[-2, -2, -2, 2, 2, 2]], np.float32))
    anchors, owners = match_anchors((8, 8, 8), [level], [[0, 0, 0, 1, 1, 1]], num_candidates=4, center_in_gt=True)
    assert (anchors.tolist(), owners.tolist()) == ([0], [0])


@pytest.mark.parametrize("nothing", [[], np.zeros((0, 6), np.float32)])
def test_a_scan_without_boxes_has_no_positives(nothing):
    anchors, owners = match_anchors(SIZE, LEVELS, nothing, num_candidates=4, center_in_gt=True)
    assert anchors.shape == owners.shape == (0,)
    assert anchors.dtype == owners.dtype == np.int64


def test_bad_arguments_are_refused():
    with pytest.raises(ConfigError, match="num_candidates 0"):
        match_anchors(SIZE, LEVELS, [[0, 0, 0, 1, 1, 1]], num_candidates=0, center_in_gt=True)
    with pytest.raises(DataError, match="box 1 is"):
        match_anchors(SIZE, LEVELS, [[0, 0, 0, 1, 1, 1], [0, 0, 5, 1, 1, 1]], num_candidates=4, center_in_gt=True)
    with pytest.raises(DataError, match="box 0 is"):
        match_anchors(SIZE, LEVELS, [[0, 0, 0, 1, 1, np.nan]], num_candidates=4, center_in_gt=True)
    with pytest.raises(DataError, match="a level of"):
        match_anchors((2, 2, 2), [AnchorLevel((4, 4, 4), LEVELS[0].boxes)], [], num_candidates=4, center_in_gt=True)
