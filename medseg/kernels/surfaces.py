"""Where the surface of a mask runs: maps of surface elements, and the distances between two such maps."""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from medseg.kernels.jit import jit

Codes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

NEAR_CELLS = 600  # cells searched around a surface element before the KD-tree takes over: the faster side on CPU
MOST_STEPS = 16  # cells along the finest axis, where voxels are very flat or very thin


@jit
def _neighbour_codes(mask: Codes, codes: Codes) -> None:
    nx, ny, nz = mask.shape
    for x in range(nx - 1):
        for y in range(ny - 1):
            for z in range(nz - 1):
                code = (
                    mask[x, y, z]
                    | mask[x, y, z + 1] << 1
                    | mask[x, y + 1, z] << 2
                    | mask[x, y + 1, z + 1] << 3
                    | mask[x + 1, y, z] << 4
                    | mask[x + 1, y, z + 1] << 5
                    | mask[x + 1, y + 1, z] << 6
                    | mask[x + 1, y + 1, z + 1] << 7
                )
                codes[x, y, z] = code if code != 255 else 0


@jit
def _border_voxels(mask: Codes, codes: Codes) -> None:
    nx, ny, nz = mask.shape
    for x in range(1, nx - 1):
        for y in range(1, ny - 1):
            for z in range(1, nz - 1):
                inside = (
                    mask[x - 1, y, z]
                    & mask[x + 1, y, z]
                    & mask[x, y - 1, z]
                    & mask[x, y + 1, z]
                    & mask[x, y, z - 1]
                    & mask[x, y, z + 1]
                )
                codes[x, y, z] = mask[x, y, z] & (inside ^ 1)


def surface_codes(mask: Codes, margin: tuple[int, int, int], *, subvoxel: bool) -> Codes:
    """The map of surface elements of a mask; outside the array is background.

    Args:
        mask: 0 and 1, shape `(X, Y, Z)`.
        margin: Empty cells to add on each side of each axis, at least 1.
        subvoxel: Elements sit on the corners between voxels and carry the pattern of the eight voxels around them
            (bit 4i + 2j + k is the voxel at offset (i, j, k)); otherwise they are the voxels of the mask that touch the
            background through a face, with code 1.

    Returns:
        Codes of shape `(X + 2 mx, Y + 2 my, Z + 2 mz)`; 0 where no surface runs.
    """
    padded = np.pad(mask, [(m, m) for m in margin])
    codes = np.zeros_like(padded)
    (_neighbour_codes if subvoxel else _border_voxels)(padded, codes)
    return codes


@lru_cache(maxsize=64)
def near_offsets(spacing_mm: tuple[float, float, float]) -> tuple[npt.NDArray[np.int64], Floats]:
    """Cell offsets of a ball of about `NEAR_CELLS` cells, nearest first.

    Returns:
        Offsets in cells `(N, 3)` and their lengths in mm `(N,)`. Every offset up to the greatest length is there.
    """
    radius_mm = float(NEAR_CELLS * np.prod(spacing_mm) * 3 / (4 * np.pi)) ** (1 / 3)
    radius_mm = min(radius_mm, MOST_STEPS * min(spacing_mm))  # the map must be padded by as much
    reach = [range(-int(radius_mm / s), int(radius_mm / s) + 1) for s in spacing_mm]
    offsets = np.array(list(itertools.product(*reach)), dtype=np.int64)
    lengths_mm = np.sqrt(((offsets * np.array(spacing_mm)) ** 2).sum(axis=1))
    order = np.argsort(lengths_mm, kind="stable")
    order = order[lengths_mm[order] <= radius_mm]
    return offsets[order], lengths_mm[order]


@jit
def _near_distances(
    elements: npt.NDArray[np.int64],
    codes: Codes,
    steps: npt.NDArray[np.int64],
    lengths_mm: Floats,
    distances_mm: Floats,
) -> int:
    far = 0
    for n in range(elements.size):
        distances_mm[n] = np.inf
        for m in range(steps.size):
            if codes[elements[n] + steps[m]]:
                distances_mm[n] = lengths_mm[m]
                break
        else:
            far += 1
    return far


def nearest_distances(
    elements: npt.NDArray[np.int64], others: npt.NDArray[np.int64], codes: Codes, spacing_mm: tuple[float, float, float]
) -> Floats:
    """Euclidean distance from each surface element to the nearest element of the other surface.

    Near elements are found by looking around in the map, nearest cell first; the rest by a KD-tree. Both are exact.

    Args:
        elements: Flat indices of one surface's elements in a map of the shape of `codes`.
        others: Flat indices of the other surface's elements, not empty.
        codes: The other surface's map, with a margin that `near_offsets(spacing_mm)` never leaves.
        spacing_mm: Voxel size along the axes of `codes`.

    Returns:
        Distances in mm, shape `(len(elements),)`.
    """
    offsets, lengths_mm = near_offsets(spacing_mm)
    _, ny, nz = codes.shape
    steps = (offsets[:, 0] * ny + offsets[:, 1]) * nz + offsets[:, 2]
    distances_mm = np.empty(elements.size, dtype=np.float64)
    if _near_distances(elements, codes.reshape(-1), steps, lengths_mm, distances_mm):
        far = np.flatnonzero(np.isinf(distances_mm))
        tree = cKDTree(_points_mm(others, codes.shape, spacing_mm), balanced_tree=False, compact_nodes=False)
        distances_mm[far] = tree.query(_points_mm(elements[far], codes.shape, spacing_mm))[0]
    return distances_mm


def _points_mm(elements: npt.NDArray[np.int64], shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> Floats:
    points_mm: Floats = np.stack(np.unravel_index(elements, shape), axis=1) * np.array(spacing_mm)
    return points_mm
