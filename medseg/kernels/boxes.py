"""Overlap of 3D boxes. A box is its corners `x0, y0, z0, x1, y1, z1`; voxel i covers `[i, i + 1]`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.kernels.jit import jit, jit_ieee

Floats = npt.NDArray[np.float32]
EPSILON = np.float32(2.0**-23)  # keeps 0 / 0 at 0; float32's own, as in MONAI's box_iou, so that results are equal


def checked_boxes(boxes: npt.ArrayLike, *, where: str) -> Floats:
    """Boxes as a contiguous float32 array `(N, 6)`; any empty array becomes `(0, 6)`.

    Raises:
        DataError: another shape, a corner that is not finite, or a side that runs backwards.
    """
    array = np.ascontiguousarray(boxes, dtype=np.float32)
    if not array.size:
        return np.empty((0, 6), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != 6:
        msg = f"{where}: boxes of shape {array.shape}, not (N, 6): corners x0, y0, z0, x1, y1, z1."
        raise DataError(msg)
    bad = ~(np.isfinite(array).all(axis=1) & (array[:, 3:] >= array[:, :3]).all(axis=1))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        msg = f"{where}: box {row} is {array[row].tolist()}; corners must be finite, the low one first."
        raise DataError(msg)
    return array


@jit
def volume(box: Floats) -> np.float32:
    """Volume of one box."""
    return np.float32((box[3] - box[0]) * (box[4] - box[1]) * (box[5] - box[2]))


@jit
def overlap(a: Floats, b: Floats) -> np.float32:
    """Intersection over union of two boxes, float32 in MONAI's order of operations."""
    x = min(a[3], b[3]) - max(a[0], b[0])
    y = min(a[4], b[4]) - max(a[1], b[1])
    z = min(a[5], b[5]) - max(a[2], b[2])
    if x <= 0 or y <= 0 or z <= 0:
        return np.float32(0)
    shared = x * y * z
    return np.float32(shared / (volume(a) + volume(b) - shared + EPSILON))


@jit_ieee
def _iou_row(box: Floats, columns: Floats, volumes: Floats, out: Floats) -> None:
    x0, y0, z0, x1, y1, z1 = box
    zero, own = np.float32(0), volume(box)
    for i in range(out.size):
        x = max(min(x1, columns[3, i]) - max(x0, columns[0, i]), zero)
        y = max(min(y1, columns[4, i]) - max(y0, columns[1, i]), zero)
        z = max(min(z1, columns[5, i]) - max(z0, columns[2, i]), zero)
        shared = x * y * z
        out[i] = shared / (own + volumes[i] - shared + EPSILON)


@jit_ieee
def _giou_row(box: Floats, columns: Floats, volumes: Floats, out: Floats) -> None:
    x0, y0, z0, x1, y1, z1 = box
    zero, own = np.float32(0), volume(box)
    for i in range(out.size):
        x = max(min(x1, columns[3, i]) - max(x0, columns[0, i]), zero)
        y = max(min(y1, columns[4, i]) - max(y0, columns[1, i]), zero)
        z = max(min(z1, columns[5, i]) - max(z0, columns[2, i]), zero)
        shared = x * y * z
        union = own + volumes[i] - shared
        width = max(x1, columns[3, i]) - min(x0, columns[0, i])
        height = max(y1, columns[4, i]) - min(y0, columns[1, i])
        depth = max(z1, columns[5, i]) - min(z0, columns[2, i])
        hull = width * height * depth
        out[i] = shared / (union + EPSILON) - (hull - union) / (hull + EPSILON)


@jit
def _fill_iou(boxes: Floats, columns: Floats, volumes: Floats, out: Floats) -> None:
    for row in range(len(boxes)):
        _iou_row(boxes[row], columns, volumes, out[row])


@jit
def _fill_giou(boxes: Floats, columns: Floats, volumes: Floats, out: Floats) -> None:
    for row in range(len(boxes)):
        _giou_row(boxes[row], columns, volumes, out[row])


def box_iou(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """Intersection over union of every box of `a` with every box of `b`.

    Args:
        a: Shape `(N, 6)`.
        b: Shape `(M, 6)`.

    Returns:
        Shape `(N, M)`, 0 to 1. Boxes without a volume overlap nothing: 0.

    Raises:
        DataError: Not boxes, see `checked_boxes`.

    Example:
        >>> box_iou([[0, 0, 0, 2, 2, 2]], [[0, 0, 0, 2, 2, 2], [1, 0, 0, 3, 2, 2]]).round(3).tolist()
        [[1.0, 0.3330000042915344]]
    """
    return _pairwise(_fill_iou, a, b, where="box_iou")


def box_giou(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    """Generalised IoU of every box of `a` with every box of `b`.

    The IoU less the share of the smallest enclosing box that neither covers (Rezatofighi et al. 2019,
    https://arxiv.org/abs/1902.09630), so that boxes apart still differ: -1 to 1.

    Args:
        a: Shape `(N, 6)`.
        b: Shape `(M, 6)`.

    Returns:
        Shape `(N, M)`.

    Raises:
        DataError: Not boxes, see `checked_boxes`.

    Example:
        >>> box_giou([[0, 0, 0, 1, 1, 1]], [[3, 0, 0, 4, 1, 1]]).round(3).tolist()
        [[-0.5]]
    """
    return _pairwise(_fill_giou, a, b, where="box_giou")


def _pairwise(
    fill: Callable[[Floats, Floats, Floats, Floats], None], a: npt.ArrayLike, b: npt.ArrayLike, *, where: str
) -> Floats:
    rows, others = checked_boxes(a, where=where), checked_boxes(b, where=where)
    columns = np.ascontiguousarray(others.T)
    sides = columns[3:] - columns[:3]
    out = np.empty((len(rows), len(others)), dtype=np.float32)
    fill(rows, columns, sides[0] * sides[1] * sides[2], out)
    return out
