import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.transforms import Compose

from medseg.errors import ConfigError, DataError
from medseg.transforms import RandFlipBoxesd, RandRotate90Boxesd
from medseg.volumes.boxes import boxes_to_world

SHAPE = (9, 11, 14)
BOXES = [[0, 2, 3, 4, 5, 9], [5, 6, 10, 9, 11, 14]]
PLANES = list(itertools.permutations(range(3), 2))


def _moves():
    axes = [(0,), (1,), (2,), (0, 1), (0, 1, 2)]
    yield from (RandFlipBoxesd(["image", "mask"], prob=1, spatial_axes=a) for a in axes)
    yield from (RandRotate90Boxesd(["image", "mask"], prob=1, max_k=k, spatial_axes=p) for p in PLANES for k in (1, 3))


@pytest.mark.parametrize("move", _moves())
@pytest.mark.parametrize("seed", range(3))
def test_the_moved_box_is_the_box_of_the_moved_mask(cases, move, seed):
    item = move.set_random_state(seed=seed)(cases.item_of(SHAPE, BOXES))
    assert item["box"].dtype == torch.float32
    for value, box in cases.boxes_by_value(item["mask"]).items():
        np.testing.assert_array_equal(item["box"][value - 1].numpy(), box)


@pytest.mark.parametrize("move", _moves())
def test_the_affine_moves_along_so_that_boxes_stay_where_they_are_in_the_world(cases, move):
    before = cases.item_of(SHAPE, BOXES)
    after = move.set_random_state(seed=1)(before)
    np.testing.assert_allclose(
        boxes_to_world(after["image"].affine.numpy(), after["box"].numpy()),
        boxes_to_world(cases.AFFINE, before["box"].numpy()),
        atol=1e-4,
    )
    np.testing.assert_array_equal(before["box"].numpy(), BOXES)  # the input is kept
    np.testing.assert_array_equal(before["image"].affine.numpy(), cases.AFFINE)


@given(st.integers(0, 2**31), st.lists(st.integers(0, 7), min_size=6, max_size=6))
def test_any_box_in_any_flip_and_turn_keeps_to_its_mask(cases, seed, corners):
    low = np.minimum(corners[:3], corners[3:])
    box = [*low, *(np.maximum(corners[:3], corners[3:]) + 1)]
    move = Compose([RandFlipBoxesd(["image", "mask"]), RandRotate90Boxesd(["image", "mask"], spatial_axes=(2, 0))])
    item = move.set_random_state(seed=seed)(cases.item_of((8, 9, 10), [box]))
    np.testing.assert_array_equal(item["box"][0].numpy(), cases.boxes_by_value(item["mask"])[1])


def test_a_scan_without_nodules_passes_with_typed_boxes(cases):
    move = Compose([RandFlipBoxesd("image", prob=1), RandRotate90Boxesd("image", prob=1)])
    item = move(cases.item_of(SHAPE, []))
    assert item["box"].shape == (0, 6)
    assert item["box"].dtype == torch.float32


def test_draws_follow_the_seed_through_compose(cases):
    move = Compose([RandFlipBoxesd("image"), RandRotate90Boxesd("image", max_k=3)])
    draws = [
        move.set_random_state(seed=seed)(cases.item_of((8, 8, 8), [[0, 1, 2, 3, 5, 7]]))["image"] for seed in (3, 3, 4)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_probability_0_changes_nothing(cases):
    item = cases.item_of(SHAPE, BOXES)
    assert RandFlipBoxesd("image", prob=0)(item)["image"] is item["image"]
    assert RandRotate90Boxesd("image", prob=0)(item)["image"] is item["image"]


def test_what_cannot_be_is_refused(cases):
    with pytest.raises(ConfigError, match="prob is 1.5"):
        RandFlipBoxesd("image", prob=1.5)
    with pytest.raises(ConfigError, match="Wanted two axes"):
        RandRotate90Boxesd("image", spatial_axes=(1, 1))
    with pytest.raises(DataError, match="case7: box: the item has no such boxes"):
        RandFlipBoxesd("image", prob=1)({key: value for key, value in cases.item_of(SHAPE, []).items() if key != "box"})
