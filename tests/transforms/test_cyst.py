import pytest
import torch
from monai.data import MetaTensor

from medseg.transforms import RandCystd


def _item():
    """Enhancing shell around a core, in two channels of different brightness; regions in the order TC, WT, ET."""
    core, shell = torch.zeros(11, 11, 11, dtype=torch.bool), torch.zeros(11, 11, 11, dtype=torch.bool)
    core[3:8, 3:8, 3:8] = True
    shell[2:9, 2:9, 2:9] = True
    image = torch.stack([torch.full((11, 11, 11), 1.0), torch.full((11, 11, 11), -1.0)])
    return {"image": MetaTensor(image), "label": MetaTensor(torch.stack([shell, shell, shell & ~core]).float())}, core


def _cyst(channels=(0, 1), **options):
    return RandCystd("image", "label", inside=0, outside=2, channels=channels, **options)


def test_the_middle_of_the_core_takes_one_level_per_channel_and_nothing_else_changes():
    item, core = _item()
    filled = _cyst(prob=1, strengths=(1, 1)).set_random_state(seed=0)(item)
    levels = filled["image"][:, 5, 5, 5]
    assert levels[0] != levels[1]
    assert ((levels >= -2.7) & (levels <= 1)).all()
    torch.testing.assert_close(filled["image"][:, 4:7, 4:7, 4:7], levels.reshape(2, 1, 1, 1).expand(2, 3, 3, 3))
    assert torch.equal(filled["image"][:, ~core], item["image"][:, ~core])
    assert torch.equal(filled["label"], item["label"])
    assert item["image"][0].unique().tolist() == [1.0]  # the input is kept


def test_only_the_named_channels_change():
    item, _ = _item()
    filled = _cyst(channels=[1], prob=1)(item)["image"]
    assert torch.equal(filled[0], item["image"][0])
    assert not torch.equal(filled[1], item["image"][1])
    assert torch.equal(_cyst(channels=[], prob=1)(item)["image"], item["image"])


def test_half_strength_goes_half_the_way():
    item, _ = _item()
    filled = _cyst(prob=1, levels=(3, 3), strengths=(0.5, 0.5))(item)["image"]
    assert filled[:, 5, 5, 5].tolist() == [2.0, 1.0]


def test_the_edge_lies_between_tissue_and_fluid():
    item, _ = _item()
    corner = _cyst(prob=1, levels=(-4, -4), strengths=(1, 1))(item)["image"][0, 3, 3, 3]
    assert float(corner) == pytest.approx(1 + 8 / 27 * (-4 - 1))  # 8 of its 27 neighbours are core


def test_it_follows_its_probability_and_its_seed():
    item, _ = _item()
    assert _cyst(prob=0)(item)["image"] is item["image"]
    draws = [_cyst(prob=1).set_random_state(seed=seed)(item)["image"] for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
