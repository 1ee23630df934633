"""Reading label maps for scoring: whole numbers on one grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.metrics.segmentation import Labels
from medseg.volumes import Volume, check_same_grid, read_volume

_UINT8_MAX = 255


def read_labels(path: Path, *, case_id: str) -> Volume:
    """Read a label map of any type whose values are whole numbers from 0.

    Returns:
        The volume with its values as uint8, or as int64 when one is above 255.

    Raises:
        DataError: When the file is unreadable, has channels, or a value is negative, fractional or not finite.
    """
    try:
        volume = read_volume(path)
    except DataError as error:
        msg = f"{case_id}: {error}"
        raise DataError(msg) from error
    where = f"{case_id}: {path}"
    if volume.array.ndim != 3:
        msg = f"{where}: shape {volume.shape} has channels. Wanted one label map (X, Y, Z); take the argmax first."
        raise DataError(msg)
    labels = _whole_numbers(volume.array, where=where)
    return Volume(array=labels, affine_ras_mm=volume.affine_ras_mm, path=path, header=volume.header)


def _whole_numbers(array: npt.NDArray[Any], *, where: str) -> npt.NDArray[Any]:
    if array.dtype in (np.dtype(np.uint8), np.dtype(bool)):
        return array.view(np.uint8)
    if array.dtype.kind not in "iuf":
        msg = f"{where}: voxels of type {array.dtype} are no labels. Wanted whole numbers."
        raise DataError(msg)
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        msg = f"{where}: NaN or infinite voxels in a label map. Wanted whole numbers; write the labels again."
        raise DataError(msg)
    labels = array.astype(np.uint8 if low >= 0 and high <= _UINT8_MAX else np.int64)
    if low < 0 or (array.dtype.kind == "f" and not np.array_equal(labels, array)):
        strange = float(low if low < 0 else array[labels != array].flat[0])
        msg = f"{where}: {strange:g} is no label value. Wanted whole numbers from 0; resample labels to the nearest."
        raise DataError(msg)
    return labels


def check_pair(reference: Volume, prediction: Volume, *, case_id: str) -> None:
    """Refuse a prediction that does not lie on its reference's grid.

    Raises:
        DataError: When shape or affine differ.
    """
    check_same_grid(
        prediction.shape,
        prediction.affine_ras_mm,
        reference_shape=reference.shape,
        reference_affine=reference.affine_ras_mm,
        where=f"{case_id}: prediction {prediction.path} against reference {reference.path}",
    )


def pack_labels(
    reference: npt.NDArray[Any], prediction: npt.NDArray[Any], *, case_id: str
) -> tuple[Labels, Labels, list[int]]:
    """Two label maps as uint8, and the value that each packed number stands for.

    Raises:
        DataError: When the maps hold more than 255 different labels.
    """
    if reference.dtype == prediction.dtype == np.uint8:
        return reference, prediction, list(range(_UINT8_MAX + 1))
    values = np.union1d([0], np.union1d(reference, prediction))
    if values.size > _UINT8_MAX + 1:
        msg = f"{case_id}: {values.size - 1} different labels, at most {_UINT8_MAX} can be scored. Is this a scan?"
        raise DataError(msg)
    packed = [np.searchsorted(values, array).astype(np.uint8) for array in (reference, prediction)]
    return packed[0], packed[1], values.tolist()
