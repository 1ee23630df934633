import numpy as np
import pytest
import torch

from medseg.errors import ConfigError, DataError
from medseg.transforms import BoxesToMaskd, MaskToBoxesd

SHAPE = (16, 18, 20)
BOXES = [[2, 3, 4, 7, 8, 9], [10, 10, 12, 16, 15, 20]]


def test_every_value_of_an_instance_mask_is_a_box(cases):
    item = MaskToBoxesd()(cases.item_of(SHAPE, BOXES))
    assert item["box"].tolist() == BOXES
    assert (item["box"].dtype, item["label"].dtype, item["label"].tolist()) == (torch.float32, torch.int64, [0, 0])


def test_components_of_a_class_mask_are_boxes_of_that_class(cases):
    mask = (cases.block_mask(SHAPE, BOXES) > 0).astype(np.uint8)
    mask[0, 0, 0] = mask[1, 1, 1] = 2  # neighbours by a corner
    item = MaskToBoxesd(objects="components")({"mask": torch.from_numpy(mask[None])})
    assert item["box"].tolist() == [*BOXES, [0, 0, 0, 2, 2, 2]]
    assert item["label"].tolist() == [0, 0, 1]


def test_specks_are_left_out_and_an_empty_mask_has_typed_boxes(cases):
    item = cases.item_of(SHAPE, [[0, 0, 0, 1, 1, 1]])
    for options in ({"min_voxels": 2}, {"min_voxels": 2, "objects": "components"}):
        found = MaskToBoxesd(**options)(item)
        assert (found["box"].shape, found["box"].dtype, found["label"].shape) == ((0, 6), torch.float32, (0,))


def test_boxes_painted_and_found_again_are_the_same(cases):
    painted = BoxesToMaskd(mask_key="painted", fill="box")(cases.item_of(SHAPE, BOXES))
    assert painted["painted"].dtype == torch.uint8
    assert torch.equal(painted["painted"].as_tensor(), painted["mask"].as_tensor())
    assert torch.equal(painted["painted"].affine, painted["image"].affine)


def test_ellipsoids_touch_the_sides_of_their_boxes(cases):
    boxes = [[2, 3, 4, 7, 8, 13]]
    painted = BoxesToMaskd(mask_key="painted")(cases.item_of(SHAPE, boxes))["painted"]
    np.testing.assert_array_equal(painted.numpy()[0], cases.ball_mask(SHAPE, boxes))
    assert MaskToBoxesd(mask_key="painted")({"painted": painted})["box"].tolist() == boxes


def test_the_first_box_stays_on_top_and_a_tiny_one_has_a_voxel(cases):
    item = cases.item_of(SHAPE, [[4.6, 4.6, 4.6, 4.7, 4.7, 4.7], [0, 0, 0, 10, 10, 10]])
    painted = BoxesToMaskd(fill="box")(item)["mask"]
    assert (painted[0, 4, 4, 4], painted[0, 5, 5, 5], (painted == 1).sum()) == (1, 2, 1)


def test_what_cannot_be_is_refused(cases):
    item = cases.item_of(SHAPE, [])
    with pytest.raises(DataError, match="case7: image: .* Is it an image"):
        MaskToBoxesd(mask_key="image")(item)
    with pytest.raises(DataError, match="case7: seg: the item has no mask"):
        MaskToBoxesd(mask_key="seg")(item)
    with pytest.raises(ConfigError, match="objects is 'blobs'"):
        MaskToBoxesd(objects="blobs")
    with pytest.raises(ConfigError, match="fill is 'star'"):
        BoxesToMaskd(fill="star")
