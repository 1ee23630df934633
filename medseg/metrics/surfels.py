"""Areas of the surface elements of Nikolov et al. (2018), for any voxel size."""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
import numpy.typing as npt

# The marching-cubes cases of Lorensen and Cline (1987, https://doi.org/10.1145/37402.37422): which of the eight
# voxels around a corner are inside, in the order (0,0,0), (0,0,1), (0,1,0) ... (1,1,1); and the triangles between edge
# midpoints, each as 8 x the magnitudes of the components of its area-weighted normal. Rotations, mirrorings and swaps
# of inside and outside give all 256 patterns. The triangulation is the one of Nikolov et al. (2018,
# https://arxiv.org/abs/1809.04430): areas equal those of https://github.com/google-deepmind/surface-distance.
_CASES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "00000001": ((1, 1, 1),),
    "00000011": ((2, 2, 0), (2, 2, 0)),
    "00000110": ((1, 1, 1), (1, 1, 1)),
    "00000111": ((1, 1, 1), (2, 2, 2), (4, 0, 0)),
    "00001111": ((4, 0, 0), (4, 0, 0)),
    "00010110": ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
    "00010111": ((1, 1, 1), (1, 1, 1), (2, 2, 2), (2, 2, 2)),
    "00011000": ((1, 1, 1), (1, 1, 1)),
    "00011001": ((0, 2, 2), (0, 2, 2), (1, 1, 1)),
    "00011011": ((0, 2, 2), (1, 1, 1), (2, 0, 2), (3, 3, 3)),
    "00011110": ((1, 1, 1), (1, 1, 1), (2, 2, 2), (4, 0, 0)),
    "00111100": ((2, 2, 0), (2, 2, 0), (2, 2, 0), (2, 2, 0)),
    "01101001": ((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)),
}


def _code(inside: npt.NDArray[np.bool_]) -> int:
    return int((inside.reshape(-1) << np.arange(8)).sum())


@lru_cache(maxsize=1)
def _normals() -> npt.NDArray[np.float64]:
    """Magnitudes of the normals' components by neighbour code: shape `(256, 4, 3)`, in voxel units."""
    table = np.zeros((256, 4, 3))
    for pattern, triangles in _CASES.items():
        cube = np.array([voxel == "1" for voxel in pattern]).reshape(2, 2, 2)
        normals = np.array(triangles) / 8
        for axes in itertools.permutations(range(3)):
            for flips in itertools.product((1, -1), repeat=3):
                turned = cube.transpose(axes)[tuple(slice(None, None, step) for step in flips)]
                for inside in (turned, ~turned):
                    table[_code(inside), : len(normals)] = normals[:, axes]
    return table


@lru_cache(maxsize=64)
def surfel_areas_mm2(spacing_mm: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """Area of the surface element of each neighbour code.

    Args:
        spacing_mm: Voxel size along the axes of the mask.

    Returns:
        Areas in mm2 by code, shape `(256,)`; 0 for codes 0 and 255, where no surface runs.

    Example:
        >>> float(surfel_areas_mm2((1.0, 1.0, 2.5))[0b00001111])  # the lower x half inside: one face of y by z
        2.5
    """
    sx, sy, sz = spacing_mm
    faces_mm2 = np.array([sy * sz, sx * sz, sx * sy])
    areas: npt.NDArray[np.float64] = np.linalg.norm(_normals() * faces_mm2, axis=2).sum(axis=1)
    return areas
