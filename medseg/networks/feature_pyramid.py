"""Feature pyramids: an encoder whose stages are merged from coarse to fine, for detection at several scales."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool
from monai.networks.nets import resnet
from torch import nn

from medseg.errors import ConfigError
from medseg.networks.light_encoder import LightEncoder

Stride = tuple[int, int, int]


class Stages(nn.ModuleDict):
    """The modules of a backbone up to the last stage that is wanted, run in order; gives the wanted stages' outputs.

    It does what torchvision's IntermediateLayerGetter does, with the same names in the state dict.

    Args:
        backbone: a network whose children run one after another.
        stages: names of the children whose outputs are wanted, fine to coarse.

    Raises:
        ConfigError: the backbone has no child of such a name.
    """

    def __init__(self, backbone: nn.Module, stages: Sequence[str]) -> None:
        children = dict(backbone.named_children())
        missing = [name for name in stages if name not in children]
        if missing or not stages:
            msg = f"stages {list(stages)}: {type(backbone).__name__} has {', '.join(children)}. Name some of these."
            raise ConfigError(msg)
        names = list(children)
        last = max(names.index(name) for name in stages)
        super().__init__({name: children[name] for name in names[: last + 1]})
        self.stages = list(stages)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Outputs of the wanted stages by their place, "0" being the finest, of an image (B, C, X, Y, Z)."""
        found: dict[str, torch.Tensor] = {}
        for name, module in self.items():
            image = module(image)
            if name in self.stages:
                found[str(len(found))] = image
        return found


class FeaturePyramid(nn.Module):
    """An encoder with a feature pyramid network on it: as MONAI's BackboneWithFPN, with the same state-dict names.

    Lin et al. 2017, https://arxiv.org/abs/1612.03144. The coarsest map, halved again, is one more level.

    Args:
        backbone: a network whose children run one after another.
        stages: names of the children that feed the pyramid, fine to coarse.
        in_channels: channels of these.
        out_channels: channels of every level.
    """

    def __init__(
        self, backbone: nn.Module, *, stages: Sequence[str], in_channels: Sequence[int], out_channels: int = 256
    ) -> None:
        super().__init__()
        if len(stages) != len(in_channels):
            msg = (
                f"stages {list(stages)} and in_channels {list(in_channels)} differ in number. Give one for each stage."
            )
            raise ConfigError(msg)
        self.body = Stages(backbone, stages)
        self.fpn = FeaturePyramidNetwork(
            spatial_dims=3,
            in_channels_list=list(in_channels),
            out_channels=out_channels,
            extra_blocks=LastLevelMaxPool(3),
        )
        self.out_channels = out_channels

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """The levels (B, out_channels, X_i, Y_i, Z_i), fine to coarse, of an image (B, C, X, Y, Z)."""
        levels: dict[str, torch.Tensor] = self.fpn(self.body(image))
        return levels


def resnet_feature_pyramid(
    *,
    in_channels: int = 1,
    conv1_stride: Sequence[int] = (2, 2, 1),
    returned_layers: Sequence[int] = (1, 2),
    out_channels: int = 256,
) -> FeaturePyramid:
    """A 3D ResNet-50 with a feature pyramid, as in MONAI's LUNA16 bundle: its published weights fit.

    He et al. 2016, https://arxiv.org/abs/1512.03385. With the defaults the strides of the levels are (4, 4, 2),
    (8, 8, 4) and (16, 16, 8) voxels.

    Args:
        in_channels: channels of the image.
        conv1_stride: stride of the first convolution along each axis.
        returned_layers: which of the four stages of the ResNet feed the pyramid.
        out_channels: channels of every level.
    """
    backbone = resnet.resnet50(
        spatial_dims=3, n_input_channels=in_channels, conv1_t_size=[7, 7, 7], conv1_t_stride=list(conv1_stride)
    )
    return FeaturePyramid(
        backbone,
        stages=[f"layer{number}" for number in returned_layers],
        in_channels=[256 * 2 ** (number - 1) for number in returned_layers],
        out_channels=out_channels,
    )


def light_feature_pyramid(
    *,
    in_channels: int = 1,
    fold: Sequence[int] = (2, 2, 1),
    stem: int = 16,
    channels: Sequence[int] = (32, 64),
    blocks: Sequence[int] = (1, 2),
    out_channels: int = 32,
) -> FeaturePyramid:
    """A small encoder with a feature pyramid, for a CPU: the levels of `resnet_feature_pyramid` for 1 % of the work.

    The finest level has a stride of twice `fold`, in voxels, and each further one twice that of the one before.
    There is one level more than `channels` has entries.

    Args:
        in_channels: channels of the image.
        fold: voxels along each axis that become channels first.
        stem: channels of the first convolution; a multiple of 8.
        channels: channels of each stage, fine to coarse; multiples of 8.
        blocks: residual blocks in each stage.
        out_channels: channels of every level; a multiple of 8.
    """
    encoder = LightEncoder(in_channels=in_channels, fold=fold, stem=stem, channels=channels, blocks=blocks)
    stages = [f"stage{number}" for number in range(len(channels))]
    return FeaturePyramid(encoder, stages=stages, in_channels=channels, out_channels=out_channels)
