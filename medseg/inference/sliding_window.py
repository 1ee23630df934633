"""Sliding-window inference with optional mirroring."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import torch
from monai.inferers.inferer import SlidingWindowInferer


class SlidingWindow(SlidingWindowInferer):
    """MONAI's sliding window with Gaussian importance, and mirroring as test-time augmentation.

    Args:
        roi_size: Window in voxels, `(X, Y, Z)`.
        overlap: Share of a window that the next one covers, 0 to 1.
        sw_batch_size: Windows in one forward pass.
        tta: Whether to average the logits over mirrored inputs. It changes the result and costs one pass per mirror.
        mirror_axes: Spatial axes (0, 1, 2) to mirror; all their combinations are averaged.
        kwargs: Passed on to `monai.inferers.SlidingWindowInferer`.
    """

    def __init__(
        self,
        roi_size: Sequence[int] | int,
        *,
        overlap: float = 0.5,
        sw_batch_size: int = 1,
        tta: bool = False,
        mirror_axes: Sequence[int] = (0, 1, 2),
        **kwargs: Any,
    ) -> None:
        super().__init__(roi_size, sw_batch_size=sw_batch_size, overlap=overlap, mode="gaussian", **kwargs)
        self.mirrors = mirror_combinations(mirror_axes) if tta else ((),)

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Logits of shape `(B, classes, X, Y, Z)` for an image `(B, C, X, Y, Z)`."""
        if len(self.mirrors) == 1:
            return super().__call__(inputs, network, *args, **kwargs)

        mirrored_dims = [[axis + 2 for axis in axes] for axes in self.mirrors]

        def mirrored(window: torch.Tensor, *more: Any, **named: Any) -> torch.Tensor:
            logits = (network(window.flip(dims), *more, **named).flip(dims).float() for dims in mirrored_dims)
            return functools.reduce(torch.Tensor.add_, logits) / len(mirrored_dims)

        return super().__call__(inputs, mirrored, *args, **kwargs)


def mirror_combinations(axes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """All subsets of the axes, the empty one first.

    >>> mirror_combinations((0, 2))
    ((), (0,), (2,), (0, 2))
    """
    return tuple(subset for size in range(len(axes) + 1) for subset in combinations(axes, size))
