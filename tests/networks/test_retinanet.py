"""Our RetinaNet against MONAI's own, built with a stand-in for the one class of torchvision that it takes."""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from monai.apps.detection.networks import retinanet_network
from monai.networks.blocks import backbone_fpn_utils
from monai.networks.nets import resnet

from medseg.errors import ConfigError
from medseg.networks import FeaturePyramid, RetinaNet, light_feature_pyramid, resnet_feature_pyramid


class IntermediateLayerGetter(torch.nn.ModuleDict):
    """What torchvision documents: the children up to the last one wanted, and the outputs of those wanted."""

    def __init__(self, model: torch.nn.Module, return_layers: dict[str, str]) -> None:
        kept, wanted = OrderedDict(), dict(return_layers)
        for name, module in model.named_children():
            kept[name] = module
            wanted.pop(name, None)
            if not wanted:
                break
        super().__init__(kept)
        self.return_layers = return_layers

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        found = OrderedDict()
        for name, module in self.items():
            x = module(x)
            if name in self.return_layers:
                found[self.return_layers[name]] = x
        return found


@pytest.fixture(scope="module")
def monai_network() -> torch.nn.Module:
    """The network of the model zoo's LUNA16 bundle."""
    with pytest.MonkeyPatch.context() as patch:
        models = SimpleNamespace(_utils=SimpleNamespace(IntermediateLayerGetter=IntermediateLayerGetter))
        patch.setattr(backbone_fpn_utils, "torchvision_models", models)
        patch.setattr(retinanet_network, "_validate_trainable_layers", lambda *_, **__: 5)
        backbone = resnet.resnet50(spatial_dims=3, n_input_channels=1, conv1_t_stride=[2, 2, 1], conv1_t_size=[7, 7, 7])
        extractor = retinanet_network.resnet_fpn_feature_extractor(backbone, 3, False, [1, 2], None)
        return retinanet_network.RetinaNet(
            spatial_dims=3, num_classes=1, num_anchors=3, feature_extractor=extractor, size_divisible=[16, 16, 8]
        )


def light(**changes: Any) -> RetinaNet:
    pyramid = light_feature_pyramid(channels=(8, 16), blocks=(1, 1), out_channels=8)
    return RetinaNet(pyramid, **{"num_anchors": 2, "head_convs": 1, "size_divisible": (8, 8, 8)} | changes)


def test_names_and_shapes_are_those_of_monai_and_so_of_the_published_weights(monai_network: torch.nn.Module) -> None:
    ours = RetinaNet(resnet_feature_pyramid()).state_dict()
    theirs = monai_network.state_dict()
    assert list(ours) == list(theirs)
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in theirs.items()}
    assert "feature_extractor.body.conv1.weight" in ours
    assert sum(p.numel() for p in RetinaNet(resnet_feature_pyramid()).parameters()) == 20_902_741


def test_with_the_same_weights_the_maps_are_monai_s(monai_network: torch.nn.Module) -> None:
    ours = RetinaNet(resnet_feature_pyramid())
    ours.load_state_dict(monai_network.state_dict())
    image = torch.rand(1, 1, 32, 48, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        got, wanted = ours.eval()(image), monai_network.eval()(image)
    assert list(got) == list(wanted) == ["classification", "box_regression"]
    for key in got:
        assert [level.shape for level in got[key]] == [level.shape for level in wanted[key]]
        for mine, monai_s in zip(got[key], wanted[key], strict=True):
            torch.testing.assert_close(mine, monai_s, rtol=0, atol=0)


def test_a_light_network_gives_the_levels_of_the_large_one() -> None:
    maps = light(num_classes=3)(torch.zeros(2, 1, 16, 24, 32))
    assert [tuple(level.shape) for level in maps["classification"]] == [
        (2, 6, 4, 6, 16),
        (2, 6, 2, 3, 8),
        (2, 6, 1, 2, 4),
    ]
    assert [level.shape[1] for level in maps["box_regression"]] == [12, 12, 12]


def test_an_untrained_network_takes_one_anchor_in_a_hundred_for_an_object() -> None:
    torch.manual_seed(0)
    scores = torch.sigmoid(light()(torch.rand(1, 1, 16, 16, 16))["classification"][0])
    assert float(scores.mean().detach()) == pytest.approx(0.01, abs=0.002)


def test_lists_come_in_the_order_class_maps_then_box_maps() -> None:
    torch.manual_seed(0)
    network, image = light(), torch.rand(1, 1, 16, 16, 16)
    named = network(image)
    listed = light(use_list_output=True)
    listed.load_state_dict(network.state_dict())
    for got, wanted in zip(listed(image), [*named["classification"], *named["box_regression"]], strict=True):
        torch.testing.assert_close(got, wanted)


def test_torchscript_gives_the_same_for_any_size() -> None:
    torch.manual_seed(0)
    network = light().eval()
    scripted, image = torch.jit.script(network), torch.rand(1, 1, 16, 24, 8)
    for key, levels in network(image).items():
        torch.testing.assert_close(scripted(image)[key], levels)


def test_gradients_in_bfloat16_are_right_down_to_a_level_of_two_cells() -> None:
    torch.manual_seed(0)
    pyramid = light_feature_pyramid(channels=(8, 16), blocks=(1, 1), out_channels=32)
    network, image = RetinaNet(pyramid, num_anchors=2, head_convs=1), torch.rand(2, 1, 32, 32, 16)
    gradients = []
    for enabled in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            maps = network(image)
        assert maps["classification"][-1].shape[2:] == (2, 2, 2)
        # What comes from the coarsest level alone, which no other conceals.
        maps["classification"][-1].float().square().sum().backward()
        gradients.append([p.grad.clone() for p in network.classification_head.parameters() if p.ndim == 5])
    for got, wanted in zip(*gradients, strict=True):
        assert float(torch.cosine_similarity(got.flatten(), wanted.flatten(), dim=0)) > 0.98


def test_no_voxel_is_lost_in_the_first_step() -> None:
    from medseg.networks.light_encoder import FoldVoxels

    image = torch.arange(2 * 4 * 2 * 2.0).reshape(1, 2, 4, 2, 2)
    folded = FoldVoxels()(image)
    assert folded.shape == (1, 16, 2, 1, 1)
    assert sorted(folded.flatten().tolist()) == image.flatten().tolist()
    # The first channel holds the first corner of each block.
    assert folded[0, 0, :, 0, 0].tolist() == image[0, 0, ::2, 0, 0].tolist()


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: light_feature_pyramid(channels=(12,), blocks=(1,)), "multiples of 8"),
        (lambda: light_feature_pyramid(channels=(8, 16), blocks=(1,)), "as many channels as blocks"),
        (lambda: RetinaNet(torch.nn.Identity()), "out_channels is None"),
        (lambda: light(num_anchors=0), "num_anchors 0"),
        (lambda: FeaturePyramid(torch.nn.Sequential(), stages=["a"], in_channels=[8]), "Name some of these"),
        (lambda: FeaturePyramid(torch.nn.Sequential(), stages=["a"], in_channels=[]), "differ in number"),
    ],
)
def test_a_network_that_cannot_be_is_refused_in_one_line(build: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build()
