"""Instance normalisation that keeps channels-last memory: the same numbers, without copying every layer's output."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class ChannelNorm(nn.Module):
    """`InstanceNorm3d` computed as group normalisation with one group a channel, which is the same.

    PyTorch's instance norm gives its output in contiguous memory whatever came in, so that a network in channels-last
    copies twice a layer; its group norm keeps the memory format on a CPU. On a GPU neither does, and the original is
    computed. Parameters have the names of the original's.

    Args:
        original: The layer to stand for; its parameters are shared.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, original: nn.InstanceNorm3d) -> None:
        super().__init__()
        self.num_features, self.eps, self.affine = original.num_features, original.eps, original.affine
        self.register_parameter("weight", original.weight)
        self.register_parameter("bias", original.bias)
        self.train(original.training)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Each channel of each image `(B, C, X, Y, Z)` to mean 0 and variance 1, then scaled and shifted."""
        if image.device.type != "cpu":
            return F.instance_norm(image, None, None, self.weight, self.bias, use_input_stats=True, eps=self.eps)
        return F.group_norm(image, image.shape[1], self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """As `InstanceNorm3d` shows itself."""
        return f"{self.num_features}, eps={self.eps}, affine={self.affine}"


def to_channels_last(network: nn.Module) -> nn.Module:
    """A 3D network in channels-last memory with every `InstanceNorm3d` replaced by `ChannelNorm`; changed in place.

    The results are the same but for rounding, and so are the keys of the state dict. Layers that track running
    statistics stay as they are, since group normalisation has none.

    >>> to_channels_last(nn.Sequential(nn.InstanceNorm3d(4, affine=True)))
    Sequential(
      (0): ChannelNorm(4, eps=1e-05, affine=True)
    )
    """
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.InstanceNorm3d and not layer.track_running_stats:
                setattr(parent, name, ChannelNorm(layer))
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
