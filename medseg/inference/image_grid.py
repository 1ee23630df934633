"""The grid that a preprocessed image was read on, from what MONAI's transforms noted down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from monai.data.meta_tensor import MetaTensor
from monai.utils.enums import TraceKeys

from medseg.errors import DataError
from medseg.inference.native_grid import NativeGrid

_KNOWN = ("Orientation", "SpatialResample", "CropForeground")  # and the crop last


def grid_before(image: MetaTensor) -> NativeGrid | None:
    """Where the voxels of the scan lie on the image; None where `Invertd` has to find out.

    That is when something else than Orientation, Spacing and then CropForeground without padding was applied, or the
    grids are turned against each other.

    Args:
        image: Shape `(C, X, Y, Z)`, with its applied operations.
    """
    operations, crop = list(image.applied_operations), None
    names = [str(operation.get(TraceKeys.CLASS_NAME)) for operation in operations]
    if (
        any(name not in _KNOWN for name in names)
        or "CropForeground" in names[:-1]
        or "original_affine" not in image.meta
    ):
        return None
    if not operations:
        return NativeGrid.same(image.shape[1:])
    if names[-1] == "CropForeground":
        crop = operations[-1]
        if _is_padded(crop):
            return None
    try:
        return NativeGrid.of(
            tuple(int(size) for size in operations[0][TraceKeys.ORIG_SIZE]),
            np.asarray(image.meta["original_affine"], dtype=np.float64),
            network_affine_ras_mm=image.affine.numpy(),
            network_shape=tuple(image.shape[1:]),
            crop_start=(0, 0, 0) if crop is None else [int(n) for n in crop[TraceKeys.EXTRA_INFO]["cropped"][::2]],
            uncropped_shape=None if crop is None else [int(size) for size in crop[TraceKeys.ORIG_SIZE]],
        )
    except DataError:
        return None


def _is_padded(crop: Mapping[str, Any]) -> bool:
    info = crop[TraceKeys.EXTRA_INFO].get("pad_info") or {}
    return bool(np.any(np.asarray(info.get(TraceKeys.EXTRA_INFO, {}).get("padded", 0)) != 0))
