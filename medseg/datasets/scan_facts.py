"""What is checked of one file: read once, kept as a few numbers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.volumes import read_volume
from medseg.volumes.geometry import Affine

_MOST_VALUES = 65_536


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanFacts:
    """Facts of one volume.

    Attributes:
        path: The file.
        shape: `(X, Y, Z)` or `(X, Y, Z, C)`.
        affine_ras_mm: Voxel to world, 4x4.
        dtype: Type of the voxels as stored, or as scaled by the header.
        not_finite: Number of NaN and infinite voxels.
        lowest: Smallest value, NaN when none is finite.
        highest: Largest value, likewise.
        voxels_sha256: Of shape and voxels as float32, so that a copy in another type or compression is the same.
    """

    path: Path
    shape: tuple[int, ...]
    affine_ras_mm: Affine
    dtype: str
    not_finite: int
    lowest: float
    highest: float
    voxels_sha256: str


def read_facts(path: Path, *, is_label: bool = False) -> tuple[ScanFacts, npt.NDArray[Any] | None]:
    """Facts of a file and, of a label map, the values that it holds; None when they are no whole numbers.

    Raises:
        DataError: When the file cannot be read.
    """
    volume = read_volume(path)
    array = volume.array
    finite = np.isfinite(array) if array.dtype.kind in "fc" else None
    not_finite = 0 if finite is None else int(array.size - np.count_nonzero(finite))
    real = array[finite] if finite is not None and not_finite else array
    facts = ScanFacts(
        path=path,
        shape=volume.shape,
        affine_ras_mm=volume.affine_ras_mm,
        dtype=str(array.dtype),
        not_finite=not_finite,
        lowest=float(real.min()) if real.size else float("nan"),
        highest=float(real.max()) if real.size else float("nan"),
        voxels_sha256=_voxels_sha256(array),
    )
    return facts, whole_values(real) if is_label else None


def whole_values(array: npt.NDArray[Any]) -> npt.NDArray[np.int64] | None:
    """The different values of a label map in rising order; None when one is no whole number.

    >>> whole_values(np.array([[2.0, 0.0], [2.0, 5.0]])).tolist(), whole_values(np.array([0.5]))
    ([0, 2, 5], None)
    """
    if not array.size:
        return np.empty(0, dtype=np.int64)
    lowest, highest = float(array.min()), float(array.max())
    if not -(2.0**53) < lowest <= highest < 2.0**53:
        return None
    whole = array.astype(np.int64)
    if not np.array_equal(whole, array):
        return None
    if highest - lowest >= _MOST_VALUES:
        return np.unique(whole)
    # Counting is many times faster than the sort in np.unique.
    return np.flatnonzero(np.bincount((whole - int(lowest)).ravel(order="K"))) + int(lowest)


def _voxels_sha256(array: npt.NDArray[Any]) -> str:
    digest = hashlib.sha256(str(array.shape).encode())
    digest.update(np.ascontiguousarray(array.T, dtype=np.float32).data)
    return digest.hexdigest()
