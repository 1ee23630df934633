"""Which anchors answer for which boxes: ATSS, looking only at the cells around each box."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medseg.errors import ConfigError, DataError
from medseg.kernels.anchors import AnchorLevel, Floats, Indices
from medseg.kernels.boxes import checked_boxes, overlap
from medseg.kernels.jit import jit

MARGIN_VOX = np.float32(0.01)  # a centre nearer than this to a face is outside the box: MONAI's ATSSMatcher.min_dist


@jit
def _place(cell: int, stride: int, low: np.float32, high: np.float32) -> np.float32:
    """Centre of an anchor on one axis, with float32's roundings in MONAI's order."""
    middle = np.float32(cell * stride + stride // 2)
    return ((middle + low) + (middle + high)) / np.float32(2)


@jit
def _around(centre: np.float32, stride: int, cells: int, radius: int) -> tuple[int, int]:
    """The cells (first, past the last) within a radius of the one nearest to the centre, inside the grid."""
    nearest = int(np.floor((centre - stride // 2) / stride + 0.5))
    nearest = min(max(nearest, 0), cells - 1)
    return max(nearest - radius, 0), min(nearest + radius + 1, cells)


@jit
def _insert(distance: np.float32, index: int, count: int, distances: Floats, indices: Indices) -> int:
    """Keep the nearest ones in order; of equals the one that came first. Returns how many are kept."""
    if count == len(distances):
        if distance >= distances[count - 1]:
            return count
        count -= 1
    place = count
    while place > 0 and distances[place - 1] > distance:
        distances[place], indices[place] = distances[place - 1], indices[place - 1]
        place -= 1
    distances[place], indices[place] = distance, index
    return count + 1


@jit
def _search(
    centre: Floats, window: Indices, stride: Indices, cells: Indices, boxes: Floats, distances: Floats, indices: Indices
) -> int:
    """The anchors of a window of cells that are nearest to the centre. Returns how many were found."""
    count = 0
    for x in range(window[0, 0], window[0, 1]):
        for y in range(window[1, 0], window[1, 1]):
            for z in range(window[2, 0], window[2, 1]):
                for anchor in range(len(boxes)):
                    dx = centre[0] - _place(x, stride[0], boxes[anchor, 0], boxes[anchor, 3])
                    dy = centre[1] - _place(y, stride[1], boxes[anchor, 1], boxes[anchor, 4])
                    dz = centre[2] - _place(z, stride[2], boxes[anchor, 2], boxes[anchor, 5])
                    # The root stays: in float32 it makes equals of distances whose squares differ, as it does in MONAI.
                    distance = np.sqrt(dx * dx + dy * dy + dz * dz)
                    index = ((x * cells[1] + y) * cells[2] + z) * len(boxes) + anchor
                    count = _insert(distance, index, count, distances, indices)
    return count


@jit
def _reach(centre: Floats, window: Indices, stride: Indices, cells: Indices, slack: np.float32) -> np.float32:
    """No anchor outside the window is nearer to the centre than this."""
    reach = np.float32(np.inf)
    for axis in range(3):
        half = stride[axis] // 2
        if window[axis, 0] > 0:
            reach = min(reach, centre[axis] - np.float32((window[axis, 0] - 1) * stride[axis] + half))
        if window[axis, 1] < cells[axis]:
            reach = min(reach, np.float32(window[axis, 1] * stride[axis] + half) - centre[axis])
    return reach - slack


@jit
def _nearest(centre: Floats, stride: Indices, cells: Indices, boxes: Floats, slack: np.float32, found: Indices) -> None:
    """The numbers, within the level, of the `len(found)` anchors nearest to the centre, nearest first."""
    distances = np.empty(len(found), dtype=np.float32)
    window = np.empty((3, 2), dtype=np.int64)
    radius = 1
    while True:
        for axis in range(3):
            window[axis] = _around(centre[axis], stride[axis], cells[axis], radius)
        count = _search(centre, window, stride, cells, boxes, distances, found)
        if count == len(found) and distances[count - 1] < _reach(centre, window, stride, cells, slack):
            return
        radius *= 2


@jit
def _candidates(
    targets: Floats,
    stride: Indices,
    cells: Indices,
    boxes: Floats,
    slack: np.float32,
    found: Indices,
    ious: Floats,
    inside: npt.NDArray[np.bool_],
) -> None:
    centre, anchor = np.empty(3, dtype=np.float32), np.empty(6, dtype=np.float32)
    for row in range(len(targets)):
        target = targets[row]
        for axis in range(3):
            centre[axis] = (target[axis] + target[axis + 3]) / np.float32(2)
        _nearest(centre, stride, cells, boxes, slack, found[row])
        for column in range(found.shape[1]):
            number, kind = found[row, column] // len(boxes), found[row, column] % len(boxes)
            border = np.float32(np.inf)
            for axis in (2, 1, 0):
                number, cell = number // cells[axis], number % cells[axis]
                middle = np.float32(cell * stride[axis] + stride[axis] // 2)
                low, high = middle + boxes[kind, axis], middle + boxes[kind, axis + 3]
                anchor[axis], anchor[axis + 3] = low, high
                place = (low + high) / np.float32(2)
                border = min(border, place - target[axis], target[axis + 3] - place)
            ious[row, column] = overlap(target, anchor)
            inside[row, column] = border > MARGIN_VOX


def match_anchors(
    image_size: Sequence[int],
    levels: Sequence[AnchorLevel],
    boxes: npt.ArrayLike,
    *,
    num_candidates: int,
    center_in_gt: bool,
) -> tuple[Indices, Indices]:
    """The anchors that are to detect each box: adaptive training sample selection (ATSS).

    For each box, the `num_candidates` nearest cells of each level give the candidates (all anchors of a cell; fewer
    where the level has fewer cells than that many anchors); those whose IoU is at least the mean plus the standard
    deviation over the box's candidates are positive (Zhang et al. 2020, https://arxiv.org/abs/1912.02424). An anchor
    claimed by several boxes goes to the one that it overlaps most, of equals to the first.

    The positives are those of MONAI's `ATSSMatcher`, except where cells are equally far from a box's centre and not all
    of them fit among the candidates. There the ones with the lowest numbers are taken; MONAI takes what `torch.topk`
    happens to, which depends on the device.

    Args:
        image_size: Voxels of the scan, `(X, Y, Z)`.
        levels: The pyramid, finest level first.
        boxes: Boxes to find, shape `(N, 6)`, voxels.
        num_candidates: Cells of each level to take candidates from, at least 1.
        center_in_gt: Whether an anchor's centre must lie inside the box, .01 voxel from its faces. It can leave a
            small box without any anchor.

    Returns:
        `(anchor_index, box_index)`, both int64 of shape `(P,)`: the positive anchors in ascending order, counted by
        level, then x, y, z, then anchor of the cell; and the box that each is to detect. Empty without boxes.

    Raises:
        DataError: Not boxes, see `checked_boxes`, or a level without cells.
        ConfigError: `num_candidates` below 1.

    Example:
        >>> level = AnchorLevel((4, 4, 4), np.array([[-2, -2, -2, 2, 2, 2]], dtype=np.float32))
        >>> match_anchors((16, 16, 16), [level], [[4, 4, 4, 8, 8, 8]], num_candidates=4, center_in_gt=True)
        (array([21]), array([0]))
    """
    if num_candidates < 1:
        msg = f"match_anchors: num_candidates {num_candidates}; it must be at least 1."
        raise ConfigError(msg)
    targets = checked_boxes(boxes, where="match_anchors")
    parts = [_level_candidates(targets, level, image_size, num_candidates) for level in levels]
    starts = np.cumsum([0, *(level.count(image_size) for level in levels)])
    anchors = np.concatenate([part[0] + start for part, start in zip(parts, starts, strict=False)], axis=1)
    if not targets.size:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    if anchors.shape[1] == 1:  # one anchor in all: MONAI gives it to the first box
        return anchors[0], np.zeros(1, dtype=np.int64)
    ious = np.concatenate([part[1] for part in parts], axis=1)
    positive = ious >= _threshold(ious)[:, None]
    if center_in_gt:
        positive &= np.concatenate([part[2] for part in parts], axis=1)
    return _settled(anchors, ious, positive)


def _level_candidates(
    targets: Floats, level: AnchorLevel, image_size: Sequence[int], num_candidates: int
) -> tuple[Indices, Floats, npt.NDArray[np.bool_]]:
    """Candidates of one level: their numbers within it, their IoU with the box, whether their centres lie in it."""
    cells = np.array(level.cells(image_size), dtype=np.int64)
    if cells.min() < 1:
        msg = f"match_anchors: a level of {tuple(cells.tolist())} cells in a scan of {tuple(image_size)} voxels."
        raise DataError(msg)
    shape = (len(targets), min(num_candidates * len(level.boxes), int(cells.prod())))
    found, ious, inside = np.empty(shape, np.int64), np.empty(shape, np.float32), np.empty(shape, np.bool_)
    anchors = np.ascontiguousarray(level.boxes, dtype=np.float32)
    slack = np.float32(np.abs(anchors[:, :3] + anchors[:, 3:]).max() / 2)  # 0 for anchors centred on their cell
    _candidates(targets, np.array(level.stride, dtype=np.int64), cells, anchors, slack, found, ious, inside)
    return found, ious, inside


def _threshold(ious: Floats) -> Floats:
    """Mean plus standard deviation (of a sample) over the candidates of each box."""
    mean = ious.mean(axis=1, dtype=np.float64).astype(np.float32)
    threshold: Floats = mean + ious.std(axis=1, ddof=1, dtype=np.float64).astype(np.float32)
    return threshold


def _settled(anchors: Indices, ious: Floats, positive: npt.NDArray[np.bool_]) -> tuple[Indices, Indices]:
    """Each anchor once, with the box that it overlaps most."""
    box_index, column = np.nonzero(positive)
    anchor_index, overlaps = anchors[box_index, column], ious[box_index, column]
    order = np.lexsort((box_index, -overlaps, anchor_index))
    anchor_index, first = np.unique(anchor_index[order], return_index=True)
    return anchor_index, box_index[order][first].astype(np.int64)
