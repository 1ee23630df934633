"""MetaImage files (.mha, .mhd), through itk, imported when the first such file comes: it takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.volumes.geometry import Affine, affine_from_parts, lps_to_ras, spacing_from_affine


def read(path: Path) -> tuple[npt.NDArray[Any], Affine, Any]:
    """Voxels with channels last, affine in RAS mm; the header is not kept."""
    import itk

    # First the header: itk.imread of a damaged one takes the process down or says nothing.
    shape, affine = read_geometry(path)
    try:
        image = itk.imread(str(path))
        array = np.asarray(itk.array_from_image(image))
    except (RuntimeError, TypeError, KeyError, OSError) as error:
        raise _unreadable(path, error) from error
    # ITK's arrays are (z, y, x) with the channels behind.
    order = (2, 1, 0) if len(shape) == 3 or array.ndim == 3 else (2, 1, 0, 3)
    return np.transpose(array, order), affine, None


def read_geometry(path: Path) -> tuple[tuple[int, ...], Affine]:
    """Shape with channels last and affine, from the header."""
    import itk

    try:
        reader = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
        if reader is None:
            raise _unreadable(path, ValueError("no reader takes it"))
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
    except (RuntimeError, OSError) as error:
        raise _unreadable(path, error) from error
    if reader.GetNumberOfDimensions() != 3:
        msg = f"{path}: {reader.GetNumberOfDimensions()} axes. Wanted a 3D volume."
        raise DataError(msg)
    channels = reader.GetNumberOfComponents()
    shape = tuple(int(reader.GetDimensions(i)) for i in range(3)) + ((int(channels),) if channels > 1 else ())
    direction = np.array([list(reader.GetDirection(i)) for i in range(3)]).T
    spacing = [float(reader.GetSpacing(i)) for i in range(3)]
    origin = [float(reader.GetOrigin(i)) for i in range(3)]
    return shape, lps_to_ras(affine_from_parts(direction, spacing, origin))


def write(path: Path, array: npt.NDArray[Any], affine: Affine, _header: Any) -> None:
    """Write in LPS, compressed; channels as vector components."""
    import itk

    lps = lps_to_ras(affine)
    spacing = spacing_from_affine(lps)
    order = (2, 1, 0, 3) if array.ndim == 4 else (2, 1, 0)
    image = itk.image_from_array(np.ascontiguousarray(array.transpose(order)), is_vector=array.ndim == 4)
    image.SetSpacing(spacing)
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(lps[:3, :3] / np.asarray(spacing))))
    try:
        itk.imwrite(image, str(path), compression=True)
    except RuntimeError as error:
        raise OSError(" ".join(str(error).split())[-160:]) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path}: not a readable MetaImage file ({reason[-160:]}). Copy or download it again.")
