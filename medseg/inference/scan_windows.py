"""A padded scan and its windows, ready to be given to a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from monai.data.utils import compute_importance_map

from medseg.errors import ConfigError
from medseg.inference.tiling import Tiling
from medseg.inference.windows import Shape


@dataclass(frozen=True, kw_only=True)
class ScanWindows:
    """Where the windows over a scan lie, and what is in them: as in MONAI's `sliding_window_inference`.

    Attributes:
        image: The scan `(1, C, X, Y, Z)`, padded to the size of a window where it is smaller.
        padding: Voxels of that before the scan, for each axis.
        inner: Voxels of the scan.
        tiling: The windows.
        weights: Of a window's voxels, `(x, y, z)`.
        network_device: Where the network runs.
        device: Where windows are merged.
    """

    image: torch.Tensor
    padding: Shape
    inner: Shape
    tiling: Tiling
    weights: torch.Tensor
    network_device: torch.device
    device: torch.device

    @classmethod
    def over(
        cls,
        inputs: torch.Tensor,
        size: Sequence[int],
        *,
        overlap: Sequence[float],
        blend: str,
        sigma_scale: Any,
        padding_mode: str,
        padding_value: float,
        network_device: torch.device | str,
        device: torch.device | str,
    ) -> ScanWindows:
        """The windows over a scan `(1, C, X, Y, Z)`.

        Args:
            inputs: The scan.
            size: Voxels of a window.
            overlap: Share of a window that the next one covers, for each axis.
            blend: "gaussian" or "constant".
            sigma_scale: Of the Gaussian, in sides of the window.
            padding_mode: Of `torch.nn.functional.pad`.
            padding_value: With padding by a constant.
            network_device: Where the network runs.
            device: Where windows are merged.

        Raises:
            ConfigError: An overlap that is not 0 to below 1.
        """
        if not all(0 <= share < 1 for share in overlap):
            msg = f"sliding window: overlap {tuple(overlap)} is not 0 to below 1."
            raise ConfigError(msg)
        inner = [int(count) for count in inputs.shape[2:]]
        short = [max(side - count, 0) for side, count in zip(size, inner, strict=True)]
        before = [missing // 2 for missing in short]
        if any(short):
            pads = [part for b, s in zip(before[::-1], short[::-1], strict=True) for part in (b, s - b)]
            value = {"value": padding_value} if padding_mode == "constant" else {}
            inputs = F.pad(inputs, pads, mode=padding_mode, **value)
        weights = compute_importance_map(
            tuple(size), mode=blend, sigma_scale=sigma_scale, device=torch.device(device), dtype=torch.float32
        )
        return cls(
            image=inputs,
            padding=(before[0], before[1], before[2]),
            inner=(inner[0], inner[1], inner[2]),
            tiling=Tiling.over(inputs.shape[2:], size, overlap=overlap),
            weights=weights.contiguous(),
            network_device=torch.device(network_device),
            device=torch.device(device),
        )

    def scores(self, starts: Sequence[Shape], network: Callable[..., Any], *args: Any) -> Any:
        """What the network gives for the windows that start here; half as many at a time where the GPU is full."""
        size = self.tiling.size
        places = [tuple(slice(s, s + side) for s, side in zip(start, size, strict=True)) for start in starts]
        parts = [self.image[(slice(None), slice(None), *place)] for place in places]
        batch = (torch.cat(parts) if len(parts) > 1 else parts[0]).to(self.network_device)
        try:
            return network(batch, *args)
        except torch.cuda.OutOfMemoryError:
            if len(starts) == 1:
                raise
        del batch
        half = len(starts) // 2
        return torch.cat([self.scores(some, network, *args) for some in (starts[:half], starts[half:])])

    def is_plain(self, scores: Any, count: int) -> bool:
        """Whether this is one tensor with a score for each voxel of so many windows."""
        return (
            isinstance(scores, torch.Tensor)
            and scores.ndim == 5
            and (len(scores) == count and tuple(scores.shape[2:]) == self.tiling.size)
        )
