"""The scores of a whole scan, added up by the compiled kernel."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import torch

from medseg.inference.scan_windows import ScanWindows
from medseg.inference.tile_merge import weighted
from medseg.kernels.merge import add_window
from medseg.kernels.slabs import run_slabs


def merged(scan: ScanWindows, network: Callable[..., Any], *args: Any, batch_size: int) -> torch.Tensor | None:
    """The weighted mean of the windows' scores, bit for bit that of MONAI's `sliding_window_inference` on a CPU.

    Args:
        scan: A float32 scan in main memory.
        network: Gives scores `(B, classes, x, y, z)` of windows `(B, C, x, y, z)`.
        args: Passed on to it.
        batch_size: Windows in one forward pass.

    Returns:
        Shape `(1, classes, X, Y, Z)`; None where the network gives anything else, which is left to MONAI.
    """
    windows = list(product(*scan.tiling.starts))  # in MONAI's order, so that rounding is the same
    total: torch.Tensor | None = None
    for first in range(0, len(windows), batch_size):
        starts = windows[first : first + batch_size]
        scores = scan.scores(starts, network, *args)
        if not scan.is_plain(scores, len(starts)) or scores.requires_grad:
            return None
        if total is None:
            total = torch.zeros((scores.shape[1], *scan.tiling.image_size))
        for start, window in zip(starts, scores, strict=True):
            _add(scan, window, total, start)
    return None if total is None else _mean(scan, total)[None]


def _add(scan: ScanWindows, window: torch.Tensor, total: torch.Tensor, start: tuple[int, int, int]) -> None:
    part, weights = weighted(window, scan.weights)
    arrays = (part.numpy(), weights.numpy(), total.numpy())
    run_slabs(
        lambda a, b: add_window(*arrays, read=(0, 0, 0), write=start, size=scan.tiling.size, channels=(a, b)),
        len(part),
        threads=torch.get_num_threads(),
    )


def _mean(scan: ScanWindows, total: torch.Tensor) -> torch.Tensor:
    count = torch.zeros(scan.tiling.image_size)
    for start in product(*scan.tiling.starts):
        count[tuple(slice(s, s + side) for s, side in zip(start, scan.tiling.size, strict=True))] += scan.weights
    total /= count
    inner = (slice(b, b + n) for b, n in zip(scan.padding, scan.inner, strict=True))
    return total[(slice(None), *inner)]
