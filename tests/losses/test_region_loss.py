import pytest
import torch
from monai.losses import DiceLoss

from medseg.errors import ConfigError
from medseg.losses import WeightedSum


def dice_bce(**weights):
    terms = {"dice": DiceLoss(sigmoid=True, batch=True), "bce": torch.nn.BCEWithLogitsLoss()}
    return WeightedSum(terms, weights or None)


def test_the_sum_of_weighted_terms():
    prediction, target = torch.zeros(1, 1, 2, 2, 2), torch.ones(1, 1, 2, 2, 2)
    loss = dice_bce(dice=2.0, bce=0.5)
    terms = loss.terms(prediction, target)
    assert terms["dice"].item() == pytest.approx(1 - 2 * 4 / (4 + 8), abs=1e-4)
    assert terms["bce"].item() == pytest.approx(0.6931472)
    assert loss(prediction, target).item() == pytest.approx(2 / 3 + 0.5 * 0.6931472, abs=1e-4)


def test_bool_targets_and_low_precision_predictions_are_computed_in_float32():
    prediction = torch.randn(2, 3, 4, 4, 4)
    target = torch.rand(2, 3, 4, 4, 4) > 0.5
    half = prediction.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = dice_bce()(half, target)
    assert low.dtype == torch.float32
    assert low.item() == dice_bce()(half.float(), target.float()).item()


def test_an_empty_region_in_one_sample_keeps_loss_and_gradient_finite():
    prediction = torch.randn(2, 2, 4, 4, 4, requires_grad=True)
    target = torch.zeros(2, 2, 4, 4, 4)
    loss = dice_bce()(prediction, target)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(prediction.grad).all()


def test_a_weight_without_its_term_is_refused():
    with pytest.raises(ConfigError, match="every weight needs its term"):
        dice_bce(dcie=1.0)
    with pytest.raises(ConfigError, match="loss terms"):
        WeightedSum({})
