import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from medseg.inference import SlidingWindow
from medseg.inference.sliding_window import mirror_combinations


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Conv3d(2, 3, 3, padding=1).eval()


@torch.no_grad()
def test_without_mirroring_it_equals_monai(network):
    image = torch.randn(1, 2, 20, 18, 12)
    expected = sliding_window_inference(image, (8, 8, 8), 1, network, overlap=0.5, mode="gaussian")
    assert torch.allclose(SlidingWindow((8, 8, 8))(image, network), expected, atol=1e-6)


@torch.no_grad()
def test_mirroring_averages_the_eight_mirrored_windows(network):
    image = torch.randn(1, 2, 8, 8, 8)
    expected = sum(
        network(image.flip([a + 2 for a in axes])).flip([a + 2 for a in axes])
        for axes in mirror_combinations((0, 1, 2))
    )
    assert torch.allclose(SlidingWindow((8, 8, 8), tta=True)(image, network), expected / 8, atol=1e-5)


@torch.no_grad()
def test_mirroring_makes_the_result_equivariant_to_a_mirrored_scan(network):
    image = torch.randn(1, 2, 8, 12, 8)
    infer = SlidingWindow((8, 8, 8), tta=True)
    assert torch.allclose(infer(image.flip([3]), network).flip([3]), infer(image, network), atol=1e-5)
