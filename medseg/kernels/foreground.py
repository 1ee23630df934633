"""The box around the voxels above a threshold."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.kernels.jit import jit_ieee
from medseg.kernels.slabs import run_slabs

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@jit_ieee
def _mark(
    volume: npt.NDArray[Any],
    threshold: Any,
    planes: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.uint8],
    columns: npt.NDArray[np.uint8],
    first: int,
    last: int,
) -> None:
    here = np.zeros(volume.shape[2], dtype=np.uint8)
    for x in range(first, last):
        for y in range(volume.shape[1]):
            row = volume[x, y]
            seen = np.uint8(0)
            for z in range(row.size):
                above = np.uint8(row[z] > threshold)
                here[z] |= above
                seen |= above
            if seen:
                planes[x], rows[y] = 1, 1
    for z in range(here.size):
        if here[z]:
            columns[z] = 1


def box_above(volumes: npt.NDArray[Any], threshold: float = 0, *, threads: int = 1) -> Box | None:
    """First and last + 1 voxel along each axis of what is above the threshold in any channel; None where nothing is.

    Args:
        volumes: Shape `(C, X, Y, Z)`, any real type.
        threshold: NaN is not above it.
        threads: Threads to share the work.

    Example:
        >>> volume = np.zeros((1, 4, 4, 4))
        >>> volume[0, 1:3, 2, 3] = 5
        >>> box_above(volume)
        ((1, 3), (2, 3), (3, 4))
    """
    marks = [np.zeros(size, dtype=np.uint8) for size in volumes.shape[1:]]
    planes, rows, columns = marks
    for volume in volumes:
        mark = partial(_mark, volume, threshold, planes, rows, columns)
        run_slabs(mark, len(volume), threads=threads)
    found = [np.flatnonzero(mark) for mark in marks]
    if not len(found[0]):
        return None
    x, y, z = ((int(places[0]), int(places[-1]) + 1) for places in found)
    return x, y, z
