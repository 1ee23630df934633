"""The detection loss against MONAI's RetinaNetDetector, and where its like falls over: no boxes, nothing but boxes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.apps.detection.networks import retinanet_detector
from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
from monai.apps.detection.utils.box_coder import BoxCoder
from monai.losses import BoxGIoULoss

from medseg.errors import ConfigError
from medseg.kernels.anchors import anchors_with_shapes
from medseg.losses import DetectionLoss, HardNegatives
from medseg.losses.box_coding import decode_boxes, encode_boxes
from medseg.networks import RetinaNet, light_feature_pyramid

SHAPES, SCALES = [[6, 8, 4], [8, 6, 5]], (1, 2, 4)
SIZE = (32, 24, 40)
# With a pool of 1 the hardest negatives are taken, so nothing is random.
HARDEST = HardNegatives(per_image=1000, positive_share=0.25, min_negatives=16, pool=1.0)


@pytest.fixture
def network() -> RetinaNet:
    torch.manual_seed(0)
    pyramid = light_feature_pyramid(channels=(8, 8), blocks=(1, 1), out_channels=8)
    return RetinaNet(pyramid, num_classes=2, num_anchors=2, head_convs=1, size_divisible=(8, 8, 8))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 1, *SIZE, generator=torch.Generator().manual_seed(1))


def target(boxes: Any, labels: Any) -> dict[str, Any]:
    box = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 6)
    return {"box": box, "label": torch.tensor(labels, dtype=torch.int64), "image_size": SIZE}


TWO = target([[3, 4, 5, 11, 10, 12], [18, 12, 20, 28, 22, 33]], [0, 1])
NONE = target([], [])


def loss(**changes: Any) -> DetectionLoss:
    return DetectionLoss(anchors_with_shapes(SHAPES, SCALES), **{"sampler": HARDEST} | changes)


@pytest.fixture
def monai_s(network: RetinaNet, images: torch.Tensor) -> Callable[..., dict[str, torch.Tensor]]:
    """Losses of MONAI's detector, on our network, with torchvision's unused classes made up."""

    def losses(targets: list[dict[str, Any]], box_loss: Any = None) -> dict[str, torch.Tensor]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("Matcher", "BalancedPositiveNegativeSampler"):
                patch.setattr(retinanet_detector, name, type(name, (), {}))
            anchors = AnchorGeneratorWithAnchorShape(SCALES, SHAPES)
            detector = retinanet_detector.RetinaNetDetector(network, anchors)
            detector.set_target_keys(box_key="box", label_key="label")
            detector.set_atss_matcher(num_candidates=4, center_in_gt=False)
            detector.set_hard_negative_sampler(1000, 0.25, 16, 1.0)
            if box_loss is not None:
                detector.set_box_regression_loss(box_loss, encode_gt=False, decode_pred=True)
            found: dict[str, torch.Tensor] = detector(images, [{k: t[k] for k in ("box", "label")} for t in targets])
            return found

    return losses


@pytest.mark.parametrize("targets", [[TWO, TWO], [TWO, NONE]], ids=["both", "one"])
def test_bce_and_l1_are_monai_s(
    network: RetinaNet, images: torch.Tensor, monai_s: Callable[..., Any], targets: list[dict[str, Any]]
) -> None:
    got, wanted = loss().terms(network(images), targets), monai_s(targets)
    assert got.keys() == wanted.keys()
    for name in got:
        torch.testing.assert_close(got[name], wanted[name])


def test_giou_is_monai_s(network: RetinaNet, images: torch.Tensor, monai_s: Callable[..., Any]) -> None:
    got = loss(box_loss="giou").terms(network(images), [TWO, TWO])
    wanted = monai_s([TWO, TWO], BoxGIoULoss())
    torch.testing.assert_close(got["box_regression"], wanted["box_regression"])


def test_offsets_are_monai_s_and_come_back() -> None:
    generator = torch.Generator().manual_seed(3)
    low = torch.rand(50, 6, generator=generator) * 10
    boxes = torch.cat([low[:, :3], low[:, :3] + low[:, 3:] + 1], dim=1)
    anchors = boxes.roll(1, dims=0)
    offsets = encode_boxes(boxes, anchors)
    coder = BoxCoder(weights=(1.0,) * 6)
    torch.testing.assert_close(offsets, coder.encode_single(boxes, anchors))
    torch.testing.assert_close(decode_boxes(offsets, anchors), boxes)
    torch.testing.assert_close(decode_boxes(offsets + 9, anchors), coder.decode_single(offsets + 9, anchors))


def test_a_perfect_prediction_costs_nothing() -> None:
    anchors = anchors_with_shapes([[8, 8, 8]], (1,))
    # One level of 4 x 3 x 5 cells with a stride of 8: cell (1, 1, 2) has its anchor where the box is.
    box = target([[8, 8, 16, 16, 16, 24]], [0])
    logits, offsets = torch.full((1, 1, 4, 3, 5), -40.0), torch.zeros(1, 6, 4, 3, 5)
    logits[0, 0, 1, 1, 2] = 40.0
    prediction = {"classification": [logits], "box_regression": [offsets]}
    for choice in ({}, {"class_loss": "focal", "box_loss": "giou", "sampler": None}):
        terms = DetectionLoss(anchors, **{"sampler": HARDEST, **choice}).terms(prediction, [box])
        assert float(terms["classification"]) == pytest.approx(0, abs=1e-6)
        assert float(terms["box_regression"]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "choice", [{}, {"class_loss": "focal", "box_loss": "giou", "sampler": None}], ids=["bce", "focal"]
)
def test_a_step_on_negatives_only_lowers_the_scores_and_reaches_every_weight(
    network: RetinaNet, images: torch.Tensor, choice: dict[str, Any]
) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    maps = network(images)
    terms = loss(**choice).terms(maps, [NONE, NONE])
    assert float(terms["box_regression"].detach()) == 0
    before = float(maps["classification"][0].detach().mean())
    loss(**choice)(maps, [NONE, NONE]).backward()
    # Every rank of a distributed run must have a gradient for every weight.
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    optimizer.step()
    assert float(network(images)["classification"][0].detach().mean()) < before


def test_nothing_but_positives_is_no_reason_to_fail() -> None:
    anchors = anchors_with_shapes([[8, 8, 8]], (1,))
    prediction = {"classification": [torch.zeros(1, 1, 1, 1, 1)], "box_regression": [torch.zeros(1, 6, 1, 1, 1)]}
    only = {"box": torch.tensor([[0.0, 0, 0, 8, 8, 8]]), "label": torch.tensor([0]), "image_size": (8, 8, 8)}
    terms = DetectionLoss(anchors, sampler=HARDEST).terms(prediction, [only])
    assert float(terms["classification"]) == pytest.approx(math.log(2))
    assert float(terms["box_regression"]) == 0


def test_a_tiny_data_set_is_learnt_by_heart(network: RetinaNet, images: torch.Tensor) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        value = loss()(network(images), [TWO, NONE])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < 0.35 * losses[0]


def test_bfloat16_maps_give_a_float32_loss_near_that_of_float32(network: RetinaNet, images: torch.Tensor) -> None:
    maps = network(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halved = {name: [level.bfloat16() for level in levels] for name, levels in maps.items()}
        got = loss()(halved, [TWO, NONE])
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, loss()(maps, [TWO, NONE]), rtol=0.02, atol=0)
    huge = {name: [level * 1e4 for level in levels] for name, levels in halved.items()}
    for choice in ({}, {"class_loss": "focal", "sampler": None}):
        assert torch.isfinite(loss(box_loss="giou", **choice)(huge, [TWO, NONE]))


def test_hard_negatives_are_those_with_the_highest_scores_and_never_a_positive() -> None:
    scores, positive = torch.arange(100.0), torch.tensor([99, 98, 3])
    chosen, negative = HardNegatives(per_image=8, positive_share=0.25, min_negatives=4, pool=2.0).draw(scores, positive)
    assert len(chosen) == 2
    assert set(chosen.tolist()) <= set(positive.tolist())
    assert len(negative) == 6
    assert set(negative.tolist()) <= set(range(86, 98))
    none = torch.empty(0, dtype=torch.int64)
    assert len(HardNegatives(min_negatives=5).draw(scores, none)[1]) == 5
    assert len(HardNegatives(min_negatives=500).draw(scores, none)[1]) == 100


def test_the_same_seed_draws_the_same() -> None:
    scores, positive = torch.rand(500), torch.arange(50)
    drawn = []
    for _ in range(2):
        torch.manual_seed(7)
        drawn.append(torch.cat(HardNegatives().draw(scores, positive)))
    assert torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: loss(class_loss="mse"), "'mse' does not exist"),
        (lambda: loss(box_loss="l2"), "'l2' does not exist"),
        (lambda: loss(weights={"boxes": 2}), "'boxes' does not exist"),
        (lambda: loss(sampler=None), "negatives drown"),
        (lambda: HardNegatives(positive_share=1.0), "positive_share between"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(build: Callable[[], Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build()


def test_weights_scale_their_term(network: RetinaNet, images: torch.Tensor) -> None:
    maps = network(images)
    terms = loss().terms(maps, [TWO, TWO])
    weighted = loss(weights={"box_regression": 3.0})(maps, [TWO, TWO])
    torch.testing.assert_close(weighted, terms["classification"] + 3 * terms["box_regression"])
