"""MetaImage files (.mhd with .raw or .zraw, .mha): a text header, then voxels, x fastest, mapped as they lie.

Format: MetaIO, https://itk.org/Wiki/MetaIO/Documentation. ITK is not asked: it is half a gigabyte and takes seconds to
start, where mapping takes milliseconds. Tests hold both to the same voxels in the same places.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.volumes.geometry import Affine, affine_from_parts, lps_to_ras, spacing_from_affine

# MetaIO's `long` has 4 bytes on every machine.
ELEMENT_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_LAST_KEY = "ElementDataFile"
_MOST_HEADER_BYTES = 65_536
_MOST_AXIS = 1 << 31


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the header says.

    Attributes:
        path: Its file.
        shape: `(X, Y, Z)`.
        channels: Values of a voxel, which lie together.
        dtype: In the file's byte order.
        affine_ras_mm: Voxel to world.
        compressed: Whether the voxels are a zlib stream.
        data: The file of the voxels.
        offset: Bytes before them; None where they are the file's last.
    """

    path: Path
    shape: tuple[int, int, int]
    channels: int
    dtype: np.dtype[Any]
    affine_ras_mm: Affine
    compressed: bool
    data: Path
    offset: int | None

    @property
    def n_bytes(self) -> int:
        """Bytes of the voxels, unpacked."""
        return math.prod(self.shape) * self.channels * self.dtype.itemsize


def read(path: Path) -> tuple[npt.NDArray[Any], Affine, Any]:
    """Voxels with channels last, affine in RAS mm; the header is not kept.

    Uncompressed voxels are mapped: what is not looked at is not read. The array may be written to; the file stays.
    """
    header = read_header(path)
    try:
        stored = _unpacked(header) if header.compressed else _mapped(header)
    except FileNotFoundError:
        msg = f"{path}: its voxels, {header.data.name}, are missing. Copy that file beside the header."
        raise DataError(msg) from None
    except OSError as error:
        raise _unreadable(header.data, error.strerror or str(error)) from error
    array = stored.reshape((header.channels, *header.shape), order="F")
    array = np.moveaxis(array, 0, -1) if header.channels > 1 else array[0]
    return array.astype(array.dtype.newbyteorder("="), copy=False), header.affine_ras_mm, None


def read_geometry(path: Path) -> tuple[tuple[int, ...], Affine]:
    """Shape with channels last and affine, from the header."""
    header = read_header(path)
    return header.shape + ((header.channels,) if header.channels > 1 else ()), header.affine_ras_mm


def read_header(path: Path) -> Header:
    """The checked header of a file.

    Raises:
        DataError: When it is no MetaImage header, or says what no 3D volume of numbers in one file has.
    """
    fields, n_bytes = _fields(path)
    if _first(fields, "NDims") != "3":
        msg = f"{path}: NDims is {_first(fields, 'NDims') or 'missing'}. Wanted a 3D volume."
        raise DataError(msg)
    element = _first(fields, "ElementType")
    if element not in ELEMENT_TYPES:
        msg = f"{path}: ElementType {element or 'is missing'} is not one of {', '.join(ELEMENT_TYPES)}. Convert it."
        raise DataError(msg)
    if not _is_true(fields.get("BinaryData", "True")):
        msg = f"{path}: BinaryData is False: voxels written as text are not read. Save it again as binary."
        raise DataError(msg)
    data, offset = _place_of_data(path, fields, n_bytes)
    x, y, z = _whole(path, fields, "DimSize", count=3)
    order = _first(fields, "BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    return Header(
        path=path,
        shape=(x, y, z),
        channels=_whole(path, fields, "ElementNumberOfChannels", count=1)[0]
        if "ElementNumberOfChannels" in fields
        else 1,
        dtype=np.dtype(ELEMENT_TYPES[element]).newbyteorder(">" if _is_true(order) else "<"),
        affine_ras_mm=_affine(path, fields),
        compressed=_is_true(fields.get("CompressedData", "False")),
        data=data,
        offset=offset,
    )


def write(path: Path, array: npt.NDArray[Any], affine: Affine, _header: Any) -> None:
    """Write a .mha in LPS, compressed; channels as values of a voxel."""
    stored = array.astype(np.uint8) if array.dtype == np.bool_ else array
    element = next((name for name, code in ELEMENT_TYPES.items() if np.dtype(code) == stored.dtype), None)
    if element is None:
        msg = f"{path}: {stored.dtype} voxels have no place in a MetaImage file. Wanted whole numbers or float32."
        raise DataError(msg)
    channels = stored.shape[3] if stored.ndim == 4 else 1
    lying = np.moveaxis(stored, -1, 0) if stored.ndim == 4 else stored
    plain = lying.astype(stored.dtype.newbyteorder("<"), copy=False).tobytes(order="F")
    packed = zlib.compress(plain, 6 if stored.dtype == np.uint8 else 1)
    lps = lps_to_ras(affine)
    spacing = np.asarray(spacing_from_affine(lps))
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": str(len(packed)),
        "TransformMatrix": _numbers((lps[:3, :3] / spacing).T.ravel() + 0.0),
        "Offset": _numbers(lps[:3, 3]),
        "ElementSpacing": _numbers(spacing),
        "DimSize": " ".join(str(size) for size in stored.shape[:3]),
        **({"ElementNumberOfChannels": str(channels)} if channels > 1 else {}),
        "ElementType": element,
        _LAST_KEY: "LOCAL",
    }
    text = "".join(f"{key} = {value}\n" for key, value in fields.items())
    path.write_bytes(text.encode("ascii") + packed)


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Values by key up to `ElementDataFile`, which is the last, and the bytes that they take."""
    try:
        with path.open("rb") as file:
            start = file.read(_MOST_HEADER_BYTES)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    fields: dict[str, str] = {}
    n_bytes = 0
    for line in start.splitlines(keepends=True):
        n_bytes += len(line)
        key, equals, value = line.decode("utf-8", errors="replace").partition("=")
        if equals:
            fields[key.strip()] = value.strip()
        if key.strip() == _LAST_KEY:
            return fields, n_bytes
        if not equals and key.strip():
            break
    raise _unreadable(path, f"its header has no {_LAST_KEY} line")


def _place_of_data(path: Path, fields: Mapping[str, str], n_bytes: int) -> tuple[Path, int | None]:
    """The file of the voxels, and how many bytes stand before them."""
    name = fields[_LAST_KEY]
    if name.upper() == "LOCAL":
        return path, n_bytes
    if not name or name.upper().startswith("LIST") or "%" in name:
        msg = f"{path}: {_LAST_KEY} is {name[:40]!r}: slices in several files are not read. Save it as one file."
        raise DataError(msg)
    skipped = _first(fields, "HeaderSize") or "0"
    if skipped == "-1":
        return path.parent / name, None
    if not skipped.isdigit():
        msg = f"{path}: HeaderSize is {skipped[:40]!r}. Wanted a number of bytes, or -1."
        raise DataError(msg)
    return path.parent / name, int(skipped)


def _mapped(header: Header) -> npt.NDArray[Any]:
    """The voxels as they lie in the file; pages come when they are looked at."""
    size = header.data.stat().st_size
    offset = size - header.n_bytes if header.offset is None else header.offset
    if offset < 0 or size - offset != header.n_bytes:
        raise _wrong_size(header, size - max(offset, 0))
    # Copy on write: who changes the array changes no file.
    return np.memmap(header.data, dtype=header.dtype, mode="c", offset=offset).view(np.ndarray)


def _unpacked(header: Header) -> npt.NDArray[Any]:
    packed = header.data.read_bytes()[header.offset or 0 :]
    stream = zlib.decompressobj(wbits=47)  # zlib or gzip, as MetaIO takes both
    try:
        # One byte more than wanted tells a stream that is too long without unpacking all of it.
        plain = stream.decompress(packed, header.n_bytes + 1)
    except zlib.error as error:
        raise _unreadable(header.data, f"damaged compression, {error}") from error
    if len(plain) != header.n_bytes:
        raise _wrong_size(header, len(plain), more=len(plain) > header.n_bytes)
    stream.decompress(stream.unconsumed_tail, 1)
    if not stream.eof:
        raise _unreadable(header.data, "its compressed voxels end too soon")
    return np.frombuffer(bytearray(plain), dtype=header.dtype)


def _affine(path: Path, fields: Mapping[str, str]) -> Affine:
    """From LPS, once: the matrix has the direction of an axis in each row."""
    matrix = _numbers_of(path, fields, ("TransformMatrix", "Rotation", "Orientation"), default=np.eye(3).ravel())
    offset = _numbers_of(path, fields, ("Offset", "Position", "Origin"), default=np.zeros(3))
    if not {"ElementSpacing", "ElementSize"} & fields.keys():
        # ITK takes 1 mm, and every distance is wrong
        msg = f"{path}: no ElementSpacing. Wanted three sizes in mm: add the line, or mend its name."
        raise DataError(msg)
    spacing = _numbers_of(path, fields, ("ElementSpacing", "ElementSize"), default=np.ones(3))
    if not (spacing > 0).all():
        msg = f"{path}: ElementSpacing is {_numbers(spacing)}. Wanted three positive sizes in mm: mend the header."
        raise DataError(msg)
    return lps_to_ras(affine_from_parts(matrix.reshape(3, 3).T, spacing.tolist(), offset.tolist()))


def _numbers_of(
    path: Path, fields: Mapping[str, str], keys: tuple[str, ...], *, default: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    key = next((key for key in keys if key in fields), None)
    if key is None:
        return default
    try:
        numbers = np.array([float(text) for text in fields[key].split()])
    except ValueError:
        numbers = np.empty(0)
    if numbers.shape != default.shape or not np.isfinite(numbers).all():
        msg = f"{path}: {key} is {fields[key][:60]!r}. Wanted {default.size} numbers: mend the header."
        raise DataError(msg)
    return numbers


def _whole(path: Path, fields: Mapping[str, str], key: str, *, count: int) -> list[int]:
    texts = fields.get(key, "").split()
    if len(texts) != count or not all(text.isdecimal() and 0 < int(text) < _MOST_AXIS for text in texts):
        found = repr(fields[key][:60]) if key in fields else "missing"
        msg = f"{path}: {key} is {found}. Wanted {count} positive whole number{'s' * (count > 1)}: mend the header."
        raise DataError(msg)
    return [int(text) for text in texts]


def _first(fields: Mapping[str, str], *keys: str) -> str:
    return next((fields[key] for key in keys if key in fields), "")


def _is_true(text: str) -> bool:
    return text[:1] in ("T", "t", "1")  # as MetaIO takes it


def _numbers(values: npt.NDArray[np.float64]) -> str:
    return " ".join(repr(float(value)) for value in values)


def _wrong_size(header: Header, got: int, *, more: bool = False) -> DataError:
    shape = "x".join(str(size) for size in header.shape)
    told = f"{header.channels} x {header.dtype.name}" if header.channels > 1 else header.dtype.name
    size = f"more than {header.n_bytes}" if more else str(got)
    return DataError(
        f"{header.data}: {size} bytes of voxels; its header wants {header.n_bytes} ({shape}, {told}). "
        f"Copy or download it again."
    )


def _unreadable(path: Path, reason: str) -> DataError:
    return DataError(f"{path}: not a readable MetaImage file ({reason[-160:]}). Copy or download it again.")
