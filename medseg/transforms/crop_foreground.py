"""MONAI's CropForegroundd with a compiled search for the box."""

from __future__ import annotations

from typing import Any

import monai.transforms
import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.utils import compute_divisible_spatial_size, is_positive
from monai.utils.misc import ensure_tuple_rep

from medseg.kernels.foreground import box_above

_TYPES = (torch.float32, torch.float64, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class CropForegroundd(monai.transforms.CropForegroundd):
    """MONAI's `CropForegroundd`; the same arguments, boxes, metadata, lazy application and inverse.

    The box of the voxels above 0, which is the default, of 3D images on a CPU comes from the compiled kernel; with
    another `select_fn` it is found as MONAI does.
    """

    cropper: monai.transforms.CropForeground

    def __init__(self, keys: KeysCollection, source_key: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(keys, source_key, *args, **kwargs)
        theirs: monai.transforms.CropForeground = self.cropper
        ours = CropForeground(
            select_fn=theirs.select_fn,
            channel_indices=theirs.channel_indices,
            margin=theirs.margin,
            allow_smaller=theirs.allow_smaller,
            k_divisible=theirs.k_divisible,
            lazy=theirs.lazy,
        )
        ours.padder = theirs.padder
        self.cropper = ours


class CropForeground(monai.transforms.CropForeground):
    """MONAI's `CropForeground`, whose name stands in the metadata, with another search for the box."""

    def compute_bounding_box(self, img: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """First voxels of the box and those after its last ones."""
        if not self._is_ours(img):
            return super().compute_bounding_box(img)
        voxels = img.detach().as_tensor() if isinstance(img, MetaTensor) else img.detach()
        some = voxels if self.channel_indices is None else voxels[list(self.channel_indices)]
        stored = some.numpy()
        axes = sorted(range(1, 4), key=lambda axis: -stored.strides[axis])  # read as it lies in memory
        found = box_above(stored.transpose(0, *axes), threads=torch.get_num_threads())
        box = None if found is None else [found[axes.index(axis)] for axis in (1, 2, 3)]
        margins = ensure_tuple_rep(self.margin, 3)
        if box is None or min(margins) < 0:
            return super().compute_bounding_box(img)  # its answer, or its error
        first = np.array([side[0] for side in box]) - margins
        last = np.array([side[1] for side in box]) + margins
        if self.allow_smaller:
            first, last = np.maximum(first, 0), np.minimum(last, np.array(img.shape[1:]))
        size = np.asarray(compute_divisible_spatial_size((last - first).tolist(), k=self.k_divisible))
        first = first - (size - (last - first)) // 2
        return first, first + size

    def _is_ours(self, img: Any) -> bool:
        known = self.select_fn is is_positive and isinstance(img, torch.Tensor) and img.ndim == 4
        settled = not (isinstance(img, MetaTensor) and img.pending_operations)
        return bool(known and settled and img.device.type == "cpu" and img.dtype in _TYPES and img.numel())
