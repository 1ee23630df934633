"""A sliding window with Gaussian weights, whose windows and weights are those of MONAI's `sliding_window_inference`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
_SIGMA = 0.125  # of the window's side
_LEAST = 1e-3


def gaussian(sizes: Sequence[int]) -> Floats:
    """The weight of each voxel of a window: a Gaussian with sigma an eighth of each side, at least 0.001."""
    weights = np.ones(())
    for size in sizes:
        at = np.arange(size) - (size - 1) / 2.0
        weights = weights[..., None] * np.exp(-(at**2) / (2 * (_SIGMA * size) ** 2))
    return np.maximum(weights, max(float(weights.min()), _LEAST)).astype(np.float32)


def starts(size: int, window: int, *, overlap: float) -> list[int]:
    """Where the windows of one axis begin.

    >>> starts(10, 4, overlap=0.5)
    [0, 2, 4, 6]
    """
    step = window if window == size else max(int(window * (1 - overlap)), 1)
    count = next(n for n in range(math.ceil(size / step)) if n * step + window >= size) + 1
    return [min(number * step, size - window) for number in range(count)]


def slide(image: Floats, predict: Callable[[Floats], Floats], *, window: Sequence[int], overlap: float) -> Floats:
    """Logits `(R, X, Y, Z)` of an image `(C, X, Y, Z)`, padded with zeros where it is smaller than the window.

    Args:
        image: The image.
        predict: Logits `(1, R, x, y, z)` of a window `(1, C, x, y, z)`.
        window: Its size.
        overlap: Share of a window that the next one covers.
    """
    short = [max(side - size, 0) for size, side in zip(image.shape[1:], window, strict=True)]
    before = [missing // 2 for missing in short]
    padded = np.pad(image, [(0, 0), *((b, s - b) for b, s in zip(before, short, strict=True))])
    weights = gaussian(window)
    total: Floats | None = None
    count = np.zeros(padded.shape[1:], dtype=np.float32)
    for place in _places(padded.shape[1:], window, overlap=overlap):
        logits = predict(np.ascontiguousarray(padded[(slice(None), *place)])[None])[0]
        if total is None:
            total = np.zeros((logits.shape[0], *padded.shape[1:]), dtype=np.float32)
        total[(slice(None), *place)] += logits * weights
        count[place] += weights
    merged = (total if total is not None else np.zeros((1, *padded.shape[1:]), np.float32)) / count
    inner = tuple(slice(b, b + size) for b, size in zip(before, image.shape[1:], strict=True))
    return np.asarray(merged[(slice(None), *inner)])


def mirrored(predict: Callable[[Floats], Floats], mirrors: Sequence[Sequence[int]]) -> Callable[[Floats], Floats]:
    """A prediction averaged over mirrored windows."""

    def averaged(window: Floats) -> Floats:
        total = np.zeros((), dtype=np.float32)
        for axes in mirrors:
            dims = tuple(axis + 2 for axis in axes)
            total = total + np.flip(predict(np.ascontiguousarray(np.flip(window, dims))), dims)
        return np.asarray(total / np.float32(len(mirrors)))

    return averaged


def _places(sizes: Sequence[int], window: Sequence[int], *, overlap: float) -> Iterator[tuple[slice, slice, slice]]:
    axes = [starts(size, side, overlap=overlap) for size, side in zip(sizes, window, strict=True)]
    for x, y, z in product(*axes):
        yield (slice(x, x + window[0]), slice(y, y + window[1]), slice(z, z + window[2]))
