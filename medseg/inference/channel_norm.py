"""Instance and group normalisation that keep channels-last memory and are fast in it: the same numbers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from medseg.inference.group_norm_gradient import GroupNormLast


class ChannelNorm(nn.Module):
    """`GroupNorm`, or `InstanceNorm3d` computed as group normalisation with one group a channel, which is the same.

    PyTorch's instance norm gives its output in contiguous memory whatever came in, so that a network in channels-last
    copies twice a layer; its group norm keeps the memory format on a CPU, and `GroupNormLast` has a faster gradient. On
    a GPU the original is computed. Parameters have the names of the original's.

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
        if self.weight is not None and self.bias is not None and self._learns_in_channels_last(image):
            learnt: torch.Tensor = GroupNormLast.apply(image, self.weight, self.bias, self.groups, self.eps)  # type: ignore[no-untyped-call]
            return learnt
        return F.group_norm(image, self.groups, self.weight, self.bias, self.eps)

    @staticmethod
    def _learns_in_channels_last(image: torch.Tensor) -> bool:
        fits = image.device.type == "cpu" and image.ndim == 5 and torch.is_grad_enabled()
        return fits and image.is_contiguous(memory_format=torch.channels_last_3d)

    def extra_repr(self) -> str:
        """Channels, groups and the rest, as PyTorch's layers show themselves."""
        return f"{self.channels}, groups={self.groups}, eps={self.eps}, affine={self.affine}"


def to_channels_last(network: nn.Module) -> nn.Module:
    """A 3D network in channels-last memory, `ChannelNorm` for every `InstanceNorm3d` and `GroupNorm`; changed in place.

    The results are the same but for rounding, and so are the keys of the state dict. Layers that track running
    statistics stay as they are, since group normalisation has none.

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
