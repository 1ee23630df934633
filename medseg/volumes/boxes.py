"""Boxes `(N, 6)`, corners `x0, y0, z0, x1, y1, z1`: between world and voxels, corners and centres, LPS and RAS.

World boxes are RAS millimetres. Voxel boxes are in EDGE coordinates: voxel i covers i to i + 1, its centre is at
i + 0.5, and the array spans 0 to its size. An affine maps centre INDICES, so edge e is index e - 0.5; this half voxel
is dealt with here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError

Boxes = npt.NDArray[np.float64]

BOX_ORDER = "x0,y0,z0,x1,y1,z1"
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


def as_boxes(boxes: npt.ArrayLike, *, where: str = "boxes") -> Boxes:
    """Boxes as float64 `(N, 6)`; an empty list of any shape is `(0, 6)`.

    Raises:
        DataError: When there are other than six numbers per box.

    >>> as_boxes([]).shape
    (0, 6)
    """
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0:
        return np.zeros((0, 6))
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[1] != 6:
        msg = f"{where}: shape {array.shape} is no list of boxes. Wanted (N, 6): {BOX_ORDER}."
        raise DataError(msg)
    return array


def boxes_from_centres(centre: npt.ArrayLike, size: npt.ArrayLike) -> Boxes:
    """Corners `(N, 6)` of boxes given by centre `(N, 3)` and size: `(N, 3)`, or `(N,)` for cubes around balls.

    >>> boxes_from_centres([[1.0, 2.0, 3.0]], [2.0]).tolist()
    [[0.0, 1.0, 2.0, 2.0, 3.0, 4.0]]
    """
    middle = np.asarray(centre, dtype=np.float64).reshape(-1, 3)
    sides = np.asarray(size, dtype=np.float64)
    half = np.broadcast_to(sides[:, None] if sides.ndim == 1 else sides, middle.shape) / 2.0
    return np.concatenate([middle - half, middle + half], axis=1)


def box_centres(boxes: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Centres `(N, 3)`."""
    corners = as_boxes(boxes)
    return (corners[:, :3] + corners[:, 3:]) / 2.0


def box_sizes(boxes: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Sides `(N, 3)`, negative where a box is inverted."""
    corners = as_boxes(boxes)
    return corners[:, 3:] - corners[:, :3]


def box_volumes(boxes: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Volumes `(N,)` in the cube of the boxes' unit; 0 where a box is empty or inverted.

    >>> box_volumes([[0, 0, 0, 1, 2, 3], [0, 0, 0, -1, 2, 3]]).tolist()
    [6.0, 0.0]
    """
    volumes: npt.NDArray[np.float64] = np.maximum(box_sizes(boxes), 0.0).prod(axis=1)
    return volumes


def valid_boxes(boxes: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which boxes `(N,)` are finite and larger than zero along every axis."""
    corners = as_boxes(boxes)
    return np.asarray(np.isfinite(corners).all(axis=1) & (corners[:, 3:] > corners[:, :3]).all(axis=1))


def check_boxes(boxes: npt.ArrayLike, *, where: str) -> Boxes:
    """The boxes as float64 `(N, 6)`.

    Args:
        boxes: Corners in any unit.
        where: Case and file named in the error.

    Raises:
        DataError: With the first box that is not finite, has no size along an axis, or is inverted.
    """
    corners = as_boxes(boxes, where=where)
    bad = np.flatnonzero(~valid_boxes(corners))
    if bad.size:
        box = corners[bad[0]]
        fault = "is not finite" if not np.isfinite(box).all() else "has no size along an axis"
        fault = "is inverted" if (box[3:] < box[:3]).any() else fault
        values = ", ".join(f"{value:g}" for value in box.tolist())
        msg = f"{where}: box {bad[0]} ({values}) {fault}. Wanted {BOX_ORDER} with x0 < x1 and so on: mend or drop it."
        raise DataError(msg)
    return corners


def points_lps_to_ras(points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """World points `(N, 3)` from LPS to RAS mm; its own inverse, without rounding.

    >>> points_lps_to_ras([[1.0, -2.0, 3.0]]).tolist()
    [[-1.0, 2.0, 3.0]]
    """
    # + 0.0, so that a zero keeps its sign positive
    turned: npt.NDArray[np.float64] = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3) * _LPS_TO_RAS + 0.0
    return turned


def boxes_lps_to_ras(boxes_mm: npt.ArrayLike) -> Boxes:
    """World boxes from LPS to RAS mm, lower corner first again; its own inverse.

    >>> boxes_lps_to_ras([1, 2, 3, 4, 6, 8]).tolist()
    [[-4.0, -6.0, 3.0, -1.0, -2.0, 8.0]]
    """
    corners = as_boxes(boxes_mm)
    first, last = points_lps_to_ras(corners[:, :3]), points_lps_to_ras(corners[:, 3:])
    return np.concatenate([last[:, :2], first[:, 2:], first[:, :2], last[:, 2:]], axis=1)


def voxel_edges_affine(affine_ras_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The affine 4x4 from voxel EDGE coordinates to RAS mm, of an affine that maps voxel indices.

    >>> voxel_edges_affine(np.diag([2.0, 2.0, 2.0, 1.0]))[:3, 3].tolist()
    [-1.0, -1.0, -1.0]
    """
    affine = np.array(affine_ras_mm, dtype=np.float64)
    affine[:3, 3] -= affine[:3, :3].sum(axis=1) / 2.0
    return affine


def between_edges(matrix: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """A map 4x4 between the voxel indices of two grids, as the same map between their edge coordinates.

    >>> between_edges(np.diag([-1.0, 1.0, 1.0, 1.0]))[0].tolist()
    [-1.0, 0.0, 0.0, 1.0]
    """
    edges = voxel_edges_affine(matrix)
    edges[:3, 3] += 0.5
    return edges


def transform_boxes(matrix: npt.ArrayLike, boxes: npt.ArrayLike) -> Boxes:
    """The axis-aligned boxes around the eight transformed corners of each box.

    Exact for matrices that only scale, flip and swap axes; for any other the new box is the smallest that holds the
    old one, so that going there and back makes it larger.

    Args:
        matrix: Affine 4x4.
        boxes: Corners `(N, 6)`, lower ones first.
    """
    affine, corners = np.asarray(matrix, dtype=np.float64), as_boxes(boxes)
    linear = affine[:3, :3]
    # Interval arithmetic: each term of the sum takes the corner that makes it smallest, or largest.
    rising, falling = np.maximum(linear, 0.0).T, np.minimum(linear, 0.0).T
    low, high = corners[:, :3], corners[:, 3:]
    lower, upper = low @ rising + high @ falling, high @ rising + low @ falling
    return np.concatenate([lower, upper], axis=1) + np.tile(affine[:3, 3], 2)


def transform_balls(matrix: npt.ArrayLike, boxes: npt.ArrayLike) -> Boxes:
    """The axis-aligned boxes around the transformed ellipsoids that touch the sides of each box from within.

    A nodule fills the ellipsoid in its box, not the corners: turned by 45 degrees, a ball keeps its box, while the box
    around eight turned corners is up to 1.7 times as long. Exact for ellipsoids along the axes under any affine map:
    the half side along output axis i is `sqrt(sum_j (matrix[i, j] * half[j]) ** 2)`.

    >>> turn = [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    >>> transform_balls(turn, [2, 0, 0, 4, 6, 8]).tolist()
    [[-6.0, 2.0, 0.0, 0.0, 4.0, 8.0]]
    """
    affine = np.asarray(matrix, dtype=np.float64)
    centre = box_centres(boxes) @ affine[:3, :3].T + affine[:3, 3]
    half = np.sqrt((box_sizes(boxes) / 2.0) ** 2 @ (affine[:3, :3] ** 2).T)
    return np.concatenate([centre - half, centre + half], axis=1)


def boxes_to_world(affine_ras_mm: npt.ArrayLike, box_vox: npt.ArrayLike) -> Boxes:
    """World boxes in RAS mm of voxel boxes in edge coordinates; see `transform_boxes` for oblique affines.

    >>> boxes_to_world(np.diag([-2.0, 2.0, 2.0, 1.0]), [0, 0, 0, 1, 1, 1]).tolist()
    [[-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]]
    """
    return transform_boxes(voxel_edges_affine(affine_ras_mm), box_vox)


def boxes_to_voxel(affine_ras_mm: npt.ArrayLike, box_ras_mm: npt.ArrayLike) -> Boxes:
    """Voxel boxes in edge coordinates of world boxes in RAS mm; the inverse of `boxes_to_world` on aligned grids."""
    return transform_boxes(np.linalg.inv(voxel_edges_affine(affine_ras_mm)), box_ras_mm)


def points_to_voxel(affine_ras_mm: npt.ArrayLike, points_ras_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Voxel edge coordinates `(N, 3)` of world points in RAS mm: `floor` of them is the voxel that holds the point."""
    matrix = np.linalg.inv(voxel_edges_affine(affine_ras_mm))
    points = np.asarray(points_ras_mm, dtype=np.float64).reshape(-1, 3)
    voxels: npt.NDArray[np.float64] = points @ matrix[:3, :3].T + matrix[:3, 3]
    return voxels


def clip_boxes(box_vox: npt.ArrayLike, shape: Sequence[int]) -> Boxes:
    """Voxel boxes cut to the array, edges 0 to its size; a box outside it becomes one of zero size on its border."""
    corners = as_boxes(box_vox)
    return np.clip(corners, 0.0, np.tile(np.asarray(shape[:3], dtype=np.float64), 2))
