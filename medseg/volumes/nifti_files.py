"""NIfTI files, through nibabel."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
_ISAL_BUFFER = 2**18
_MOST_UNPACKED = 1032  # times as many bytes as packed, RFC 1951's shortest code for its longest match

Bytes = npt.NDArray[np.uint8]


def read(path: Path) -> tuple[npt.NDArray[Any], Affine, Any]:
    """Voxels, affine and header.

    A packed file is unpacked at once, which also checks the gzip's checksum. Plain voxels are mapped: what is not
    looked at is not read. The array may be written to; the file stays.
    """
    packed = path.name.lower().endswith(".gz")
    data = _unpacked(path) if packed else np.frombuffer(_first_bytes(path), np.uint8)
    try:
        # nibabel prints what it finds wrong in a header; the error below says it.
        with LoggingOutputSuppressor():
            kind = _image_class(data[:4].tobytes())
            image = kind.from_bytes(_up_to_voxels(data, kind)) if packed else kind.from_filename(path, mmap="c")
        stored = _voxels(data, image.dataobj) if packed else image.dataobj.get_unscaled().view(np.ndarray)
        array = _scaled(stored, slope=image.dataobj.slope, inter=image.dataobj.inter)
    except _NOT_NIFTI as error:
        raise _unreadable(path, error) from error
    return array, np.asarray(image.affine, dtype=np.float64), image.header


def read_geometry(path: Path) -> tuple[tuple[int, ...], Affine]:
    """Shape and affine, from the header."""
    data = _first_bytes(path)
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


def _first_bytes(path: Path) -> bytes:
    """As many as a header has."""
    with _said_of(path), gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        return file.read(_NIFTI2_BYTES)


def _unpacked(path: Path) -> Bytes:
    with _said_of(path):
        return _inflated(path.read_bytes())


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    """Errors of a file that cannot be read or unpacked, as the user's."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        msg = f"{path}: truncated or damaged gzip; copy or download it again."
        raise DataError(msg) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _inflated(data: bytes) -> Bytes:
    """All of a gzip's bytes, its checksum verified; by isal where it is installed, in a third of zlib's time."""
    size = min(int.from_bytes(data[-4:], "little"), len(data) * _MOST_UNPACKED)
    with suppress(Exception):  # no isal; and whatever it says of a damaged file, zlib says it as everywhere else
        from isal.isal_zlib import _GzipReader  # the one of its readers that writes into the caller's memory

        return _read_whole(_GzipReader(io.BytesIO(data), _ISAL_BUFFER), size)
    return _read_whole(gzip.GzipFile(fileobj=io.BytesIO(data)), size)


def _read_whole(file: Any, size: int) -> Bytes:
    """All bytes of a file, in large pages if they are as many as told: to get small ones would take as long again."""
    buffer: Bytes = np.empty(size, np.uint8)
    filled = 0
    while count := file.readinto(buffer[filled:].data):
        filled += count
    rest = np.frombuffer(file.read(), np.uint8)  # also verifies the checksum
    return np.concatenate([buffer[:filled], rest]) if rest.size else buffer[:filled]


def _up_to_voxels(data: Bytes, kind: Any) -> bytes:
    """The header and its extensions."""
    header = kind.header_class(data[: kind.header_class.template_dtype.itemsize].tobytes(), check=False)
    return data[: max(int(header.get_data_offset()), kind.header_class.single_vox_offset)].tobytes()


def _voxels(data: Bytes, proxy: Any) -> npt.NDArray[Any]:
    """The stored ones, as nibabel reads them, without another copy."""
    size = math.prod(proxy.shape) * proxy.dtype.itemsize
    found = data[proxy.offset : proxy.offset + size]
    if found.size < size or min(proxy.shape, default=1) < 0:
        msg = f"Expected {size} bytes, got {found.size} bytes"
        raise OSError(msg)
    aligned = proxy.offset % proxy.dtype.itemsize == 0
    voxels: npt.NDArray[Any] = (found if aligned else found.copy()).view(proxy.dtype)
    return voxels.reshape(proxy.shape, order="F")


def _image_class(data: bytes) -> Any:
    """NIfTI-2 has headers of 540 bytes, in either byte order."""
    is_nifti2 = _NIFTI2_BYTES in (int.from_bytes(data[:4], "little"), int.from_bytes(data[:4], "big"))
    return nib.Nifti2Image if is_nifti2 else nib.Nifti1Image


def _scaled(stored: npt.NDArray[Any], *, slope: float, inter: float) -> npt.NDArray[Any]:
    """The stored type in the machine's byte order; float32 when slope and intercept change the values."""
    if (slope, inter) == (1.0, 0.0):
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)
    scaled = stored.astype(np.float32)
    scaled *= np.float32(slope)
    scaled += np.float32(inter)
    return scaled


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path}: not a readable NIfTI file ({reason[:160]}). Copy or download it again.")
