import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medseg.transforms import NormalizeByMediand
from medseg.transforms.normalize import _normalized_on_device


def _normalised(image):
    return NormalizeByMediand("image")({"image": image})["image"]


def test_each_channel_gets_median_zero_and_spread_one_within_the_tissue():
    rng = np.random.default_rng(0)
    tissue = torch.from_numpy(rng.gamma(2.0, 50.0, (2, 9, 9, 9))).float() + 1
    image = MetaTensor(tissue * torch.tensor([1.0, 7.0]).reshape(2, 1, 1, 1), affine=np.diag([2.0, 1, 1, 1]))
    image[:, :2] = 0
    before = image.clone()
    result = _normalised(image)
    assert (result[:, :2] == 0).all()
    for channel in result[:, 2:].numpy():
        assert np.median(channel) == pytest.approx(0, abs=1e-6)
        assert channel.std() == pytest.approx(1, rel=1e-5)
    assert torch.equal(image, before)
    assert torch.equal(result.affine, image.affine)


def test_a_lesion_moves_healthy_tissue_less_than_the_mean_would():
    healthy = torch.linspace(90, 110, 1001).reshape(1, 1001, 1, 1)
    lesion = healthy.clone()
    lesion[:, -200:] = 300.0
    shift = _normalised(lesion)[0, 400].item()  # the middle of what is healthy
    by_mean = ((lesion[0, 400] - lesion.mean()) / lesion.std()).item()
    assert abs(shift) < abs(by_mean) / 10


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_a_constant_channel_becomes_zero(value):
    assert not _normalised(torch.full((1, 2, 2, 2), value)).any()


def test_the_kernel_and_torch_agree():
    image = torch.from_numpy(np.random.default_rng(1).gamma(2.0, 50.0, (3, 11, 12, 13))).float()
    image[:, :5] = 0
    torch.testing.assert_close(_normalised(image), _normalized_on_device(image), rtol=0, atol=1e-5)
