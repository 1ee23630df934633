import numpy as np
import pytest
import torch
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
from monai.data import MetaTensor
from torch import nn

from medseg.errors import ConfigError, DataError, NumericError
from medseg.inference.boxes import flip_boxes
from medseg.inference.detector import BoxDetector
from medseg.inference.lung import LungField
from medseg.kernels.anchors import anchors_with_shapes
from medseg.kernels.boxes import box_iou
from medseg.networks import RetinaNet, light_feature_pyramid

SHAPES, SCALES = [[6, 8, 4], [8, 6, 5], [10, 10, 6]], (1, 2)


class Pyramid(nn.Module):
    """Two levels, strides (4, 4, 2) and (8, 8, 4); small, but every cell sees its surroundings."""

    def __init__(self, *, classes=1, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.spatial_dims, self.num_classes, self.num_anchors, self.size_divisible = 3, classes, 3, (8, 8, 4)
        self.cls_key, self.box_reg_key = "classification", "box_regression"
        self.fine = nn.Conv3d(1, 8, (4, 4, 2), stride=(4, 4, 2))
        self.coarse = nn.Conv3d(8, 8, 3, stride=2, padding=1)
        self.heads = nn.ModuleList(nn.Conv3d(8, 3 * size, 3, padding=1) for size in (classes, 6))

    def forward(self, image):
        fine = torch.relu(self.fine(image))
        levels = [fine, torch.relu(self.coarse(fine))]
        logits, offsets = ([head(level) for level in levels] for head in self.heads)
        return {"classification": [3 * level - 1 for level in logits], "box_regression": offsets}


def scan(*size, seed=0):
    return torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(seed)) * 2


def detector(roi=(32, 32, 16), **options):
    settings = {"score_threshold": 0.3, "candidates_per_level": 300, "nms_iou": 0.22, "max_detections": 100}
    return BoxDetector(anchors_with_shapes(SHAPES, SCALES), roi, **settings | options)


def monai_boxes(network, image, roi=(32, 32, 16), *, overlap=0.25, mode="constant", use_inferer=True):
    whole = RetinaNetDetector(network, AnchorGeneratorWithAnchorShape(SCALES, SHAPES)).eval()
    whole.set_box_selector_parameters(
        score_thresh=0.3, topk_candidates_per_level=300, nms_thresh=0.22, detections_per_img=100
    )
    whole.set_sliding_window_inferer(roi, overlap=overlap, mode=mode)
    with torch.no_grad():
        return whole(image, use_inferer=use_inferer)


def assert_equal_to_monai(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert len(theirs["labels"]) > 10
        assert torch.equal(ours["label"], theirs["labels"])
        assert torch.allclose(ours["score"], theirs["labels_scores"], atol=1e-4)
        assert torch.allclose(ours["box"], theirs["boxes"], atol=1e-3)


@pytest.mark.parametrize("blend", ["constant", "gaussian"])
@pytest.mark.parametrize("size", [(64, 48, 40), (40, 72, 16), (32, 32, 80), (61, 45, 39), (33, 32, 16)])
def test_whole_scans_equal_monais_detector(size, blend):
    network, image = Pyramid().eval(), scan(*size)
    for overlap in (0.0, 0.25, 0.5):
        found = detector(blend=blend, overlap=overlap)(image, network)
        assert_equal_to_monai(found, monai_boxes(network, image, overlap=overlap, mode=blend))


def test_a_scan_that_fits_a_window_equals_monai_without_windows():
    network, image = Pyramid().eval(), scan(30, 32, 13)
    assert_equal_to_monai(detector()(image, network), monai_boxes(network, image, use_inferer=False))


def test_several_scans_classes_and_windows_at_once():
    network, image = Pyramid(classes=2).eval(), torch.cat([scan(48, 40, 32), scan(48, 40, 32, seed=1)])
    found = detector(sw_batch_size=3)(image, network)
    assert_equal_to_monai(found, monai_boxes(network, image))
    assert set(found[0]["label"].tolist()) == {0, 1}


def test_our_network_equals_itself_in_monais_detector():
    torch.manual_seed(0)
    network = RetinaNet(
        light_feature_pyramid(stem=8, channels=[16], blocks=[1], out_channels=16),
        num_anchors=3,
        head_convs=1,
        size_divisible=(8, 8, 4),
        prior_probability=0.45,
    ).eval()
    nn.init.normal_(network.classification_head.cls_logits.weight, std=0.1)
    image = scan(48, 56, 40)
    assert_equal_to_monai(detector()(image, network), monai_boxes(network, image))


def test_a_network_that_gives_one_list_and_a_wrapped_one_give_the_same():
    network, image = Pyramid().eval(), scan(48, 40, 32)

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = network

        def forward(self, batch):
            return [*network(batch)["classification"], *network(batch)["box_regression"]]

    assert torch.equal(detector()(image, Wrapped())[0]["box"], detector()(image, network)[0]["box"])


def test_the_result_does_not_depend_on_how_many_candidates_come_from_one_slab():
    network, image = Pyramid().eval(), scan(32, 32, 96)
    few = detector(candidates_per_level=20, score_threshold=0.0)(image, network)[0]
    whole = detector((32, 32, 96), candidates_per_level=20, score_threshold=0.0)(image, lambda x: merged(network, x))[0]
    assert torch.allclose(few["box"], whole["box"], atol=1e-3)


def merged(network, image):
    """The maps that windows of 32 x 32 x 16 with a quarter overlap give together, in one piece."""
    from monai.inferers import sliding_window_inference

    def flat(window):
        output = network(window)
        return (*output["classification"], *output["box_regression"])

    return list(sliding_window_inference(image, (32, 32, 16), 1, flat, overlap=0.25))


class Bright(nn.Module):
    """Finds bright cells: score by the mean of the 4 x 4 x 4 cell, boxes as the anchors are."""

    size_divisible = (4, 4, 4)

    def forward(self, image):
        mean = nn.functional.avg_pool3d(image, 4)
        return {"classification": [8 * mean - 4], "box_regression": [torch.zeros(len(image), 6, *mean.shape[2:])]}


def bright_detector(**options):
    settings = {"score_threshold": 0.5, "nms_iou": 0.1}
    return BoxDetector(anchors_with_shapes([[8, 8, 8]], (1,)), (16, 16, 16), **settings | options)


def bright_scan():
    image = torch.zeros(1, 1, 32, 24, 40)
    image[..., 4:8, 8:12, 20:24] = 1.0
    image[..., 20:24, 16:20, 32:36] = 0.8
    return image


def test_boxes_are_in_edge_coordinates_of_the_scan():
    found = bright_detector()(bright_scan(), Bright())[0]
    assert found["box"].tolist() == [[2, 6, 18, 10, 14, 26], [18, 14, 30, 26, 22, 38]]
    assert found["score"].tolist() == pytest.approx([1 / (1 + np.exp(-4)), 1 / (1 + np.exp(-2.4))])
    assert (found["box"].dtype, found["label"].dtype) == (torch.float32, torch.int64)


def test_mirrored_scans_find_the_same_where_the_network_is_symmetric():
    plain, mirrored = (bright_detector(tta=tta)(bright_scan(), Bright())[0] for tta in (False, True))
    assert torch.allclose(plain["box"], mirrored["box"], atol=1e-4)
    assert torch.allclose(plain["score"], mirrored["score"], atol=1e-6)


def test_mirroring_makes_the_result_equivariant_to_a_mirrored_scan_of_any_size():
    network, image = Pyramid().eval(), scan(45, 38, 27)
    detect = detector(tta=True)
    found, mirrored = detect(image, network)[0], detect(image.flip([2, 4]), network)[0]
    boxes = flip_boxes(mirrored["box"], image.shape[2:], (0, 2))
    assert torch.allclose(found["score"], mirrored["score"], atol=1e-4)
    assert box_iou(boxes.numpy(), found["box"].numpy()).max(axis=0).min() > 0.999


def test_networks_are_clustered_and_what_one_alone_finds_scores_less():
    class Blind(Bright):
        def forward(self, image):
            return super().forward(image * (image > 0.9))

    found = bright_detector()(bright_scan(), nn.ModuleList([Bright(), Blind()]))[0]
    alone = bright_detector()(bright_scan(), Bright())[0]
    assert torch.allclose(found["box"], alone["box"])
    assert found["score"].tolist() == pytest.approx([alone["score"][0].item(), alone["score"][1].item() / 2], abs=1e-6)


def test_boxes_outside_the_mask_are_dropped():
    mask = np.zeros((32, 24, 40), dtype=bool)
    mask[:16] = True
    assert bright_detector()(bright_scan(), Bright(), lung_mask=mask)[0]["box"].tolist() == [[2, 6, 18, 10, 14, 26]]
    assert len(bright_detector()(bright_scan(), Bright(), lung_mask=~mask)[0]["box"]) == 1
    with pytest.raises(DataError, match="lung mask of shape"):
        bright_detector()(bright_scan(), Bright(), lung_mask=mask[1:])


def test_a_field_of_the_lungs_is_found_in_the_input_or_said_to_be_missing(caplog):
    image = MetaTensor(bright_scan(), affine=torch.eye(4))
    found = bright_detector(lung=LungField((-1000, 0)))(image, Bright())[0]
    assert len(found["box"]) == 2
    assert "no lung found" in caplog.text
    with pytest.raises(ConfigError, match="spacing_mm"):
        bright_detector(lung=LungField((-1000, 0)))(bright_scan(), Bright())
    with pytest.raises(ConfigError, match="does not rise"):
        LungField((300, -1000))


def test_nothing_found_is_an_empty_detection():
    for options in ({}, {"tta": True}):
        found = bright_detector(**options)(torch.zeros(1, 1, 32, 24, 40), Bright())[0]
        assert (found["box"].shape, found["score"].shape, found["label"].shape) == ((0, 6), (0,), (0,))


def test_half_precision_maps_give_float32_boxes():
    network, image = Pyramid().eval(), scan(48, 40, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = detector()(image, network)[0]
    assert found["box"].dtype == found["score"].dtype == torch.float32
    best = detector()(image, network)[0]["box"][0].numpy()
    assert box_iou(found["box"].numpy(), best[None]).max() > 0.5


def test_no_gradient_is_kept():
    assert not detector()(scan(48, 40, 32), Pyramid())[0]["box"].requires_grad


@pytest.mark.parametrize("part", ["classification", "box_regression"])
def test_a_map_that_is_not_finite_is_said_to_be(part):
    def broken(image):
        output = Bright()(image)
        output[part][0][:] = float("nan")
        return output

    broken.size_divisible = (4, 4, 4)
    with pytest.raises(NumericError, match="not finite"):
        bright_detector()(bright_scan(), broken)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"roi": (32, 32)}, "three counts"),
        ({"overlap": 1.0}, "overlap 1.0"),
        ({"blend": "linear"}, "linear"),
        ({"score_threshold": 2}, "score_threshold 2"),
        ({"max_detections": 0}, "at least 1"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        detector(**options)


def test_what_does_not_fit_together_is_refused():
    image, network = scan(64, 64, 32), Pyramid().eval()
    with pytest.raises(DataError, match="wanted"):
        detector()(image[0], network)
    with pytest.raises(ConfigError, match="not a multiple of the network's size_divisible"):
        detector((30, 32, 16))(image, network)
    with pytest.raises(ConfigError, match="do not line up"):
        detector((36, 36, 18), size_divisible=(1, 1, 1))(image, network)
    with pytest.raises(ConfigError, match="do not belong to 1 anchors"):
        BoxDetector(anchors_with_shapes([[8, 8, 8]], (1, 2)), (32, 32, 16))(image, network)
    with pytest.raises(DataError, match="1 levels for 2 feature maps"):
        BoxDetector(anchors_with_shapes(SHAPES, (1,)), (32, 32, 16))(image, network)
    with pytest.raises(ConfigError, match="a map of each for every level"):
        detector()(image, lambda batch: {"classification": []})
