"""Detection through the engines: ragged boxes, scans without any, exact resume, the guard, and the two scores."""

import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandGaussianNoised, Transform

from medseg.engines import (
    CaseDataset,
    DetectionBatch,
    DetectionScore,
    RunCheckpoint,
    SupervisedEvaluator,
    SupervisedTrainer,
    Validate,
    make_loader,
)
from medseg.errors import ConfigError, DataError, NumericError
from medseg.kernels.anchors import anchors_with_shapes
from medseg.losses import DetectionLoss, HardNegatives
from medseg.networks import RetinaNet, light_feature_pyramid

BALLS = {0: [[2.0, 3, 2, 10, 10, 9]], 1: [], 2: [[1.0, 5, 3, 9, 13, 11], [8.0, 1, 1, 14, 7, 7]]}


class Scan(Transform):
    """A scan of 16^3 voxels that is bright in its boxes."""

    def __call__(self, item):
        boxes = torch.tensor(BALLS[item["number"] % 3]).reshape(-1, 6)
        image = torch.zeros(1, 16, 16, 16)
        for x0, y0, z0, x1, y1, z1 in boxes.int().tolist():
            image[:, x0:x1, y0:y1, z0:z1] = 1
        return {
            **item,
            "image": MetaTensor(image),
            "box": boxes,
            "box_label": torch.zeros(len(boxes), dtype=torch.int64),
        }


class Oracle:
    """Finds what is written in the scan's first voxels: nothing, or its boxes with these scores."""

    def __init__(self, *found):
        self.found, self.calls = found, 0

    def __call__(self, images, network):
        network(images)
        boxes, scores = self.found[self.calls]
        self.calls += 1
        box = torch.tensor(boxes).reshape(-1, 6)
        return [{"box": box, "score": torch.tensor(scores), "label": torch.zeros(len(box), dtype=torch.int64)}]


def loader(numbers, *, shuffle=False, batch_size=1, steps=()):
    items = [{"case_id": f"case{n}", "number": n} for n in numbers]
    dataset = CaseDataset(items, Compose([Scan(), *steps]))
    draws = {"draws_per_epoch": 4, "seed": 5} if shuffle else {}
    return make_loader(dataset, batch_size, shuffle=shuffle, ragged_keys=["box", "box_label"], **draws)


def loss(**changes):
    anchors = anchors_with_shapes([[6, 6, 6]], (1, 2))
    return DetectionLoss(anchors, sampler=HardNegatives(per_image=16, min_negatives=4), **changes)


def make_trainer(*handlers, epochs=2, numbers=(0, 1, 2), loss_function=None, **options):
    torch.manual_seed(1)
    pyramid = light_feature_pyramid(channels=(8,), blocks=(1,), out_channels=8)
    network = RetinaNet(pyramid, num_anchors=1, head_convs=0, size_divisible=(4, 4, 4))
    return SupervisedTrainer(
        "cpu", epochs, loader(numbers, shuffle=True, batch_size=2, steps=[RandGaussianNoised("image", prob=1.0)]),
        network, torch.optim.SGD(network.parameters(), 0.01, momentum=0.9), loss_function or loss(),
        prepare_batch=DetectionBatch(), train_handlers=handlers, channels_last=True, amp=True, **options,
    )  # fmt: skip


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.network.parameters()])


def evaluator_with(*found, numbers, measure="cpm", network=None, **options):
    return SupervisedEvaluator(
        "cpu", loader(numbers), network or torch.nn.Identity(), prepare_batch=DetectionBatch(), inferer=Oracle(*found),
        key_val_metric={"score": DetectionScore(measure)}, **options,
    )  # fmt: skip


@pytest.mark.parametrize("numbers", [(0, 1, 2), (1,), (0, 2)], ids=["mixed", "no nodule at all", "all positive"])
def test_it_trains_in_bfloat16_whatever_the_scans_hold(numbers):
    trainer = make_trainer(numbers=numbers)
    before = weights(trainer)
    trainer.run()
    assert torch.isfinite(weights(trainer)).all()
    assert not torch.equal(weights(trainer), before)
    assert set(trainer.state.epoch_means) == {"loss", "classification", "box_regression", "learning_rate", "grad_norm"}
    assert (trainer.state.epoch_means["box_regression"] == 0) == (numbers == (1,))


def test_a_resumed_run_has_the_same_weights_bit_for_bit(tmp_path):
    whole = make_trainer(RunCheckpoint(tmp_path / "whole"), epochs=3)
    whole.run()
    make_trainer(RunCheckpoint(tmp_path / "parts"), epochs=1).run()
    resumed = make_trainer(RunCheckpoint(tmp_path / "parts", resume=True), epochs=3)
    resumed.run()
    assert torch.equal(weights(resumed), weights(whole))


class NanOnBoxes(DetectionLoss):
    """Not a number where an image has two boxes."""

    def terms(self, prediction, target):
        found = super().terms(prediction, target)
        return found | {"box_regression": found["box_regression"] * (math.nan if max(map(count, target)) == 2 else 1)}


def count(target):
    return len(target["box"])


def test_the_guard_names_the_case_and_the_term(tmp_path):
    anchors = anchors_with_shapes([[6, 6, 6]], (1, 2))
    trainer = make_trainer(loss_function=NanOnBoxes(anchors, sampler=HardNegatives()), run_dir=tmp_path)
    with pytest.raises(NumericError, match="term 'box_regression' of case case2 is nan"):
        trainer.run()
    saved = torch.load(tmp_path / "nonfinite_batch.pt", weights_only=True)
    assert {"image", "label", "prediction", "case_id"} <= saved.keys()
    assert not saved["prediction"]["classification"][0].requires_grad


def test_validation_scores_scans_with_and_without_boxes_and_its_best_is_kept():
    found = [(BALLS[0], [0.9]), ([[4.0, 4, 4, 8, 8, 8]], [0.8]), ([BALLS[2][0]], [0.7])]
    evaluator = evaluator_with(*found, numbers=(0, 1, 2))
    trainer = make_trainer(Validate(evaluator), epochs=1)
    trainer.run()
    # Of three nodules in three scans: .9 finds one, .8 is false, .7 finds one; from 1/3 FP per scan on, 2/3.
    low = np.interp([0.125, 0.25], [0, 0, 1 / 3, 1 / 3], [0, 1 / 3, 1 / 3, 2 / 3])
    assert trainer.state.val_metrics["score"] == pytest.approx((low.sum() + 5 * 2 / 3) / 7)


def test_average_precision_wants_overlap_and_not_a_hit():
    near = [[2.0, 3, 2, 10, 10, 6]]  # its centre lies 1.5 voxels from the ball's
    far = [[5.9, 6.4, 5.4, 6.1, 6.6, 5.6]]  # in the ball's middle, IoU below .1
    for boxes, ap, cpm in ((near, 1.0, 1.0), (far, 0.0, 1.0)):
        for measure, wanted in (("ap", ap), ("cpm", cpm)):
            evaluator = evaluator_with((boxes, [0.5]), numbers=(0,), measure=measure)
            evaluator.run()
            assert evaluator.state.metrics["score"] == pytest.approx(wanted)


def test_a_validation_without_any_box_counts_as_zero_and_says_so(caplog):
    evaluator = evaluator_with(([], []), numbers=(1,))
    evaluator.run()
    assert evaluator.state.metrics["score"] == 0
    assert "no scan has a box" in caplog.text


def test_postprocessing_gets_one_item_with_its_own_boxes():
    seen = []
    evaluator = evaluator_with((BALLS[0], [0.9]), ([], []), numbers=(0, 1), postprocessing=Compose([keep(seen)]))
    evaluator.run()
    assert [(item["case_id"], len(item["pred"]["box"]), len(item["label"]["box"])) for item in seen] == [
        ("case0", 1, 1),
        ("case1", 0, 0),
    ]
    assert all(item["image"].ndim == 4 for item in seen)


def keep(seen):
    def step(item):
        seen.append(item)
        return item

    return step


@pytest.mark.parametrize(
    ("boxes", "labels", "words"),
    [
        ([[0, 0, 0, 4, 4, 0]], [0], r"caseX: box \(0, 0, 0, 4, 4, 0\) in voxels is not finite, or has no size"),
        ([[0, 0, 0, 4, math.nan, 4]], [0], "caseX: box .* is not finite"),
        ([[0, 0, 0, 4, 4, 4]], [0, 1], "caseX: 1 boxes and 2 labels"),
    ],
)
def test_a_box_that_cannot_be_names_its_case(boxes, labels, words):
    batch = {"image": torch.zeros(1, 1, 8, 8, 8), "case_id": ["caseX"], "box": [boxes], "box_label": [labels]}
    with pytest.raises(DataError, match=words):
        DetectionBatch()(batch)


def test_inference_has_images_alone():
    images, targets = DetectionBatch()({"image": torch.zeros(1, 1, 8, 8, 8), "case_id": ["a"]})
    assert images.shape == (1, 1, 8, 8, 8)
    assert targets is None


def test_an_unknown_measure_is_refused():
    with pytest.raises(ConfigError, match="measure 'map' does not exist. Known: cpm, ap"):
        DetectionScore("map")
