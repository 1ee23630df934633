"""Boxes sorted into a coarse grid, so that each is compared with those near it only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
MAX_BINS = 64  # along each axis


class Bins(NamedTuple):
    """A grid of bins, none narrower than the widest box: boxes that overlap have their centres in touching bins."""

    place: Indices  # (N, 3): the bin of each box
    counts: Indices  # (3,): bins along each axis
    start: Indices  # (bins + 1,): where the members of each bin begin
    members: Indices  # (N,): boxes bin by bin, z fastest, in ascending order within a bin


def bins_of(boxes: Floats) -> Bins:
    """Sort boxes `(N, 6)`, N at least 1, into bins."""
    centres = (boxes[:, :3].astype(np.float64) + boxes[:, 3:]) / 2
    low = centres.min(axis=0)
    extent = centres.max(axis=0) - low
    width = np.maximum((boxes[:, 3:] - boxes[:, :3]).max(axis=0) * 1.001, extent / (MAX_BINS - 1)) + 1e-6
    place = ((centres - low) / width).astype(np.int64)
    counts = place.max(axis=0) + 1
    number = (place[:, 0] * counts[1] + place[:, 1]) * counts[2] + place[:, 2]
    start = np.concatenate([[0], np.cumsum(np.bincount(number, minlength=int(counts.prod())))])
    return Bins(place, counts, start.astype(np.int64), np.argsort(number, kind="stable").astype(np.int64))
