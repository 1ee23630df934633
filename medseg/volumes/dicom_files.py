"""DICOM series: a folder of slices read as one volume, refused when a slice is missing."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.errors import ConfigError, DataError
from medseg.volumes.geometry import Affine, lps_to_ras

_MAGIC, _MAGIC_AT = b"DICM", 128  # DICOM PS3.10, section 7.1
_NEVER_A_SLICE = (
    ".json",
    ".csv",
    ".txt",
    ".xml",
    ".md",
    ".png",
    ".jpg",
    ".gz",
    ".nii",
    ".nrrd",
    ".mha",
    ".mhd",
    ".raw",
)
_SAME_PLACE_MM = 1e-3
_STEP_TOLERANCE = 0.02  # share of a step; positions are rounded to some digits
_SAME_DIRECTION = 1e-3  # of direction cosines
_READERS = 8  # files at once
_TAGS = (
    "SeriesInstanceUID",
    "SeriesDescription",
    "Modality",
    "NumberOfFrames",
    "SamplesPerPixel",
    "Rows",
    "Columns",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
)


def is_dicom(path: Path) -> bool:
    """Whether a file starts as DICOM files do."""
    if path.suffix.lower() in _NEVER_A_SLICE:
        return False
    try:
        with path.open("rb") as file:
            file.seek(_MAGIC_AT)
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def holds_series(folder: Path) -> bool:
    """Whether DICOM files lie in the folder itself."""
    return folder.is_dir() and any(is_dicom(path) for path in _files(folder))


def read(folder: Path) -> tuple[npt.NDArray[Any], Affine, Any]:
    """Voxels `(X, Y, Z)`, affine in RAS mm, and None for a header that DICOM does not share with NIfTI.

    x runs along the rows of pixels, y down their columns, z through the slices. The stored type is kept where no slice
    has a rescale slope or intercept; else float32.
    """
    slices = _sorted_slices(folder, pixels=True)
    with ThreadPoolExecutor(max_workers=_READERS) as pool:
        planes = list(pool.map(lambda one: _pixels(one, folder), slices))
    return np.stack(planes, axis=-1), _affine(slices), None


def read_geometry(folder: Path) -> tuple[tuple[int, ...], Affine]:
    """Shape and affine, from the headers."""
    slices = _sorted_slices(folder, pixels=False)
    return (int(slices[0].Columns), int(slices[0].Rows), len(slices)), _affine(slices)


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.name != "DICOMDIR" and p.is_file())


def _sorted_slices(folder: Path, *, pixels: bool) -> list[Any]:
    """The slices of the only series, in order along its normal, evenly spaced.

    Raises:
        DataError: When there is no series, more than one, a slice is missing or twice, or slices do not fit together.
    """
    files = _files(folder)
    # The waiting for a disk or a network share overlaps; the order, and so the error that is told, stays.
    with ThreadPoolExecutor(max_workers=max(1, min(_READERS, len(files)))) as pool:
        found = pool.map(lambda path: _slice(path, pixels=pixels) if is_dicom(path) else None, files)
        slices = [one for one in found if one is not None]
    _check_one_series(folder, slices)
    for one in slices:
        _check_alike(folder, one, slices[0])
    if len(slices) < 2:
        msg = f"{folder}: the series has one slice. Wanted a volume: two slices or more."
        raise DataError(msg)
    normal = _normal(slices[0])
    slices.sort(key=lambda one: float(_position(one) @ normal))
    _check_steps(folder, slices, normal)
    return slices


def _header(pydicom: Any, path: Path) -> Any:
    return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))


def _slice(path: Path, *, pixels: bool) -> Any:
    """A file's tags, None when it is no picture of a plane (a report, a segmentation, an index)."""
    pydicom = _pydicom()
    try:
        one = pydicom.dcmread(path) if pixels else _header(pydicom, path)
    except Exception as error:  # pydicom raises whatever a damaged file leads it to
        msg = f"{path}: not a readable DICOM file ({_reason(error)}). Copy or export it again."
        raise DataError(msg) from error
    if one.get("Modality") in ("SEG", "SR", "PR", "KO", "RTSTRUCT"):
        return None
    if int(one.get("NumberOfFrames") or 1) > 1:
        msg = f"{path}: an enhanced DICOM file with {one.NumberOfFrames} frames. Convert it to NIfTI, as dcm2niix does."
        raise DataError(msg)
    if "Rows" not in one:
        if "Modality" in one:
            return None
        msg = f"{path}: a damaged DICOM file: it says neither what it is nor how large. Copy or export it again."
        raise DataError(msg)
    missing = [tag for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing") if not one.get(tag)]
    if missing:
        msg = f"{path}: the slice does not say where it lies (no {', '.join(missing)}). Export the series again."
        raise DataError(msg)
    if int(one.get("SamplesPerPixel") or 1) != 1:
        msg = f"{path}: a colour picture. Give the series of the scan itself."
        raise DataError(msg)
    return one


def _check_one_series(folder: Path, slices: Sequence[Any]) -> None:
    counts: dict[str, int] = {}
    names: dict[str, str] = {}
    for one in slices:
        uid = str(one.get("SeriesInstanceUID"))
        counts[uid] = counts.get(uid, 0) + 1
        names[uid] = str(one.get("SeriesDescription") or uid)
    if not counts:
        msg = f"{folder}: no DICOM slice of a scan here. Give the folder of the series."
        raise DataError(msg)
    if len(counts) > 1:
        told = ", ".join(f"{names[uid]} ({count})" for uid, count in counts.items())
        msg = f"{folder}: {len(counts)} DICOM series in one folder: {told}. Put each into a folder of its own."
        raise DataError(msg)


def _check_alike(folder: Path, one: Any, first: Any) -> None:
    for tag in ("Rows", "Columns"):
        if one.get(tag) != first.get(tag):
            msg = f"{folder}: {tag} is {one.get(tag)} in {_file(one)}, but {first.get(tag)} in {_file(first)}. "
            raise DataError(msg + "Slices of one scan are alike: take the odd one out.")
    for tag, tolerance in (("ImageOrientationPatient", _SAME_DIRECTION), ("PixelSpacing", _SAME_PLACE_MM)):
        if not np.allclose(_numbers(one, tag), _numbers(first, tag), rtol=0, atol=tolerance):
            msg = f"{folder}: {tag} of {_file(one)} differs from that of {_file(first)}. "
            raise DataError(msg + "Slices of one scan are parallel: take the odd one out.")


def _check_steps(folder: Path, slices: Sequence[Any], normal: npt.NDArray[np.float64]) -> None:
    """Refuse slices that are not evenly spaced: one that is missing would shorten the body in silence."""
    places = np.array([float(_position(one) @ normal) for one in slices])
    steps = np.diff(places)
    usual = float(np.median(steps))
    at = int(np.argmax(np.abs(steps - usual)))
    pair = f"{_file(slices[at])} and {_file(slices[at + 1])}"
    if steps.min() < _SAME_PLACE_MM:
        at = int(np.argmin(steps))
        pair = f"{_file(slices[at])} and {_file(slices[at + 1])}"
        msg = f"{folder}: {pair} lie in the same place. Give one scan, without repetitions, echoes or doubles."
        raise DataError(msg)
    if abs(steps[at] - usual) > _STEP_TOLERANCE * usual:
        gap = f"{pair} are {steps[at]:.3g} mm apart, the others {usual:.3g} mm"
        missing = round(steps[at] / usual) - 1
        what = f"{missing} slice{'s' * (missing != 1)} missing" if missing > 0 else "slices are unevenly spaced"
        msg = f"{folder}: {what}: {gap}. Export the whole series again."
        raise DataError(msg)


def _affine(slices: Sequence[Any]) -> Affine:
    """Voxel to RAS mm; DICOM PS3.3, section C.7.6.2.1.1, equation C.7.6.2.1-1, which is in LPS."""
    cosines = _numbers(slices[0], "ImageOrientationPatient")
    row_mm, column_mm = _numbers(slices[0], "PixelSpacing")  # between rows, between columns
    first, last = _position(slices[0]), _position(slices[-1])
    affine = np.eye(4)
    affine[:3, 0] = cosines[:3] * column_mm
    affine[:3, 1] = cosines[3:] * row_mm
    affine[:3, 2] = (last - first) / (len(slices) - 1)
    affine[:3, 3] = first
    return lps_to_ras(affine)


def _pixels(one: Any, folder: Path) -> npt.NDArray[Any]:
    try:
        stored: npt.NDArray[Any] = one.pixel_array
    except Exception as error:  # as above; a codec that is not installed comes as RuntimeError
        syntax = one.file_meta.TransferSyntaxUID.name
        msg = f"{folder}: {_file(one)}: the pixels could not be read ({syntax}: {_reason(error)}). "
        msg += "Convert the series with dcm2niix, or install a codec: pip install pylibjpeg[all]."
        raise DataError(msg) from error
    slope, intercept = float(one.get("RescaleSlope") or 1), float(one.get("RescaleIntercept") or 0)
    plane = stored.T
    if (slope, intercept) == (1.0, 0.0):
        return plane
    return plane.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _position(one: Any) -> npt.NDArray[np.float64]:
    return _numbers(one, "ImagePositionPatient")


def _normal(one: Any) -> npt.NDArray[np.float64]:
    cosines = _numbers(one, "ImageOrientationPatient")
    return np.cross(cosines[:3], cosines[3:])


def _numbers(one: Any, tag: str) -> npt.NDArray[np.float64]:
    return np.array([float(value) for value in one[tag].value], dtype=np.float64)


def _file(one: Any) -> str:
    return Path(str(one.filename)).name


def _reason(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:120]


def _pydicom() -> Any:
    try:
        import pydicom
    except ImportError:
        msg = "reading DICOM needs pydicom. Install it: pip install 'medseg[dicom]'."
        raise ConfigError(msg) from None
    return pydicom
