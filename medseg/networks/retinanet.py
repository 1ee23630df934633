"""RetinaNet in 3D: one class score and six box offsets for each anchor at each place of a feature pyramid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from medseg.errors import ConfigError

_GROUPS = 8


class RetinaNet(nn.Module):
    """Lin et al. 2017, https://arxiv.org/abs/1708.02002, in 3D.

    With `resnet_feature_pyramid` and the defaults, names and shapes of the state dict are those of MONAI's RetinaNet,
    so weights pass both ways; MONAI's RetinaNetDetector takes this network too.

    Args:
        feature_extractor: gives the levels of a feature pyramid by name, fine to coarse, and has `out_channels`.
        num_classes: classes without the background.
        num_anchors: anchors at each place.
        size_divisible: what the sizes of an image must be multiples of, along each axis.
        head_convs: convolutions in each of the two heads; the published network has 4. Heads are most of the work.
        prior_probability: share of anchors that the untrained network takes for an object.
        use_list_output: give one list, class maps before box maps, in place of a dictionary (for exports).

    Raises:
        ConfigError: the feature extractor has no `out_channels`, or a count is too small.
    """

    __constants__ = ("use_list_output",)  # TorchScript must know which of the two is returned

    def __init__(
        self,
        feature_extractor: nn.Module,
        *,
        num_classes: int = 1,
        num_anchors: int = 3,
        size_divisible: Sequence[int] = (16, 16, 8),
        head_convs: int = 4,
        prior_probability: float = 0.01,
        use_list_output: bool = False,
    ) -> None:
        super().__init__()
        channels = getattr(feature_extractor, "out_channels", None)
        if not isinstance(channels, int) or channels % _GROUPS:
            msg = f"feature_extractor: out_channels is {channels!r}. Wanted a multiple of {_GROUPS}."
            raise ConfigError(msg)
        if min(num_classes, num_anchors) < 1 or head_convs < 0:
            msg = f"num_classes {num_classes}, num_anchors {num_anchors} must be 1 or more, head_convs {head_convs} 0."
            raise ConfigError(msg)
        self.spatial_dims, self.num_classes, self.num_anchors = 3, num_classes, num_anchors
        self.size_divisible = tuple(int(size) for size in size_divisible)
        self.cls_key, self.box_reg_key = "classification", "box_regression"
        self.use_list_output = use_list_output
        self.feature_extractor = feature_extractor
        self.classification_head = ClassificationHead(
            channels, num_anchors * num_classes, convs=head_convs, prior_probability=prior_probability
        )
        self.regression_head = RegressionHead(channels, num_anchors * 6, convs=head_convs)

    def forward(self, image: torch.Tensor) -> Any:
        """Maps of each level, fine to coarse, of an image (B, C, X, Y, Z).

        Returns:
            "classification": logits (B, anchors * classes, X_i, Y_i, Z_i), anchors before classes, and
            "box_regression": offsets (B, anchors * 6, X_i, Y_i, Z_i); or both lists one after the other.
        """
        levels = list(self.feature_extractor(image).values())
        classes, boxes = self.classification_head(levels), self.regression_head(levels)
        if self.use_list_output:
            return classes + boxes
        return {"classification": classes, "box_regression": boxes}


class ClassificationHead(nn.Module):
    """Convolutions and a class map, the same for every level.

    Args:
        channels: channels of a level.
        outputs: channels of the map.
        convs: convolutions before it.
        prior_probability: what the map starts with, as a probability.
    """

    def __init__(self, channels: int, outputs: int, *, convs: int, prior_probability: float = 0.01) -> None:
        super().__init__()
        self.conv = _trunk(channels, convs)
        self.cls_logits = _map(channels, outputs, bias=-math.log((1 - prior_probability) / prior_probability))

    def forward(self, levels: list[torch.Tensor]) -> list[torch.Tensor]:
        """One map for each level."""
        return [self.cls_logits(self.conv(level)) for level in levels]


class RegressionHead(nn.Module):
    """Convolutions and a map of box offsets, the same for every level.

    Args:
        channels: channels of a level.
        outputs: channels of the map.
        convs: convolutions before it.
    """

    def __init__(self, channels: int, outputs: int, *, convs: int) -> None:
        super().__init__()
        self.conv = _trunk(channels, convs)
        self.bbox_reg = _map(channels, outputs, bias=0.0)

    def forward(self, levels: list[torch.Tensor]) -> list[torch.Tensor]:
        """One map for each level."""
        return [self.bbox_reg(self.conv(level)) for level in levels]


class LevelConv3d(nn.Conv3d):
    """A convolution that stays in float32 on a CPU where a level has fewer than three cells along its first axis.

    There torch 2.13 gives wrong gradients of the weights in bfloat16, and infinite ones.
    """

    def forward(self, level: torch.Tensor) -> torch.Tensor:
        """The convolved level."""
        if level.shape[2] < 3 and level.device.type == "cpu":
            with torch.autocast("cpu", enabled=False):
                return self._conv_forward(level.float(), self.weight, self.bias)
        return self._conv_forward(level, self.weight, self.bias)


def _trunk(channels: int, convs: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for _ in range(convs):
        parts += [_map(channels, channels, bias=0.0), nn.GroupNorm(_GROUPS, channels), nn.ReLU()]
    return nn.Sequential(*parts)


def _map(channels: int, outputs: int, *, bias: float) -> nn.Conv3d:
    # std 0.01: section 4.1 of the paper
    layer = LevelConv3d(channels, outputs, kernel_size=3, padding=1)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]
    return layer
