import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandScaleIntensity, RandShiftIntensity

from medseg.transforms import RandPerChanneld


def _scaling():
    return RandPerChanneld("image", [RandScaleIntensity(factors=0.5, prob=1.0)])


def test_each_channel_has_a_draw_of_its_own_and_the_input_is_kept():
    image = torch.ones(3, 4, 4, 4)
    scaled = _scaling().set_random_state(seed=1)({"image": image})["image"]
    factors = scaled[:, 0, 0, 0]
    assert len(set(factors.tolist())) == 3
    assert torch.equal(scaled, factors.reshape(3, 1, 1, 1).expand_as(scaled))
    assert torch.equal(image, torch.ones(3, 4, 4, 4))


def test_the_same_seed_gives_the_same_image_through_a_compose():
    image = MetaTensor(torch.rand(2, 3, 3, 3), affine=np.diag([2.0, 1, 1, 1]))
    chain = Compose([_scaling(), RandPerChanneld("image", [RandShiftIntensity(offsets=1.0, prob=0.5)])])
    runs = [chain.set_random_state(seed=seed)({"image": image})["image"] for seed in (3, 3, 4)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert torch.equal(runs[0].affine, image.affine)
