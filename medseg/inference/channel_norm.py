"""Instance and group normalisation that keep channels-last memory and are fast in it: the same numbers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from medseg.inference.group_norm_gradient import GroupNormLast, pieces_of, rows_of


class ChannelNorm(nn.Module):
    """`GroupNorm`, or `InstanceNorm3d` computed as group normalisation with one group a channel, which is the same.

    PyTorch's instance norm gives its output in contiguous memory whatever came in, so that a network in channels-last
    copies twice a layer; its group norm keeps the memory format on a CPU, and `GroupNormLast` has a faster gradient. In
    float32 without a gradient the moments are computed here: PyTorch's, in channels-last memory, are off by up to a
    hundredth of a standard deviation where many voxels are alike, as padding is. On a GPU the original is computed.
    Parameters have the names of the original's.

    Args:
        original: The layer to stand for; its parameters are shared.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, original: nn.InstanceNorm3d | nn.GroupNorm) -> None:
        super().__init__()
        self.eps, self.affine, self.by_channel = original.eps, original.affine, isinstance(original, nn.InstanceNorm3d)
        if isinstance(original, nn.GroupNorm):
            self.channels, self.groups = original.num_channels, original.num_groups
        else:
            self.channels = self.groups = original.num_features
        self.register_parameter("weight", original.weight)
        self.register_parameter("bias", original.bias)
        self.train(original.training)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Each group of channels of each image `(B, C, X, Y, Z)` to mean 0 and variance 1, then scaled and shifted."""
        if image.device.type != "cpu" and self.by_channel:
            return F.instance_norm(image, None, None, self.weight, self.bias, use_input_stats=True, eps=self.eps)
        if image.device.type == "cpu" and image.ndim == 5 and _is_channels_last(image):
            if torch.is_grad_enabled() and self.weight is not None and self.bias is not None:
                learnt: torch.Tensor = GroupNormLast.apply(image, self.weight, self.bias, self.groups, self.eps)  # type: ignore[no-untyped-call]
                return learnt
            if image.dtype == torch.float32 and not torch.is_grad_enabled():
                return exact_group_norm(image, self.groups, self.weight, self.bias, eps=self.eps)
        return F.group_norm(image, self.groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Channels, groups and the rest, as PyTorch's layers show themselves."""
        return f"{self.channels}, groups={self.groups}, eps={self.eps}, affine={self.affine}"


def _is_channels_last(image: torch.Tensor) -> bool:
    return image.is_contiguous(memory_format=torch.channels_last_3d)


def exact_group_norm(
    image: torch.Tensor, groups: int, weight: torch.Tensor | None, bias: torch.Tensor | None, *, eps: float
) -> torch.Tensor:
    """Group normalisation of float32 maps `(B, C, X, Y, Z)` in channels-last memory: the mean first, then the variance.

    >>> maps = torch.full((1, 2, 40, 40, 40), 1.37).contiguous(memory_format=torch.channels_last_3d)
    >>> bool(exact_group_norm(maps, 1, None, None, eps=1e-5).abs().max() < 1e-3)
    True
    """
    rows = rows_of(image)
    batch, count, channels = rows.shape
    by_group = (batch, groups, channels // groups)
    mean = rows.mean(1).reshape(by_group).mean(2, keepdim=True).expand(by_group).reshape(batch, 1, channels)
    squares = torch.zeros(batch, channels, dtype=torch.float64)
    for piece in pieces_of(rows):
        squares += (rows[:, piece] - mean).square_().sum(1)
    variance = squares.reshape(by_group).sum(2, keepdim=True) / (count * by_group[2])
    scale = (variance + eps).rsqrt().float().expand(by_group).reshape(batch, 1, channels)
    out = torch.empty_like(rows)
    for piece in pieces_of(rows):
        torch.mul(rows[:, piece] - mean, scale if weight is None else scale * weight, out=out[:, piece])
    if bias is not None:
        out += bias
    return out.reshape(batch, *image.shape[2:], channels).permute(0, 4, 1, 2, 3)


def to_channels_last(network: nn.Module) -> nn.Module:
    """A 3D network in channels-last memory, `ChannelNorm` for every `InstanceNorm3d` and `GroupNorm`; changed in place.

    Keys of the state dict stay. Float32 predictions are the same but for rounding; in bfloat16, and while gradients are
    computed, PyTorch's group norm adds up to a hundredth of a standard deviation on maps that are mostly padding.
    Layers that track running statistics stay as they are, since group normalisation has none.

    >>> to_channels_last(nn.Sequential(nn.InstanceNorm3d(4, affine=True)))
    Sequential(
      (0): ChannelNorm(4, groups=4, eps=1e-05, affine=True)
    )
    """
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.GroupNorm or (type(layer) is nn.InstanceNorm3d and not layer.track_running_stats):
                setattr(parent, name, ChannelNorm(layer))
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
