import copy

import pytest
import torch
from monai.networks.nets import DynUNet, SegResNet
from torch import nn

from medseg.inference.channel_norm import ChannelNorm, to_channels_last


def small_network(*, affine=True):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1),
        nn.InstanceNorm3d(4, affine=affine),
        nn.Sequential(nn.LeakyReLU(), nn.Conv3d(4, 3, 1), nn.InstanceNorm3d(3, affine=affine)),
    ).eval()


@pytest.mark.parametrize("affine", [True, False])
@torch.no_grad()
def test_the_result_and_the_state_dict_stay(affine):
    image = torch.randn(2, 2, 6, 7, 8)
    network = small_network(affine=affine)
    keys, expected = list(network.state_dict()), network(image)
    changed = to_channels_last(network)
    assert changed is network
    assert list(changed.state_dict()) == keys
    assert sum(isinstance(layer, ChannelNorm) for layer in changed.modules()) == 2
    torch.testing.assert_close(changed(image), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_dynunet_stays_what_it_is():
    torch.manual_seed(0)
    network = DynUNet(3, 1, 2, kernel_size=[3, 3, 3], strides=[1, 2, 2], upsample_kernel_size=[2, 2], filters=[4, 8, 8])
    image = torch.randn(1, 1, 16, 16, 16)
    expected = network.eval()(image)
    changed = to_channels_last(network)
    assert not any(isinstance(layer, nn.InstanceNorm3d) for layer in changed.modules())
    torch.testing.assert_close(changed(image), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_channels_last_memory_is_kept(dtype):
    image = torch.randn(1, 4, 6, 6, 6, dtype=dtype).contiguous(memory_format=torch.channels_last_3d)
    original = nn.InstanceNorm3d(4, affine=True).to(dtype)
    assert not original(image).is_contiguous(memory_format=torch.channels_last_3d)  # why the layer is replaced
    assert ChannelNorm(original)(image).is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize(("layer", "affine"), [("instance", True), ("instance", False), ("groups", True)])
@torch.no_grad()
def test_norms_of_padded_maps_are_exact(layer, affine):
    torch.manual_seed(0)
    image = torch.full((2, 8, 40, 56, 40), -1.37)
    image[..., 8:30, 8:40, 8:30] = torch.randn(2, 8, 22, 32, 22) + torch.arange(8.0).reshape(8, 1, 1, 1)
    original = nn.GroupNorm(2, 8) if layer == "groups" else nn.InstanceNorm3d(8, affine=affine)
    if affine:
        nn.init.normal_(original.weight), nn.init.normal_(original.bias)
    found = ChannelNorm(original)(image.contiguous(memory_format=torch.channels_last_3d))
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
    truth = original.double()(image.double())
    assert (found - truth).abs().max() < 3e-6 * truth.abs().max()


def test_layers_with_running_statistics_stay():
    network = nn.Sequential(nn.InstanceNorm3d(4, track_running_stats=True))
    assert type(to_channels_last(network)[0]) is nn.InstanceNorm3d


def test_gradients_reach_the_shared_parameters():
    original = nn.InstanceNorm3d(3, affine=True)
    ChannelNorm(original)(torch.randn(1, 3, 4, 4, 4)).square().sum().backward()
    assert original.weight.grad is not None


@pytest.mark.parametrize("groups", [1, 3, 6])
def test_the_gradient_of_group_norms_is_pytorchs(groups):
    torch.manual_seed(1)
    original = nn.GroupNorm(groups, 6)
    nn.init.normal_(original.weight)
    nn.init.normal_(original.bias)
    fast = ChannelNorm(original)
    image = (torch.randn(2, 6, 5, 7, 8) * 3 + 2).requires_grad_()
    last = image.detach().contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    slopes = torch.randn_like(image)
    inputs = (original.weight, original.bias)
    expected = torch.autograd.grad(original(image), (image, *inputs), slopes)
    found = torch.autograd.grad(fast(last), (last, *inputs), slopes)
    assert found[0].is_contiguous(memory_format=torch.channels_last_3d)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_pieces_of_a_large_map_add_up_to_its_gradient(monkeypatch):
    original = nn.GroupNorm(2, 4)
    last = torch.randn(2, 4, 6, 6, 6).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    (whole,) = torch.autograd.grad(ChannelNorm(original)(last).pow(3).sum(), last)
    monkeypatch.setattr("medseg.inference.group_norm_gradient._PIECE", 100)
    (pieces,) = torch.autograd.grad(ChannelNorm(original)(last).pow(3).sum(), last)
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=1e-5)


def test_a_segresnet_learns_the_same_in_bfloat16():
    torch.manual_seed(0)
    network = SegResNet(3, in_channels=1, out_channels=1, init_filters=8, blocks_down=(1, 1), blocks_up=(1,))
    fast = to_channels_last(copy.deepcopy(network))
    assert not any(isinstance(layer, nn.GroupNorm) for layer in fast.modules())
    assert list(fast.state_dict()) == list(network.state_dict())
    image = torch.randn(1, 1, 16, 16, 16)
    for one, window in ((network, image), (fast, image.contiguous(memory_format=torch.channels_last_3d))):
        with torch.autocast("cpu", torch.bfloat16):
            logits = one(window)
        logits.float().square().mean().backward()
    gradients = [torch.cat([p.grad.flatten() for p in one.parameters()]) for one in (network, fast)]
    assert (gradients[1] - gradients[0]).norm() < 0.03 * gradients[0].norm()
