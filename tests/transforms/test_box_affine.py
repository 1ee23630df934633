import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import Compose

from medseg.errors import ConfigError
from medseg.transforms import RandAffineBoxesd
from medseg.transforms.box_affine import about_centre, inverse_linear, resample_affine, resample_affine_torch
from medseg.volumes.boxes import box_sizes, boxes_to_world

ISOTROPIC = np.diag([-1.0, -1.0, 1.0, 1.0])


def _turn(**options):
    options = {"prob": 1, "rotate_range": 0.5, "zoom_range": (0.8, 1.25), "mode": ("bilinear", "nearest"), **options}
    return RandAffineBoxesd(["image", "mask"], **options)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(2.5, 9.0), st.tuples(*[st.floats(15.0, 25.0)] * 3))
def test_the_turned_box_of_a_ball_is_the_box_of_its_turned_mask_within_a_voxel(cases, seed, radius, centre):
    box = np.concatenate([np.array(centre) - radius, np.array(centre) + radius])
    item = cases.item_of((40, 40, 40), [box], cases.ball_mask((40, 40, 40), [box]), affine=ISOTROPIC)
    item["mask"] = item["mask"].float()  # looked up linearly and cut at one half: nearest adds coarseness of its own
    turned = _turn(mode="bilinear").set_random_state(seed=seed)(item)
    wanted = cases.boxes_by_value(turned["mask"].as_tensor() > 0.5)[1]
    assert np.abs(turned["box"][0].numpy() - wanted).max() <= 1.0


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.floats(5.0, 12.0),
    st.tuples(*[st.floats(16.0, 24.0)] * 3),
    st.sampled_from([0.6, 1.25, 2.5]),
)
def test_the_box_of_a_ball_drawn_on_the_turned_grid_is_the_box_that_the_transform_gives(
    cases, seed, radius_mm, centre, thickness
):
    """A ball in millimetres, on slices of any thickness; drawn anew, so that only the new grid is coarse."""
    affine, centre = np.diag([-1.0, -1.0, thickness, 1.0]), np.array(centre)
    half = radius_mm / np.array([1, 1, thickness])
    item = cases.item_of((40, 40, 40), [np.concatenate([centre - half, centre + half])], affine=affine)
    turned = _turn(min_share=0).set_random_state(seed=seed)(item)
    index = np.stack(np.meshgrid(*[np.arange(40)] * 3, indexing="ij"), axis=-1)
    world = turned["image"].affine.numpy()
    offset_mm = index @ world[:3, :3].T + world[:3, 3] - (affine[:3, :3] @ (centre - 0.5))
    mask = ((offset_mm**2).sum(axis=-1) <= radius_mm**2).astype(np.uint8)
    wanted = cases.boxes_by_value(torch.from_numpy(mask[None]))[1]
    assert np.abs(turned["box"][0].numpy() - wanted).max() <= 1.0


def test_a_turned_ball_keeps_its_size_and_the_box_of_its_corners_grows(cases):
    item = cases.item_of((40, 40, 40), [[14, 14, 14, 26, 26, 26]], affine=ISOTROPIC)
    same = _turn(rotate_range=(0, 0, 0.7), zoom_range=(1, 1)).set_random_state(seed=0)(item)
    np.testing.assert_allclose(box_sizes(same["box"].numpy())[0], 12, atol=1e-4)
    grown = _turn(rotate_range=(0, 0, 0.7), zoom_range=(1, 1), shape="box").set_random_state(seed=0)(item)
    assert (box_sizes(grown["box"].numpy())[0][:2] > 12.5).all()


def test_thick_slices_are_turned_in_millimetres(cases):
    # A ball of 12 mm on 3 mm slices, turned about the first axis, is a ball of 12 mm.
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    item = cases.item_of((40, 40, 16), [[14, 14, 6, 26, 26, 10]], affine=affine)
    turned = _turn(rotate_range=(0.7, 0, 0), zoom_range=(1, 1)).set_random_state(seed=0)(item)
    np.testing.assert_allclose(box_sizes(turned["box"].numpy())[0], [12, 12, 4], atol=1e-4)


@pytest.mark.parametrize("zoom", [0.8, 1.25])
def test_zoom_about_the_centre_is_exact(cases, zoom):
    item = cases.item_of((40, 40, 40), [[10, 16, 18, 16, 24, 22]])
    zoomed = _turn(rotate_range=0, zoom_range=(zoom, zoom))(item)
    np.testing.assert_allclose(zoomed["box"][0], (item["box"][0] - 20) * zoom + 20, atol=1e-4)
    world = boxes_to_world(zoomed["image"].affine.numpy(), zoomed["box"].numpy())
    np.testing.assert_allclose(world, boxes_to_world(cases.AFFINE, item["box"].numpy()), atol=1e-3)


def test_the_result_may_be_smaller_and_boxes_outside_go_with_their_labels(cases):
    boxes = [[0, 0, 0, 4, 4, 4], [18, 18, 18, 22, 22, 22]]
    cut = _turn(spatial_size=24).set_random_state(seed=0)(cases.item_of((40, 40, 40), boxes))
    assert cut["image"].shape == cut["mask"].shape == (1, 24, 24, 24)
    assert cut["label"].tolist() == [1]
    untouched = _turn(spatial_size=24, prob=0)(cases.item_of((40, 40, 40), boxes))
    assert torch.equal(
        untouched["image"].as_tensor(), cases.item_of((40, 40, 40), boxes)["image"].as_tensor()[:, 8:32, 8:32, 8:32]
    )
    assert untouched["box"].tolist() == [[10, 10, 10, 14, 14, 14]]


def test_an_odd_difference_in_size_still_hits_whole_voxels(cases):
    item = cases.item_of((21, 21, 21), [[8, 8, 8, 12, 12, 12]])
    cut = _turn(spatial_size=16, prob=0)(item)
    np.testing.assert_array_equal(cut["box"][0].numpy(), cases.boxes_by_value(cut["mask"])[1])
    assert torch.isin(cut["image"].as_tensor(), item["image"].as_tensor()).all()


@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("size", [(17, 20, 13), (30, 30, 30)])
def test_the_kernel_and_its_torch_twin_agree(nearest, size):
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 21, 18, 16)).astype(np.float32))
    matrix = about_centre(inverse_linear((0.3, -0.2, 0.5), 1.1, (1, 1, 2)), image.shape[1:], size)
    pair = [f(image, matrix, size, nearest=nearest, pad_value=-2.0) for f in (resample_affine, resample_affine_torch)]
    if nearest:  # ties between neighbours may go either way
        assert ((pair[0] - pair[1]).abs() > 1e-5).float().mean() < 1e-3
    else:
        torch.testing.assert_close(pair[0], pair[1], atol=2e-4, rtol=0)


def test_the_mask_keeps_its_type_and_the_image_becomes_float32(cases):
    turned = _turn()(cases.item_of((20, 20, 20), [[5, 5, 5, 10, 10, 10]]))
    assert (turned["mask"].dtype, turned["image"].dtype, turned["box"].dtype) == (
        torch.uint8,
        torch.float32,
        torch.float32,
    )


def test_no_boxes_pass_and_draws_follow_the_seed_through_compose(cases):
    move = Compose([_turn(prob=0.9)])
    draws = [move.set_random_state(seed=seed)(cases.item_of((20, 20, 20), [])) for seed in (3, 3, 5)]
    assert draws[0]["box"].shape == (0, 6)
    assert torch.equal(draws[0]["image"], draws[1]["image"])
    assert not torch.equal(draws[0]["image"], draws[2]["image"])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"zoom_range": (0, 1)}, "zoom_range"), ({"mode": "cubic"}, "mode 'cubic'"), ({"shape": "egg"}, "shape 'egg'")],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        _turn(**options)
