"""One scan made ready to train on: axes turned to RAS, resampled to one voxel size, stored as int16."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.kernels.resample import Triple, resample
from medseg.volumes import Affine, Volume, axis_codes, read_volume, write_volume

# The voxel size of lung_nodule_ct_detection in the MONAI model zoo, and of MONAI's LUNA16 tutorial.
LUNA16_SPACING_MM: Triple = (0.703125, 0.703125, 1.25)
_SIGNS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What became of a scan.

    Attributes:
        old_shape: Voxels of the source.
        shape: Voxels written, axes towards right, front and up.
        seconds: From the first look at the source to the file's name.
    """

    old_shape: tuple[int, ...]
    shape: tuple[int, ...]
    seconds: float


def prepare_scan(source: Path, target: Path, *, spacing_mm: Triple = LUNA16_SPACING_MM, threads: int = 1) -> Prepared:
    """Read a scan and write it with axes along RAS and another voxel size, whole or not at all.

    Linear interpolation, no low-pass filter, edge voxels repeated: as MONAI's `Orientation` and `Spacing`. Scans stored
    as int16 or bytes stay int16, rounded; others become float32. An oblique scan keeps its own directions, each axis
    running the way of RAS that is nearest.

    Args:
        source: A 3-D scan in any format that is read.
        target: NIfTI file to write.
        spacing_mm: Voxel size along RAS.
        threads: Threads for the resampling.

    Raises:
        DataError: When the scan cannot be read or has channels, or the file cannot be written.
    """
    start = time.perf_counter()
    volume = read_volume(source)
    if volume.array.ndim != 3:
        msg = f"{source}: {volume.array.shape[3]} channels. Wanted one image: name the modality, or split the file."
        raise DataError(msg)
    turned = resampled_to_ras(volume.array, volume.affine_ras_mm, spacing_mm=spacing_mm, threads=threads)
    write_volume(target, turned.array, like=turned)
    return Prepared(old_shape=volume.shape, shape=turned.shape, seconds=time.perf_counter() - start)


def resampled_to_ras(array: npt.NDArray[Any], affine: Affine, *, spacing_mm: Triple, threads: int = 1) -> Volume:
    """The volume `(X, Y, Z)` with axes along RAS and another voxel size, in memory, with its new affine.

    >>> lps = np.diag([-2.0, -2.0, 1.0, 1.0])
    >>> made = resampled_to_ras(np.arange(4, dtype=np.int16).reshape(2, 2, 1), lps, spacing_mm=(2.0, 2.0, 1.0))
    >>> made.array.ravel().tolist(), made.affine_ras_mm[:3, 3].tolist()
    ([3, 2, 1, 0], [-2.0, -2.0, 0.0])
    """
    places = [_SIGNS[code] for code in axis_codes(affine)]
    order = [axis for _, axis in sorted((world, axis) for axis, (world, _) in enumerate(places))]
    flips = tuple(places[axis][1] < 0 for axis in order)
    columns = np.asarray(affine, dtype=np.float64)[:3, order]
    old_mm = np.sqrt((columns * columns).sum(axis=0))
    x, y, z = old_mm.tolist()
    made = resample(
        array.transpose(order),
        (x, y, z),
        new_spacing_mm=spacing_mm,
        flips=(flips[0], flips[1], flips[2]),
        dtype=np.int16 if array.dtype in (np.int16, np.uint8, np.int8) else np.float32,
        threads=threads,
    )
    signs = np.where(flips, -1.0, 1.0)
    last = np.array([array.shape[axis] - 1 for axis in order]) * np.array(flips)
    new_affine = np.eye(4)
    new_affine[:3, :3] = columns / old_mm * signs * np.asarray(spacing_mm)
    new_affine[:3, 3] = affine[:3, 3] + columns @ last
    return Volume(array=made, affine_ras_mm=new_affine + 0.0, path=Path("memory"))
