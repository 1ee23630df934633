"""A scan in memory, and the two doors to files: read a volume, write one on another's grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.volumes import dicom_files, metaimage_files, nifti_files, nrrd_files
from medseg.volumes.files import VOLUME_SUFFIXES, atomic_path, volume_suffix
from medseg.volumes.geometry import Affine, spacing_from_affine


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan or label map with its place in the world.

    Attributes:
        array: Voxels `(X, Y, Z)`, or `(X, Y, Z, C)` with several channels, in the type stored on disk.
        affine_ras_mm: Voxel to world, 4x4, RAS millimetres.
        path: The file it came from.
        header: The nibabel header of a NIfTI file, None for other formats.
    """

    array: npt.NDArray[Any]
    affine_ras_mm: Affine
    path: Path
    header: Any = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.array.shape

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along each axis."""
        return spacing_from_affine(self.affine_ras_mm)


class _Format(NamedTuple):
    read: Callable[[Path], tuple[npt.NDArray[Any], Affine, Any]]
    read_geometry: Callable[[Path], tuple[tuple[int, ...], Affine]]
    write: Callable[[Path, npt.NDArray[Any], Affine, Any], None] | None


_NIFTI = _Format(nifti_files.read, nifti_files.read_geometry, nifti_files.write)
_FORMATS = {
    ".nii.gz": _NIFTI,
    ".nii": _NIFTI,
    ".nrrd": _Format(nrrd_files.read, nrrd_files.read_geometry, nrrd_files.write),
    ".mha": _Format(metaimage_files.read, metaimage_files.read_geometry, metaimage_files.write),
    # Two files cannot replace two files in one step: .mhd is read only.
    ".mhd": _Format(metaimage_files.read, metaimage_files.read_geometry, None),
}
_DICOM = _Format(dicom_files.read, dicom_files.read_geometry, None)


def read_volume(path: str | Path) -> Volume:
    """Read a scan or a label map.

    Args:
        path: A file with one of `VOLUME_SUFFIXES`, or the folder of a DICOM series.

    Returns:
        The volume with its stored type; scaled to float32 only where the file asks for a slope or an intercept.
        A last axis of size 1 after Z is dropped.

    Raises:
        DataError: When the file is missing, damaged, not a volume, or has other than 3 or 4 axes.
    """
    path = Path(path)
    array, affine, header = _format_of(path).read(path)
    array = array.reshape(_spatial_first(array.shape, path), order="F") if array.ndim > 3 else array
    _spatial_first(array.shape, path)
    return Volume(array=array, affine_ras_mm=_checked(affine, path), path=path, header=header)


def read_geometry(path: str | Path) -> tuple[tuple[int, ...], Affine]:
    """Shape and affine (RAS mm) of a file or a DICOM series, from headers alone.

    Raises:
        DataError: As in `read_volume`, except that damage behind the header is not seen.
    """
    path = Path(path)
    shape, affine = _format_of(path).read_geometry(path)
    return _spatial_first(shape, path), _checked(affine, path)


def write_label_map(path: str | Path, labels: npt.NDArray[Any], like: Volume) -> Path:
    """Write label values as uint8 on the grid of another volume, whole or not at all.

    Args:
        path: Where to; its suffix says the format. Folders are made.
        labels: Values 0 to 255 of shape `(X, Y, Z)`.
        like: The volume whose grid it is; a NIfTI header's codes and units are kept.

    Raises:
        DataError: When shape or values do not fit, the format cannot be written, or the disk refuses.
    """
    values = np.asarray(labels)
    if values.dtype != np.uint8:
        cast = values.astype(np.uint8)
        if not np.array_equal(cast, values):
            msg = f"{path}: label values must be whole numbers from 0 to 255, not {values.min()} to {values.max()}."
            raise DataError(msg)
        values = cast
    return write_volume(path, values, like)


def write_volume(path: str | Path, array: npt.NDArray[Any], like: Volume) -> Path:
    """Write voxels `(X, Y, Z)` or `(X, Y, Z, C)` in their own type on the grid of another volume, atomically.

    Raises:
        DataError: When the shape does not fit, the format cannot be written, or the disk refuses.
    """
    path = Path(path)
    if array.shape[:3] != like.shape[:3] or array.ndim not in (3, 4):
        msg = f"{path}: shape {array.shape} does not fit the grid {like.shape[:3]} of {like.path}."
        raise DataError(msg)
    write = _format_of(path, exists=False).write
    if write is None:
        msg = f"{path}: this format can be read but not written. Use .nii.gz, .nii, .nrrd or .mha."
        raise DataError(msg)
    try:
        with atomic_path(path) as temporary:
            write(temporary, array, like.affine_ras_mm, like.header)
    except OSError as error:
        msg = f"{path}: could not be written ({error.strerror or error}). Free space or choose another folder."
        raise DataError(msg) from error
    return path


def _format_of(path: Path, *, exists: bool = True) -> _Format:
    suffix = volume_suffix(path)
    if exists and dicom_files.holds_series(path):
        return _DICOM
    if suffix is None:
        msg = f"{path}: not a volume that medseg knows. Wanted one of {', '.join(VOLUME_SUFFIXES)}, or a DICOM folder."
        raise DataError(msg)
    if exists and not path.is_file():
        msg = f"{path}: {'is a folder' if path.is_dir() else 'no such file'}. Check the path."
        raise DataError(msg)
    return _FORMATS[suffix]


def _spatial_first(shape: tuple[int, ...], path: Path) -> tuple[int, ...]:
    """`(X, Y, Z)` or `(X, Y, Z, C)` of a stored shape: time or vector axes of size 1 go."""
    kept = shape[:3] + tuple(size for size in shape[3:] if size != 1)
    if len(kept) not in (3, 4) or 0 in kept:
        msg = f"{path}: shape {shape} is no 3D volume. Wanted three axes, or four with the channels last."
        raise DataError(msg)
    return kept


def _checked(affine: Affine, path: Path) -> Affine:
    if not np.isfinite(affine).all() or abs(float(np.linalg.det(affine[:3, :3]))) < 1e-12:
        msg = f"{path}: the header's affine is singular or not finite. Mend the header or export the scan again."
        raise DataError(msg)
    return affine
