import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import Compose

from medseg.engines import CaseDataset
from medseg.errors import ConfigError, DataError
from medseg.transforms import ClipBoxesd, RandCropBoxesd
from medseg.volumes.boxes import boxes_to_world

SHAPE = (30, 26, 22)
BOXES = [[2, 3, 4, 8, 9, 10], [20, 15, 12, 28, 24, 20]]


def _crop(size=12, **options):
    return RandCropBoxesd(["image", "mask"], size, **options)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([8, 12, 24, 40]), st.sampled_from([0.0, 0.5, 1.0]))
def test_the_box_in_a_patch_is_the_box_of_the_cropped_mask(cases, seed, size, box_share):
    crop = _crop(size, box_share=box_share, num_samples=2, min_share=0).set_random_state(seed=seed)
    for patch in crop(cases.item_of(SHAPE, BOXES)):
        assert patch["image"].shape == patch["mask"].shape == (1, size, size, size)
        found = cases.boxes_by_value(patch["mask"])
        assert sorted(found) == [label + 1 for label in patch["label"].tolist()]
        for label, box in zip(patch["label"].tolist(), patch["box"].numpy(), strict=True):
            np.testing.assert_array_equal(box, found[label + 1])


@pytest.mark.parametrize("seed", range(20))
def test_a_patch_around_a_box_holds_all_of_it_at_changing_places(cases, seed):
    patch = _crop(box_share=1).set_random_state(seed=seed)(cases.item_of(SHAPE, BOXES))[0]
    sizes = (patch["box"][:, 3:] - patch["box"][:, :3]).tolist()
    assert [6, 6, 6] in sizes or [8, 9, 8] in sizes


def test_the_place_of_the_box_in_the_patch_changes(cases):
    crop = _crop(box_share=1).set_random_state(seed=0)
    places = {
        tuple(crop(cases.item_of((60, 60, 60), [[30, 30, 30, 34, 34, 34]]))[0]["box"][0].tolist()) for _ in range(40)
    }
    assert len(places) > 30
    lows = np.array(sorted(places))[:, :3]
    assert lows.min() == 0
    assert lows.max() == 8


def test_a_margin_is_kept_where_there_is_room(cases):
    crop = _crop(box_share=1, margin=2).set_random_state(seed=0)
    lows = np.array([crop(cases.item_of((60, 60, 60), [[30, 30, 30, 34, 34, 34]]))[0]["box"][0, 0] for _ in range(60)])
    assert (lows.min(), lows.max()) == (2, 6)


def test_a_patch_smaller_than_the_box_lies_in_it(cases):
    for seed in range(10):
        patch = _crop(6, box_share=1, min_share=0).set_random_state(seed=seed)(
            cases.item_of(SHAPE, [[5, 5, 5, 20, 20, 20]])
        )[0]
        assert patch["box"].tolist() == [[0, 0, 0, 6, 6, 6]]


def test_a_patch_lies_in_the_scan_where_that_is_large_enough_and_is_padded_elsewhere(cases):
    patch = _crop((10, 10, 40), box_share=0, pad_values=(-5.0, 0.0)).set_random_state(seed=2)(
        cases.item_of(SHAPE, BOXES)
    )[0]
    padding = (patch["image"][0, 0, 0] == -5).numpy()
    assert padding.sum() == 40 - 22
    assert padding.argmin() > 0 or not padding[0]


def test_boxes_stay_where_they_are_in_the_world(cases):
    for patch in _crop(24, num_samples=4, box_share=1).set_random_state(seed=0)(cases.item_of(SHAPE, BOXES)):
        world = boxes_to_world(patch["image"].affine.numpy(), patch["box"].numpy())
        whole = [(b[3:] - b[:3]).tolist() in ([6, 6, 6], [8, 9, 8]) for b in patch["box"]]
        expected = boxes_to_world(cases.AFFINE, np.array(BOXES)[patch["label"].numpy()])
        np.testing.assert_allclose(world[whole], expected[whole], atol=1e-4)


def test_hard_negatives_are_visited_by_their_share(cases):
    item = {**cases.item_of((60, 60, 60), []), "negative": torch.tensor([[50.0, 50, 50, 54, 54, 54]])}
    crop = RandCropBoxesd("image", 12, negative_key="negative", box_share=0, negative_share=0.5).set_random_state(
        seed=0
    )
    starts = [np.linalg.solve(cases.AFFINE, crop(item)[0]["image"].affine.numpy())[:3, 3] for _ in range(200)]
    near = np.mean([((start <= 50.001) & (start >= 41.999)).all() for start in starts])
    assert 0.4 < near < 0.6


def test_a_box_that_is_mostly_cut_off_is_dropped_with_its_label(cases):
    item = cases.item_of((20, 20, 20), [[0, 0, 0, 10, 4, 4], [12, 0, 0, 20, 8, 8]])
    item["box"] = item["box"] - torch.tensor([8.0, 0, 0, 8, 0, 0])
    clipped = ClipBoxesd(min_share=0.25)(item)
    assert clipped["label"].tolist() == [1]
    assert clipped["box"].tolist() == [[4, 0, 0, 12, 8, 8]]
    assert ClipBoxesd(min_share=0.2)(item)["box"].tolist() == [[0, 0, 0, 2, 4, 4], [4, 0, 0, 12, 8, 8]]


def test_labels_that_do_not_fit_the_boxes_are_refused(cases):
    item = {**cases.item_of(SHAPE, BOXES), "label": torch.zeros(3)}
    with pytest.raises(DataError, match="case7: 2 boxes, but 3 of label"):
        _crop()(item)


def test_images_of_different_sizes_are_refused(cases):
    item = cases.item_of(SHAPE, BOXES)
    item["mask"] = item["mask"][:, :-1]
    with pytest.raises(DataError, match="case7: wanted images .* of one size"):
        _crop()(item)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "spatial_size"),
        ({"num_samples": 0}, "num_samples"),
        ({"box_share": 0.7, "negative_share": 0.6}, "together"),
        ({"min_share": 2}, "min_share is 2"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        _crop(**options)


def test_in_a_case_dataset_patches_are_the_same_for_a_seed_and_leave_the_cache_alone(cases):
    items = [cases.item_of(SHAPE, BOXES), cases.item_of(SHAPE, [], seed=1)]
    data = CaseDataset(items, Compose([_crop(num_samples=2)]), seed=3, cache_cases=2)
    data.fill_cache()
    first = data[0]
    first[0]["image"].zero_()
    first[0]["box"].zero_()
    again = data[0]
    assert torch.equal(again[1]["image"], first[1]["image"])
    assert again[0]["image"].abs().sum() > 0
    assert torch.equal(data[1][0]["box"], torch.zeros(0, 6))
