"""NIfTI files, through nibabel."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from medseg.errors import DataError
from medseg.volumes.geometry import Affine

_NOT_NIFTI = (ImageFileError, HeaderDataError, WrapStructError, ValueError, KeyError, OverflowError, OSError)
_NIFTI2_BYTES = 540


def read(path: Path) -> tuple[npt.NDArray[Any], Affine, Any]:
    """Voxels, affine and header.

    A packed file is unpacked at once, which also checks the gzip's checksum. Plain voxels are mapped: what is not
    looked at is not read. The array may be written to; the file stays.
    """
    packed = path.name.lower().endswith(".gz")
    data = _unpacked(path, None if packed else _NIFTI2_BYTES)
    try:
        # nibabel prints what it finds wrong in a header; the error below says it.
        with LoggingOutputSuppressor():
            kind = _image_class(data)
            image = kind.from_bytes(data) if packed else kind.from_filename(path, mmap="c")
        array = _scaled(image.dataobj)
    except _NOT_NIFTI as error:
        raise _unreadable(path, error) from error
    return array, np.asarray(image.affine, dtype=np.float64), image.header


def read_geometry(path: Path) -> tuple[tuple[int, ...], Affine]:
    """Shape and affine, from the header."""
    data = _unpacked(path, _NIFTI2_BYTES)
    header_class = _image_class(data).header_class
    try:
        with LoggingOutputSuppressor():
            header = header_class(data[: header_class.template_dtype.itemsize])
        return tuple(int(size) for size in header.get_data_shape()), np.asarray(header.get_best_affine(), np.float64)
    except _NOT_NIFTI as error:
        raise _unreadable(path, error) from error


def write(path: Path, array: npt.NDArray[Any], affine: Affine, header: Any) -> None:
    """Write with the reference's codes and units where it was NIfTI, else as scanner coordinates in mm."""
    image = _image_for(array, affine, header)
    if not path.name.lower().endswith(".gz"):
        image.to_filename(path)
        return
    # No time of day in the file: equal voxels give equal files.
    data = gzip.compress(image.to_bytes(), compresslevel=6 if array.dtype == np.uint8 else 1, mtime=0)
    path.write_bytes(data)


def _image_for(array: npt.NDArray[Any], affine: Affine, header: Any) -> Any:
    kept = header.copy() if header is not None else nib.Nifti1Header()
    kept.set_data_dtype(array.dtype)
    kept.set_slope_inter(1, 0)
    # The display window and extensions of the scan make no sense for what is computed from it.
    kept["cal_min"] = kept["cal_max"] = 0
    kept.extensions.clear()
    image_class = nib.Nifti2Image if isinstance(kept, nib.Nifti2Header) else nib.Nifti1Image
    image = image_class(array, affine, header=kept)
    if header is None:
        image.set_sform(affine, code="scanner")
        image.set_qform(affine, code="scanner")
        image.header.set_xyzt_units("mm")
    return image


def _unpacked(path: Path, count: int | None = None) -> bytes:
    """The file's bytes, unpacked; only the first `count` when given."""
    try:
        if not path.name.lower().endswith(".gz"):
            with path.open("rb") as file:
                return file.read(count)
        if count is None:
            return _inflated(path.read_bytes())
        with gzip.open(path) as packed:
            return packed.read(count)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        msg = f"{path}: truncated or damaged gzip; copy or download it again."
        raise DataError(msg) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _inflated(data: bytes) -> bytes:
    """All of a gzip's bytes, its checksum verified; by isal where it is installed, in half of zlib's time."""
    try:
        from isal import igzip
    except ImportError:
        return gzip.decompress(data)
    try:
        return bytes(igzip.decompress(data))
    except Exception:  # whatever isal says of a damaged file, zlib says it as everywhere else
        return gzip.decompress(data)


def _image_class(data: bytes) -> Any:
    """NIfTI-2 has headers of 540 bytes, in either byte order."""
    is_nifti2 = _NIFTI2_BYTES in (int.from_bytes(data[:4], "little"), int.from_bytes(data[:4], "big"))
    return nib.Nifti2Image if is_nifti2 else nib.Nifti1Image


def _scaled(proxy: Any) -> npt.NDArray[Any]:
    """The stored type in the machine's byte order; float32 when slope and intercept change the values."""
    stored: npt.NDArray[Any] = proxy.get_unscaled().view(np.ndarray)
    if (proxy.slope, proxy.inter) == (1.0, 0.0):
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)
    scaled = stored.astype(np.float32)
    scaled *= np.float32(proxy.slope)
    scaled += np.float32(proxy.inter)
    return scaled


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path}: not a readable NIfTI file ({reason[:160]}). Copy or download it again.")
