import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Orientationd, Spacingd

from medseg.datasets.phantoms import make_luna16_phantom
from medseg.errors import ConfigError, DataError
from medseg.transforms import BoxesToVoxeld, BoxesToWorldd, MaskToBoxesd, RandFlipBoxesd, WarnIfMirroredd
from medseg.volumes.boxes import boxes_from_centres, boxes_to_world, points_lps_to_ras

SHAPE = (20, 24, 16)


def _item(cases, boxes_ras, **more):
    item = cases.item_of(SHAPE, [])
    return {"case_id": "case7", "image": item["image"], "box_ras_mm": boxes_ras, **more}


@pytest.fixture
def inside(cases):
    """Two boxes in the image, RAS mm."""
    return boxes_to_world(cases.AFFINE, [[2, 3, 4, 6, 7, 8], [10, 10, 10, 14, 13, 12]])


def test_world_boxes_become_voxel_boxes_with_types_and_labels(cases, inside):
    item = BoxesToVoxeld()(_item(cases, inside.tolist()))
    torch.testing.assert_close(item["box"], torch.tensor([[2.0, 3, 4, 6, 7, 8], [10, 10, 10, 14, 13, 12]]))
    assert (item["box"].dtype, item["label"].dtype, item["label"].tolist()) == (torch.float32, torch.int64, [0, 0])


@given(st.floats(0.5, 2.0), st.sampled_from(["RAS", "LPS", "SPR", "AIL"]))
def test_the_grid_that_the_image_has_then_counts(cases, spacing, codes):
    middle = boxes_from_centres(cases.AFFINE[:3] @ [[9], [11], [7], [1]], [4.0])
    steps = [
        Orientationd("image", axcodes=codes, labels=(("L", "R"), ("P", "A"), ("I", "S"))),
        Spacingd("image", [spacing] * 3),
        BoxesToVoxeld(),
    ]
    item = Compose(steps)(_item(cases, middle))
    world = boxes_to_world(item["image"].affine.numpy(), item["box"].numpy())
    np.testing.assert_allclose(world, middle, atol=1e-4)
    # Spacingd leaves an axis as it is that is nearly right.
    width_mm = np.linalg.norm(item["image"].affine.numpy()[:3, :3], axis=0)
    np.testing.assert_allclose(item["box"][0, 3:] - item["box"][0, :3], 4 / width_mm, rtol=1e-4)


def test_there_and_back_also_after_augmentation(cases, inside):
    steps = [BoxesToVoxeld(), RandFlipBoxesd("image", prob=1), BoxesToWorldd(box_ras_key="back")]
    item = Compose(steps)(_item(cases, inside))
    assert item["back"].dtype == torch.float64
    np.testing.assert_allclose(item["back"].numpy(), inside, atol=1e-4)


@pytest.mark.parametrize("nothing", [[], np.zeros((0, 6)), torch.zeros(0, 6)])
def test_a_scan_without_nodules_has_typed_empty_boxes(cases, nothing):
    item = BoxesToVoxeld()(_item(cases, nothing, label=[]))
    assert (item["box"].shape, item["box"].dtype) == ((0, 6), torch.float32)
    assert (item["label"].shape, item["label"].dtype) == ((0,), torch.int64)


def test_a_box_across_the_border_is_cut_there(cases):
    item = BoxesToVoxeld()(_item(cases, boxes_to_world(cases.AFFINE, [[-2, 3, 4, 6, 7, 20]])))
    torch.testing.assert_close(item["box"], torch.tensor([[0.0, 3, 4, 6, 7, 16]]))


def test_a_box_outside_the_image_is_refused_in_one_line(cases, inside):
    away = inside + np.tile([0, 0, 500.0], 2)
    with pytest.raises(DataError, match=r"case7: box_ras_mm: .* outside the image\. Is it of another scan\?") as error:
        BoxesToVoxeld()(_item(cases, away))
    assert "\n" not in str(error.value)


def test_a_box_in_lps_is_told_from_one_of_another_scan(cases, inside):
    lps = np.concatenate([-inside[:, 3:5], inside[:, 2:3], -inside[:, 0:2], inside[:, 5:6]], axis=1)
    with pytest.raises(DataError, match="is it LPS, not RAS"):
        BoxesToVoxeld()(_item(cases, lps))


def test_boxes_outside_may_be_dropped_with_a_warning(cases, inside):
    boxes = np.concatenate([inside[:1] + np.tile([0, 0, 500.0], 2), inside[1:]])
    with pytest.warns(UserWarning, match="Dropped 1"):
        item = BoxesToVoxeld(outside="drop")(_item(cases, boxes, label=[3, 4]))
    assert item["label"].tolist() == [4]
    assert item["box"].shape == (1, 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": [0]}, "2 boxes, but 1 labels"),
        ({"box_ras_mm": [[0, 0, 0, 1, 1, 0]]}, "box 0 .* has no size"),
        ({"box_ras_mm": [[0, 0, 0, 1, 1]]}, "no list of boxes"),
        ({"image": torch.zeros(1, 4, 4, 4)}, "image is a Tensor without an affine"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(cases, inside, change, message):
    with pytest.raises(DataError, match=f"case7: .*{message}") as error:
        BoxesToVoxeld()({**_item(cases, inside), **change})
    assert "\n" not in str(error.value)


def test_an_item_without_boxes_passes_on_request_only(cases):
    item = {"image": cases.item_of(SHAPE, [])["image"]}
    assert "box" not in BoxesToVoxeld(allow_missing_keys=True)(item)
    assert "box_ras_mm" not in BoxesToWorldd(allow_missing_keys=True)(item)
    with pytest.raises(DataError, match="the item has no such boxes"):
        BoxesToVoxeld()(item)
    with pytest.raises(ConfigError, match="outside is 'keep'"):
        BoxesToVoxeld(outside="keep")


@pytest.mark.parametrize("number", [0, 2])  # the second is stored with its axes turned
def test_luna16s_annotations_and_masks_give_the_same_boxes(number):
    phantom = make_luna16_phantom(number, seed=0, shape=(88, 72, 52), spacing_mm=2.6)
    affine = torch.from_numpy(np.array(phantom.affine_ras_mm))
    centres = points_lps_to_ras([nodule.centre_lps_mm for nodule in phantom.nodules])
    diameters = [nodule.diameter_mm for nodule in phantom.nodules]
    item = {
        "image": MetaTensor(torch.from_numpy(phantom.image_hu.astype(np.float32))[None], affine=affine),
        "mask": MetaTensor(torch.from_numpy(phantom.nodules_map)[None], affine=affine),
        "box_ras_mm": boxes_from_centres(centres, diameters),
    }
    item = Compose([WarnIfMirroredd(), BoxesToVoxeld(), MaskToBoxesd(box_key="of_mask", label_key="m")])(item)
    # its nodules are lengthened by up to a tenth, and voxels are counted by their centres
    tolerance = 1.0 + 0.05 * np.array(diameters)[:, None] / np.abs(np.diag(phantom.affine_ras_mm)[[0, 1, 2] * 2])
    assert (np.abs(item["box"].numpy() - item["of_mask"].numpy()) <= tolerance).all()
