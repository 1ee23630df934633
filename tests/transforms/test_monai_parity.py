"""Drop-ins against MONAI's own transforms."""

import monai.transforms as theirs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd

import medseg.transforms as ours
from medseg.errors import ConfigError

HU = 2000.0  # range of the images
AXCODES = ["".join(code) for code in ("RAS", "LPS", "SAR", "PIL", "ASR", "LAI")]


def image_of(seed, shape=(7, 9, 8), *, channels=1, dtype=torch.float32, oblique=False, order=(0, 1, 2)):
    """Noise, stored in any memory order, on a grid with any affine."""
    rng = np.random.default_rng(seed)
    voxels = rng.uniform(-HU / 2, HU / 2, (channels, *(shape[axis] for axis in order)))
    voxels[rng.random(voxels.shape) < 0.2] = 0
    if not dtype.is_floating_point:
        voxels = np.clip(np.rint(voxels), *(0, 200) if dtype == torch.uint8 else (-1000, 1000))
    back = np.argsort(order)
    tensor = torch.from_numpy(voxels).to(dtype).permute(0, *(axis + 1 for axis in back))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0] if oblique else np.eye(3)[rng.permutation(3)]
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(rng.uniform(0.5, 3.0, 3) * rng.choice([-1, 1], 3))
    affine[:3, 3] = rng.uniform(-100, 100, 3)
    return MetaTensor(tensor, affine=torch.from_numpy(affine), meta={"filename_or_obj": "case", "space": "RAS"})


def same_bookkeeping(got, want):
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    torch.testing.assert_close(got.affine, want.affine, rtol=0, atol=1e-9)
    assert {k: v for k, v in got.meta.items() if k != "affine"}.keys() == {
        k: v for k, v in want.meta.items() if k != "affine"
    }.keys()
    assert [op["class"] for op in got.applied_operations] == [op["class"] for op in want.applied_operations]
    for one, other in zip(got.applied_operations, want.applied_operations, strict=True):
        assert one.keys() == other.keys()
        assert tuple(one["orig_size"]) == tuple(other["orig_size"])


GRIDS = {
    "seed": st.integers(0, 2**31),
    "shape": st.tuples(*[st.integers(2, 11)] * 3),
    "spacing": st.tuples(*[st.floats(0.4, 4.0)] * 3),
    "order": st.permutations(range(3)),
    "dtype": st.sampled_from([torch.float32, torch.int16]),
    "oblique": st.booleans(),
}


@settings(max_examples=20, deadline=None)
@given(**GRIDS)
def test_spacing_is_monais_and_so_is_its_inverse(seed, shape, spacing, order, dtype, oblique):
    image = image_of(seed, shape, channels=2, dtype=dtype, oblique=oblique, order=order)
    found = []
    for library in (ours, theirs):
        transform = library.Spacingd("image", spacing)
        there = transform({"image": image.clone()})
        back = transform.inverse(there)["image"]
        found.append((transform({"image": image.clone()})["image"], back))
    (got, got_back), (want, want_back) = found
    same_bookkeeping(got, want)
    np.testing.assert_allclose(got, want, atol=1e-6 * HU)
    same_bookkeeping(got_back, want_back)
    np.testing.assert_allclose(got_back, want_back, atol=2e-6 * HU)


@settings(max_examples=20, deadline=None)
@given(GRIDS["seed"], GRIDS["shape"], GRIDS["order"], GRIDS["dtype"], GRIDS["oblique"], st.sampled_from(AXCODES))
def test_orientation_is_monais_and_so_is_its_inverse(seed, shape, order, dtype, oblique, axcodes):
    image = image_of(seed, shape, channels=2, dtype=dtype, oblique=oblique, order=order)
    found = []
    for library in (ours, theirs):
        transform = library.Orientationd("image", axcodes, labels=None)
        there = transform({"image": image.clone()})
        found.append((there["image"].clone(), transform.inverse(there)["image"]))
    for got, want in zip(*found, strict=True):
        same_bookkeeping(got, want)
        assert torch.equal(got.as_tensor(), want.as_tensor())


def test_orientation_is_lazy_as_monais():
    image = image_of(9, (4, 5, 6))
    found = []
    for library in (ours, theirs):
        item = library.Orientationd("image", "RAS", labels=None)({"image": image.clone()}, lazy=True)
        assert item["image"].pending_operations
        found.append(theirs.ApplyPendingd("image")(item)["image"])
    torch.testing.assert_close(found[0].as_tensor(), found[1].as_tensor(), rtol=0, atol=0)
    torch.testing.assert_close(found[0].affine, found[1].affine)


@settings(max_examples=20, deadline=None)
@given(**GRIDS)
def test_nearest_spacing_takes_monais_voxel(seed, shape, spacing, order, dtype, oblique):
    image = image_of(seed, shape, dtype=dtype, oblique=oblique, order=order)
    got, want = (
        library.Spacingd("image", spacing, mode="nearest")({"image": image.clone()})["image"]
        for library in (ours, theirs)
    )
    same_bookkeeping(got, want)
    assert (got != want).float().mean() <= 0.02  # where two voxels are as near, within rounding


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_other_paddings_of_spacing(mode, padding):
    image = image_of(3, (7, 9, 8))
    got, want = (
        library.Spacingd("image", (0.37, 1.9, 1.1), mode=mode, padding_mode=padding)({"image": image.clone()})["image"]
        for library in (ours, theirs)
    )
    same_bookkeeping(got, want)
    np.testing.assert_allclose(got, want, atol=1e-5 * HU)


@pytest.mark.parametrize(
    "options", [{"align_corners": True}, {"mode": 3, "padding_mode": "nearest"}, {"diagonal": True}, {"lazy": True}]
)
def test_what_the_kernels_lack_is_left_to_monai(options):
    image = image_of(4, (7, 9, 8), oblique=True)
    found = []
    for library in (ours, theirs):
        got = library.Spacingd("image", (1.3, 1.7, 0.9), **options)({"image": image.clone()})["image"]
        assert bool(got.pending_operations) == ("lazy" in options)
        found.append(theirs.ApplyPendingd("image")({"image": got})["image"])
    np.testing.assert_allclose(found[0], found[1], atol=1e-5 * HU)
    torch.testing.assert_close(found[0].affine, found[1].affine)


def test_labels_and_images_come_out_on_one_grid():
    image, label = image_of(5, (8, 9, 10)), image_of(5, (8, 9, 10), dtype=torch.uint8)
    item = ours.Spacingd(["image", "label"], (1.0, 1.1, 0.7), mode=("bilinear", "nearest"))(
        {"image": image, "label": label}
    )
    assert item["image"].shape == item["label"].shape
    assert set(item["label"].unique().tolist()) <= set(label.unique().tolist())


@settings(max_examples=20, deadline=None)
@given(GRIDS["seed"], GRIDS["shape"], GRIDS["spacing"], st.sampled_from(AXCODES), st.booleans())
def test_a_whole_chain_and_invertd(seed, shape, spacing, axcodes, nearest):
    image = image_of(seed, shape)
    found = []
    for library in (ours, theirs):
        chain = Compose(
            [
                theirs.Orientationd("image", axcodes, labels=None),
                library.Spacingd("image", spacing),
                library.CropForegroundd("image", "image", allow_smaller=True),
                library.NormalizeIntensityd("image"),  # a 0 between zeros is 1e-6 in MONAI's
                library.ScaleIntensityRanged("image", -2.0, 2.0, 0.0, 1.0, clip=True),
            ]
        )
        item = chain({"image": image.clone()})
        pred = item["image"].clone()
        undo = Invertd("pred", chain, orig_keys="image", nearest_interp=nearest)
        found.append((item["image"], undo({**item, "pred": pred})["pred"]))
    (got, got_back), (want, want_back) = found
    same_bookkeeping(got, want)
    np.testing.assert_allclose(got, want, atol=1e-4)
    assert got_back.shape == image.shape == want_back.shape
    torch.testing.assert_close(got_back.affine, want_back.affine, atol=1e-6, rtol=0)
    if nearest:
        assert ((got_back - want_back).abs() > 1e-3).float().mean() <= 0.05
    else:
        np.testing.assert_allclose(got_back, want_back, atol=2e-4)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**31),
    st.booleans(),
    st.booleans(),
    st.sampled_from([torch.float32, torch.int16]),
    GRIDS["order"],
)
def test_normalised_intensities_are_monais(seed, nonzero, channel_wise, dtype, order):
    image = image_of(seed, channels=3, dtype=dtype, order=order)
    image[1] = 7  # constant
    before = image.clone()
    got, want = (
        library.NormalizeIntensityd("image", nonzero=nonzero, channel_wise=channel_wise)({"image": copy})["image"]
        for library, copy in ((ours, image), (theirs, image.clone()))
    )
    assert torch.equal(image, before)
    same_bookkeeping(got, want)
    np.testing.assert_allclose(got, want, atol=1e-5 if dtype != torch.float16 else 2e-3)


def test_a_given_mean_is_left_to_monai():
    image = image_of(1, channels=2)
    got, want = (
        library.NormalizeIntensityd("image", subtrahend=[1.0, 2.0], divisor=[3.0, 4.0], channel_wise=True)(
            {"image": image.clone()}
        )["image"]
        for library in (ours, theirs)
    )
    assert torch.equal(got, want)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from([torch.float32, torch.int16, torch.float64]),
    st.booleans(),
    st.tuples(st.floats(-900, 0), st.floats(1, 900)),
    st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (5.0, 2.0), (None, None), (0.0, None)]),
)
def test_scaled_intensities_are_monais_bit_for_bit(seed, dtype, clip, source, target):
    if clip and target[1] is not None and target[0] > target[1]:
        target = target[::-1]
    image = image_of(seed, dtype=dtype)
    got, want = (
        library.ScaleIntensityRanged("image", *source, *target, clip=clip and target != (None, None))(
            {"image": image.clone()}
        )["image"]
        for library in (ours, theirs)
    )
    same_bookkeeping(got, want)
    torch.testing.assert_close(got.as_tensor(), want.as_tensor(), rtol=1e-6, atol=1e-6)
    if dtype != torch.float64:
        assert torch.equal(got, want)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**31),
    st.tuples(*[st.integers(0, 3)] * 3),
    st.booleans(),
    st.integers(1, 4),
    st.sampled_from([torch.float32, torch.int16]),
    GRIDS["order"],
)
def test_the_foreground_is_monais(seed, margin, allow_smaller, k_divisible, dtype, order):
    rng = np.random.default_rng(seed)
    image = image_of(seed, channels=2, dtype=dtype, order=order)
    image[image < image.max() * rng.uniform(0.5, 1.5)] = 0  # sometimes nothing is left
    found = []
    for library in (ours, theirs):
        crop = library.CropForegroundd(
            "image", "image", margin=margin, allow_smaller=allow_smaller, k_divisible=k_divisible
        )
        item = crop({"image": image.clone()})
        found.append((item["image"].clone(), item["foreground_start_coord"], item["foreground_end_coord"]))
    (got, got_start, got_end), (want, want_start, want_end) = found
    same_bookkeeping(got, want)
    assert torch.equal(got, want)
    np.testing.assert_array_equal(got_start, want_start)
    np.testing.assert_array_equal(got_end, want_end)


def test_another_foreground_is_left_to_monai():
    image = image_of(2)
    got, want = (
        library.CropForegroundd("image", "image", select_fn=lambda voxels: voxels > 900)({"image": image.clone()})[
            "image"
        ]
        for library in (ours, theirs)
    )
    assert torch.equal(got, want)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from([None, (6, 10, 5)]),
    st.sampled_from(["zeros", "border", "reflection"]),
    st.sampled_from([torch.float32, torch.int16]),
    GRIDS["order"],
)
def test_the_random_affine_draws_and_turns_as_monais(seed, size, padding, dtype, order):
    image = image_of(seed, channels=2, dtype=dtype, order=order)
    found = []
    for library in (ours, theirs):
        turn = library.RandAffined(
            ["image", "label"], size, 1.0, (0.5, 0.4, 0.3), (0.1,) * 6, (2, 2, 2), (0.2, 0.2, 0.2),
            mode=("bilinear", "nearest"), padding_mode=padding,
        )  # fmt: skip
        turn.set_random_state(seed % 1000)
        first = turn({"image": image.clone(), "label": image.clone()})
        second = turn({"image": image.clone(), "label": image.clone()})
        found.append((first, second, turn.inverse({key: second[key].clone() for key in ("image", "label")})["image"]))
    for got, want in zip(found[0][:2], found[1][:2], strict=True):
        for key in ("image", "label"):
            same_bookkeeping(got[key], want[key])
        np.testing.assert_allclose(got["image"], want["image"], atol=3e-5 * HU)
        assert (got["label"] != want["label"]).float().mean() <= 0.01
    assert found[0][2].shape == image.shape
    np.testing.assert_allclose(found[0][2], found[1][2], atol=1e-4 * HU)


def test_an_unturned_item_of_another_size_is_cut_about_its_centre():
    image = image_of(8, (9, 9, 9))
    turn = ours.RandAffined("image", (5, 5, 5), prob=0.0, rotate_range=0.5, padding_mode="zeros")
    got = turn({"image": image})["image"]
    assert torch.equal(got.as_tensor(), image.as_tensor()[:, 2:7, 2:7, 2:7])
    np.testing.assert_allclose(got.affine[:3, 3], (image.affine @ torch.tensor([2.0, 2, 2, 1]).double())[:3])
    same = ours.RandAffined("image", prob=0.0, rotate_range=0.5)
    assert torch.equal(same({"image": image})["image"], image)
    assert torch.equal(same.inverse(same({"image": image}))["image"], image)


def chain_of(library_of_affine):
    return [
        theirs.Orientationd("image", "RAS", labels=None),
        theirs.RandSpatialCropd("image", (8, 8, 8), random_size=False),
        library_of_affine.RandAffined(
            "image", prob=1.0, rotate_range=(0.3,) * 3, scale_range=(0.1,) * 3, spatial_size=(6, 6, 6)
        ),
        theirs.RandFlipd("image", prob=1.0, spatial_axis=0),
        theirs.RandFlipd("image", prob=1.0, spatial_axis=2),
    ]


@pytest.mark.parametrize("seed", range(5))
def test_one_pass_is_monais_lazy_chain(seed):
    image = image_of(seed, (11, 12, 10), channels=2)
    once = ours.InOnePassd(chain_of(ours), "image", mode="bilinear").set_random_state(seed)
    lazy = Compose(
        chain_of(theirs), lazy=True, overrides={"image": {"mode": "bilinear", "padding_mode": "zeros"}}
    ).set_random_state(seed)
    got, want = once({"image": image.clone()})["image"], lazy({"image": image.clone()})["image"]
    assert not got.pending_operations
    assert [op["class"] for op in got.applied_operations] == [op["class"] for op in want.applied_operations]
    torch.testing.assert_close(got.affine, want.affine, atol=1e-9, rtol=0)
    np.testing.assert_allclose(got, want, atol=1e-5 * HU)


def test_one_pass_of_orientation_and_spacing_is_that_of_one_after_the_other():
    image = image_of(7, (8, 9, 10), dtype=torch.int16)
    steps = [theirs.Orientationd("image", "LPS", labels=None), theirs.Spacingd("image", (1.1, 0.8, 1.9))]
    once = ours.InOnePassd(steps, "image", padding_mode="border")
    got, want = once({"image": image.clone()}), Compose(steps)({"image": image.clone()})
    torch.testing.assert_close(got["image"].affine, want["image"].affine, atol=1e-9, rtol=0)
    np.testing.assert_allclose(got["image"], want["image"], atol=1e-6 * HU)
    back = once.inverse(got)["image"]
    assert back.shape == image.shape
    torch.testing.assert_close(back.affine, image.affine, atol=1e-9, rtol=0)


def test_one_pass_of_several_crops_gives_a_list():
    image = image_of(9, (12, 12, 12))
    crops = theirs.RandSpatialCropSamplesd("image", (4, 4, 4), num_samples=3, random_size=False)
    found = ours.InOnePassd([crops, theirs.RandFlipd("image", prob=1.0)], "image")({"image": image})
    assert [tuple(item["image"].shape) for item in found] == [(1, 4, 4, 4)] * 3


def test_one_pass_refuses_what_would_see_the_voxels_too_early():
    steps = [theirs.RandFlipd("image", prob=1.0), theirs.ScaleIntensityd("image")]
    with pytest.raises(ConfigError, match="ScaleIntensityd cannot be lazy"):
        ours.InOnePassd(steps, "image")({"image": image_of(1)})


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_any_memory_order_is_read_as_it_lies_and_kept(order):
    image = image_of(11, (7, 9, 8), channels=2, order=order)
    image[:, :2, :, :3] = image[:, :, 6:] = 0
    image = image.abs()
    for name, options in {
        "Spacingd": {"pixdim": (1.1, 0.9, 1.3)},
        "NormalizeIntensityd": {"nonzero": True, "channel_wise": True},
        "ScaleIntensityRanged": {"a_min": 0, "a_max": 500, "b_min": -1, "b_max": 1},
        "CropForegroundd": {"source_key": "image", "allow_smaller": True},
    }.items():
        got, want = (
            getattr(lib, name)("image", **options)({"image": image.clone()})["image"] for lib in (ours, theirs)
        )
        same_bookkeeping(got, want)
        np.testing.assert_allclose(got, want, atol=1e-5 * HU if name == "Spacingd" else 1e-5)
        kept = np.argsort(got.stride()).tolist() == np.argsort(image.stride()).tolist()
        assert kept or name == "CropForegroundd"  # copied by MONAI's
