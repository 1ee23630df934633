"""Where voxels lie in the world: affines in RAS millimetres, spacing, orientation, comparison of grids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError

Affine = npt.NDArray[np.float64]
AxisCode = Literal["R", "L", "A", "P", "S", "I"]

_CODES: tuple[tuple[AxisCode, AxisCode], ...] = (("R", "L"), ("A", "P"), ("S", "I"))
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def spacing_from_affine(affine_ras_mm: npt.ArrayLike) -> tuple[float, float, float]:
    """Distance in mm between neighbouring voxel centres along each array axis.

    >>> import numpy as np
    >>> spacing_from_affine(np.diag([-1.0, 2.0, 3.0, 1.0]))
    (1.0, 2.0, 3.0)
    """
    columns = np.asarray(affine_ras_mm, dtype=np.float64)[:3, :3]
    x, y, z = np.sqrt((columns * columns).sum(axis=0)).tolist()
    return (x, y, z)


def axis_codes(affine_ras_mm: npt.ArrayLike) -> tuple[AxisCode, AxisCode, AxisCode]:
    """The anatomical direction in which each array axis grows, as in nibabel's `aff2axcodes`.

    Axes are matched to the world's by the largest direction cosines, each world axis once.

    >>> import numpy as np
    >>> axis_codes(np.diag([-1.0, -1.0, 1.0, 1.0]))
    ('L', 'P', 'S')
    """
    columns = np.asarray(affine_ras_mm, dtype=np.float64)[:3, :3]
    cosines = columns / np.sqrt((columns * columns).sum(axis=0))
    left = np.abs(cosines)
    codes: list[AxisCode] = ["R", "A", "S"]
    for _ in range(3):
        world, axis = divmod(int(left.argmax()), 3)
        codes[axis] = _CODES[world][0 if cosines[world, axis] > 0 else 1]
        left[world, :] = left[:, axis] = -1.0
    return (codes[0], codes[1], codes[2])


def lps_to_ras(affine: npt.ArrayLike) -> Affine:
    """An affine from LPS (DICOM, ITK, NRRD) to RAS millimetres; its own inverse.

    >>> import numpy as np
    >>> lps_to_ras(np.eye(4)).diagonal().tolist()
    [-1.0, -1.0, 1.0, 1.0]
    """
    # Multiplied row by row, so that a zero keeps its sign positive.
    return np.asarray(affine, dtype=np.float64) * _LPS_TO_RAS.diagonal()[:, None] + 0.0


def affine_from_parts(
    direction: npt.ArrayLike, spacing_mm: Sequence[float], origin_mm: Sequence[float]
) -> npt.NDArray[np.float64]:
    """The 4x4 affine of a grid whose axes are the columns of `direction` `(3, 3)`, in the space of the parts."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(direction, dtype=np.float64) * np.asarray(spacing_mm, dtype=np.float64)
    affine[:3, 3] = origin_mm
    return affine


def voxels_to_world(affine_ras_mm: npt.ArrayLike, points_vox: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """World positions in RAS mm of voxel positions `(N, 3)`; whole numbers are voxel centres."""
    affine = np.asarray(affine_ras_mm, dtype=np.float64)
    points = np.atleast_2d(np.asarray(points_vox, dtype=np.float64))
    return points @ affine[:3, :3].T + affine[:3, 3]


def grid_difference_mm(shape: Sequence[int], affine: npt.ArrayLike, other_affine: npt.ArrayLike) -> float:
    """The largest distance in mm between where two affines put the same corner voxel of a grid of this shape."""
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape[:3]])).reshape(3, -1).T
    apart = voxels_to_world(affine, corners) - voxels_to_world(other_affine, corners)
    return float(np.sqrt((apart * apart).sum(axis=1)).max())


def check_same_grid(
    shape: Sequence[int],
    affine: npt.ArrayLike,
    *,
    reference_shape: Sequence[int],
    reference_affine: npt.ArrayLike,
    where: str,
    tolerance_vox: float = 0.1,
) -> None:
    """Refuse a volume that does not lie on the reference's grid.

    Args:
        shape: Shape of the volume; only its three spatial sizes count.
        affine: Its affine, RAS mm.
        reference_shape: Shape that was wanted.
        reference_affine: Affine that was wanted, RAS mm.
        where: Case and files named in the error, for example `"case7: label seg.nii.gz against t1.nii.gz"`.
        tolerance_vox: How far the affines may put the same corner voxel apart, in voxels of the finest axis.

    Raises:
        DataError: When the shapes differ or a corner voxel lies further apart.
    """
    got, wanted = tuple(shape[:3]), tuple(reference_shape[:3])
    if got != wanted:
        msg = f"{where}: shape {_text(got)} != {_text(wanted)}. Resample it to the reference's grid or drop the case."
        raise DataError(msg)
    apart_mm = grid_difference_mm(wanted, affine, reference_affine)
    if not apart_mm <= tolerance_vox * min(spacing_from_affine(reference_affine)):
        msg = (
            f"{where}: same shape, but the affines differ by up to {apart_mm:.3g} mm. "
            f"Resample it to the reference's grid or mend its header."
        )
        raise DataError(msg)


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape)
