import itertools

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import sliding_window_inference
from monai.transforms import Compose, CropForegroundd, Invertd, Orientationd, Spacingd
from scipy import ndimage
from torch import nn

from medseg.errors import ConfigError, NumericError
from medseg.inference import SlidingWindow
from medseg.inference.native_grid import NativeGrid
from medseg.inference.tile_store import TileStore
from medseg.inference.tiling import Tiling


def smooth_image(shape, *, seed=0, channels=2):
    noise = np.random.default_rng(seed).standard_normal((channels, *shape)).astype(np.float32)
    return torch.from_numpy(np.stack([ndimage.gaussian_filter(part, 1.5) * 8 for part in noise]))[None]


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Conv3d(2, 5, 3, padding=1).eval().requires_grad_(False)


CASES = [
    ((20, 18, 12), (8, 8, 8), 0.5, "gaussian", 1),
    ((21, 17, 33), (8, 10, 12), 0.25, "constant", 3),
    ((9, 30, 7), (12, 8, 16), 0.5, "gaussian", 2),
    ((16, 16, 16), (16, 16, 16), 0.75, "constant", 4),
    ((13, 25, 11), (8, 8, 8), 0.75, "gaussian", 4),
    ((19, 8, 10), (8, 8, 8), 0.0, "gaussian", 1),
    ((5, 6, 7), (8, 8, 8), 0.6, "constant", 1),
]


@pytest.mark.parametrize(("shape", "roi", "overlap", "mode", "batch"), CASES)
def test_scores_equal_monais_bit_for_bit(network, shape, roi, overlap, mode, batch):
    image = smooth_image(shape)
    expected = sliding_window_inference(image, roi, batch, network, overlap=overlap, mode=mode)
    got = SlidingWindow(roi, overlap=overlap, sw_batch_size=batch, mode=mode)(image, network)
    assert torch.equal(got, expected)


@pytest.mark.parametrize(("shape", "roi", "overlap", "mode", "batch"), CASES)
@pytest.mark.parametrize("threads", [1, 3])
def test_labels_equal_the_argmax_of_monais_scores(network, shape, roi, overlap, mode, batch, threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    image = smooth_image(shape)
    expected = sliding_window_inference(image, roi, batch, network, overlap=overlap, mode=mode)[0].argmax(0)
    found = SlidingWindow(roi, overlap=overlap, sw_batch_size=batch, mode=mode).predict_labels(image, network)
    assert np.array_equal(found.labels, expected.numpy())
    assert found.labels.dtype == np.uint8


def test_bf16_scores_are_rounded_as_in_monai(network):
    image = smooth_image((20, 18, 12))

    def half(windows):
        return network(windows).bfloat16()

    expected = sliding_window_inference(image, (8, 8, 8), 1, half, overlap=0.5, mode="gaussian")
    assert torch.equal(SlidingWindow((8, 8, 8))(image, half), expected)
    labels = SlidingWindow((8, 8, 8)).predict_labels(image, half).labels
    assert (labels != expected[0].argmax(0).numpy()).mean() < 2e-3  # sums in another order, ties of 8-bit mantissas


def scan_and_item(shape, affine, *, crop):
    image = MetaTensor(smooth_image(shape, seed=1)[0], affine=torch.tensor(affine, dtype=torch.float64))
    if crop:
        image[:, : shape[0] // 3] = 0
        image[:, :, :, -3:] = 0
    transforms = [
        Orientationd("image", axcodes="RAS", labels=None),
        Spacingd("image", pixdim=(1.5, 1.5, 1.5), mode="bilinear", dtype=torch.float32),
    ]
    if crop:
        transforms.append(CropForegroundd("image", source_key="image", select_fn=lambda x: x != 0, allow_smaller=True))
    return image, Compose(transforms)


AFFINES = {
    "plain": np.diag([0.8, 0.9, 2.0, 1.0]),
    "LPS": np.diag([-0.8, -0.9, 2.0, 1.0]),
    "permuted": np.array([[0, 0, 2.0, 5], [-0.8, 0, 0, 7], [0, 0.9, 0, -3], [0, 0, 0, 1]]),
    "coarse": np.diag([2.5, 1.9, -1.7, 1.0]),
}


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("threshold", [None, 0.5])
def test_labels_on_the_scans_grid_equal_monais_inversion(network, affine, threshold, crop):
    image, preprocessing = scan_and_item((31, 27, 22), affine, crop=crop)
    item = preprocessing({"image": image})
    infer = SlidingWindow((12, 12, 12))
    scores = infer(item["image"].as_tensor()[None], network)[0]
    activation = "softmax" if threshold is None else "sigmoid"
    scores = scores.softmax(0) if threshold is None else scores.sigmoid()
    item["pred"] = MetaTensor(scores).copy_meta_from(item["image"])
    invert = Invertd("pred", preprocessing, orig_keys="image", nearest_interp=False, to_tensor=True)
    two_steps = invert(item)["pred"].as_tensor()
    expected = two_steps.argmax(0) if threshold is None else two_steps >= threshold

    uncropped = Compose(preprocessing.transforms[:2])({"image": image})["image"]
    offset = np.linalg.inv(uncropped.affine.numpy()) @ item["image"].affine.numpy()
    grid = NativeGrid.of(
        image.shape[1:],
        affine,
        network_affine_ras_mm=item["image"].affine.numpy(),
        network_shape=item["image"].shape[1:],
        crop_start=np.rint(offset[:3, 3]).astype(int),
        uncropped_shape=uncropped.shape[1:],
    )
    found = infer.predict_labels(
        item["image"].as_tensor()[None], network, grid=grid, activation=activation, threshold=threshold
    )
    assert found.labels.shape == tuple(expected.shape)
    differing = found.labels != expected.numpy()
    # MONAI's float32 sampling coordinates are up to 1e-5 voxel off; there are 18,000 voxels here
    if threshold is None:
        differing &= (two_steps.sort(0).values[-1] - two_steps.sort(0).values[-2]).numpy() > 1e-5
    else:
        differing &= (two_steps - threshold).abs().numpy() > 1e-5
    assert not differing.any()


def half_a_voxel_off(shape):
    return NativeGrid.same(shape).moved((0.5, 0.5, 0.5))


@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("grid_of", [NativeGrid.same, half_a_voxel_off])
def test_a_small_budget_changes_no_label(network, overlap, grid_of):
    image = smooth_image((24, 20, 15))
    infer = SlidingWindow((8, 8, 8), overlap=overlap)
    grid = grid_of(image.shape[2:])
    free = infer.predict_labels(image, network, grid=grid)
    plan = free.plan
    tight = limited(infer, image, network, grid=grid, sums_mb=0.4 * plan.sums_mb)
    assert np.array_equal(tight.labels, free.labels)
    assert plan.spilled_mb == 0
    assert tight.plan.spilled_mb > 0
    assert tight.plan.sums_mb <= 0.4 * plan.sums_mb + 0.05


def limited(infer, image, network, *, grid, sums_mb):
    """The same prediction with so much room for the sums, whatever else the process holds."""
    import medseg.inference.streaming as module

    plain = module.make_plan

    def with_room(tiling, needs, *, batch_size, budget_mb):
        del budget_mb
        budget = (needs.base_mb + needs.labels_mb + needs.window_mb + sums_mb) / 0.95
        return plain(tiling, needs, batch_size=batch_size, budget_mb=budget)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "make_plan", with_room)
        return infer.predict_labels(image, network, grid=grid)


def test_a_hopeless_budget_says_what_is_needed(network):
    with pytest.raises(ConfigError, match=r"max_memory_mb 20 is too little.*Give at least \d+"):
        SlidingWindow((8, 8, 8), max_memory_mb=20).predict_labels(smooth_image((20, 18, 12)), network)


def test_a_large_batch_gives_way_first(network):
    from medseg.inference.window_plan import Needs, make_plan

    tiling = Tiling.over((64, 64, 64), (32, 32, 32), overlap=(0.5,) * 3)
    needs = Needs(channels=4, margin=1, base_mb=100, window_mb=10, labels_mb=1)
    free = make_plan(tiling, needs, batch_size=8, budget_mb=1e6)
    tight = make_plan(tiling, needs, batch_size=8, budget_mb=(101 + 35 + free.sums_mb) / 0.95)
    assert (free.batch_size, tight.batch_size, tight.spilled_mb) == (8, 2, 0)
    assert tight.predicted_mb == pytest.approx(121 + free.sums_mb)


@pytest.mark.parametrize(("shape", "size", "overlap"), [((20, 9, 13), (8, 8, 8), 0.5), ((20, 19, 27), (9, 16, 8), 0.6)])
@pytest.mark.parametrize("grid_of", [NativeGrid.same, half_a_voxel_off])
def test_what_is_counted_is_what_is_held(network, shape, size, overlap, grid_of, monkeypatch):
    stores = []
    plain = TileStore.__init__

    def kept(self, *args, **kwargs):
        plain(self, *args, **kwargs)
        stores.append(self)

    monkeypatch.setattr(TileStore, "__init__", kept)
    infer = SlidingWindow(size, overlap=overlap)
    found = infer.predict_labels(smooth_image(shape), network, grid=grid_of(shape))
    assert stores[-1].device is not None
    assert stores[-1].peak_bytes / 2**20 == pytest.approx(found.plan.sums_mb, rel=0.02)


@pytest.mark.parametrize(("shape", "size", "overlap"), [((20, 9, 13), (8, 8, 8), 0.5), ((10, 30, 17), (9, 16, 8), 0.7)])
def test_tiles_cover_the_scan_once_and_end_after_their_lower_neighbours(shape, size, overlap):
    tiling = Tiling.over(shape, size, overlap=(overlap,) * 3) if min(np.subtract(shape, size)) >= 0 else None
    if tiling is None:
        pytest.fail("the windows must fit")
    covered = np.zeros(shape, int)
    for tile in tiling.visits:
        first, extent = tiling.box(tile)
        covered[tuple(slice(a, a + n) for a, n in zip(first, extent, strict=True))] += 1
    assert (covered == 1).all()
    ends = {tile: visits[-1] for tile, visits in tiling.visits.items()}
    for tile, axis in itertools.product(ends, range(3)):
        behind = tuple(n + (place == axis) for place, n in enumerate(tile))
        assert ends[tile] <= ends.get(behind, np.inf)


@pytest.mark.parametrize("margin", [0, 1])
def test_memory_does_not_grow_along_the_longest_axis(margin):
    def sums(length):
        from medseg.inference.window_plan import Needs, make_plan

        tiling = Tiling.over((96, 80, length), (32, 32, 32), overlap=(0.5,) * 3)
        needs = Needs(channels=20, margin=margin, base_mb=0, window_mb=0, labels_mb=0)
        return make_plan(tiling, needs, batch_size=1, budget_mb=1e9).sums_mb

    assert sums(640) == pytest.approx(sums(320), rel=1e-6)
    assert sums(640) < 96 * 80 * 640 * 20 * 4 / 2**20 / 8


def test_foreground_placement_predicts_the_box_and_nothing_outside(network):
    image = torch.zeros(1, 2, 40, 20, 20)
    image[:, :, 10:27] = smooth_image((17, 20, 20))
    inside = SlidingWindow((8, 8, 8))(image[:, :, 10:27], network)
    infer = SlidingWindow((8, 8, 8), placement="foreground")
    scores = infer(image, network)
    assert torch.equal(scores[:, :, 10:27], inside)
    assert scores[:, :, :10].eq(-30).all()
    assert scores[:, :, 27:].eq(-30).all()
    labels = infer.predict_labels(image, network).labels
    assert np.array_equal(labels[10:27], inside[0].argmax(0).numpy())
    assert not labels[:10].any()
    assert not labels[27:].any()


def test_mirroring_bf16_and_channels_last_reach_the_stream(network):
    image = smooth_image((16, 12, 20))
    options = {"tta": True, "bf16": True, "channels_last": True}
    scores = SlidingWindow((8, 8, 8), **options)(image, network)
    plain = SlidingWindow((8, 8, 8), tta=True)(image, network)
    assert not torch.equal(scores, plain)
    torch.testing.assert_close(scores, plain, atol=0.15, rtol=0.05)
    labels = SlidingWindow((8, 8, 8), **options).predict_labels(image, network).labels
    assert (labels != scores[0].argmax(0).numpy()).mean() < 1e-3


def test_scores_that_are_not_finite_are_refused(network):
    image = smooth_image((16, 12, 20))
    image[0, 0, 3, 3, 3] = np.nan
    with pytest.raises(NumericError, match="not finite"):
        SlidingWindow((8, 8, 8)).predict_labels(image, network)


def test_a_network_with_another_output_is_left_to_monai(network):
    image = smooth_image((16, 12, 20))
    half_size = nn.Sequential(network, nn.AvgPool3d(2))
    expected = sliding_window_inference(image, (8, 8, 8), 1, half_size, overlap=0.5, mode="gaussian")
    assert torch.equal(SlidingWindow((8, 8, 8))(image, half_size), expected)
    with pytest.raises(ConfigError, match="Call the inferer"):
        SlidingWindow((8, 8, 8)).predict_labels(image, half_size)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"placement": "tumour"}, "placement 'tumour' is unknown"), ({"max_memory_mb": 0}, "not a positive number")],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        SlidingWindow((8, 8, 8), **options)
