"""A small residual encoder whose first step loses nothing: neighbouring voxels become channels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from medseg.errors import ConfigError

_GROUPS = 8


class LightEncoder(nn.Sequential):
    """A convolution on folded voxels, then stages of residual blocks, each at half the resolution before it.

    Args:
        in_channels: channels of the image.
        fold: voxels along each axis that are folded into channels before anything else.
        stem: channels of the first convolution; a multiple of 8.
        channels: channels of each stage, fine to coarse; multiples of 8.
        blocks: residual blocks in each stage.

    Raises:
        ConfigError: the arguments do not fit together.
    """

    def __init__(
        self, *, in_channels: int, fold: Sequence[int], stem: int, channels: Sequence[int], blocks: Sequence[int]
    ) -> None:
        widths = [stem, *channels]
        if len(channels) != len(blocks) or not channels or any(c % _GROUPS or c < 1 for c in widths):
            msg = (
                f"stem {stem}, channels {list(channels)}, blocks {list(blocks)}: wanted as many channels as blocks, "
                f"all channels multiples of {_GROUPS}."
            )
            raise ConfigError(msg)
        super().__init__()
        self.add_module("fold", FoldVoxels(fold))
        self.add_module("stem", _convolution(math.prod(fold) * in_channels, stem))
        for number, (before, width, count) in enumerate(zip(widths, channels, blocks, strict=False)):
            parts = [_convolution(before, width, stride=2), *(ResidualBlock(width) for _ in range(count))]
            self.add_module(f"stage{number}", nn.Sequential(*parts))


class FoldVoxels(nn.Module):
    """Blocks of voxels as one voxel with as many channels: nothing is lost, as it is by a stride.

    Args:
        fold: size of a block along each axis.
    """

    def __init__(self, fold: Sequence[int] = (2, 2, 2)) -> None:
        super().__init__()
        self.x, self.y, self.z = (int(size) for size in fold)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C * block, X / x, Y / y, Z / z) of an image (B, C, X, Y, Z) whose sizes are multiples of the block's."""
        b, c, x, y, z = image.shape
        parts = image.reshape(b, c, x // self.x, self.x, y // self.y, self.y, z // self.z, self.z)
        folded = parts.permute(0, 1, 3, 5, 7, 2, 4, 6)
        return folded.reshape(b, c * self.x * self.y * self.z, x // self.x, y // self.y, z // self.z)


class ResidualBlock(nn.Module):
    """Two convolutions around which the input passes.

    Args:
        channels: channels in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels, activation=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features of the same shape."""
        return torch.relu(features + self.second(self.first(features)))


def _convolution(before: int, after: int, *, stride: int = 1, activation: bool = True) -> nn.Sequential:
    parts: list[nn.Module] = [
        nn.Conv3d(before, after, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(_GROUPS, after),
    ]
    return nn.Sequential(*parts, *([nn.ReLU(inplace=True)] if activation else []))
