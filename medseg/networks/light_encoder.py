"""A small residual encoder whose first step loses nothing: eight voxels become eight channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from medseg.errors import ConfigError

_GROUPS = 8


class LightEncoder(nn.Sequential):
    """Stages of residual blocks, each at half the resolution of the one before; the first at half that of the image.

    Args:
        in_channels: channels of the image.
        channels: channels of each stage, fine to coarse; multiples of 8.
        blocks: residual blocks in each stage.

    Raises:
        ConfigError: the arguments do not fit together.
    """

    def __init__(self, *, in_channels: int, channels: Sequence[int], blocks: Sequence[int]) -> None:
        if len(channels) != len(blocks) or not channels or any(c % _GROUPS or c < 1 for c in channels):
            msg = (
                f"channels {list(channels)} and blocks {list(blocks)}: wanted as many of each, multiples of {_GROUPS}."
            )
            raise ConfigError(msg)
        super().__init__()
        self.add_module("fold", FoldVoxels())
        before, stride = 8 * in_channels, 1
        for number, (width, count) in enumerate(zip(channels, blocks, strict=True)):
            self.add_module(f"down{number}", _convolution(before, width, stride=stride))
            self.add_module(f"stage{number}", nn.Sequential(*(ResidualBlock(width) for _ in range(count))))
            before, stride = width, 2


class FoldVoxels(nn.Module):
    """Each block of 2 x 2 x 2 voxels as one voxel with eight times the channels: nothing is lost, as by a stride."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 8 C, X/2, Y/2, Z/2) of an image (B, C, X, Y, Z) with even sizes."""
        b, c, x, y, z = image.shape
        parts = image.reshape(b, c, x // 2, 2, y // 2, 2, z // 2, 2)
        return parts.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(b, c * 8, x // 2, y // 2, z // 2)


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
