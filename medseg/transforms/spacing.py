"""MONAI's Spacingd on the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import monai.transforms
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.utils.enums import TraceKeys

from medseg.transforms.lookup import can_look_up
from medseg.transforms.settle import done_at_once, moved_voxels


class Spacingd(monai.transforms.Spacingd):
    """MONAI's `Spacingd`, tens of times as fast; the same arguments, metadata, lazy application and inverse.

    Linear and nearest lookup of 3D images by the compiled kernels, on a GPU by torch; everything else by MONAI. The
    arithmetic is float32 at float64 positions, whatever `dtype` says: within 1e-3 of MONAI's float64 on HU. Nearest
    lookup takes the even one of two voxels that are as near. Beyond the last voxel its value holds, with
    `padding_mode="border"`.
    """

    def __init__(self, keys: KeysCollection, pixdim: Sequence[float] | float, *args: Any, **kwargs: Any) -> None:
        super().__init__(keys, pixdim, *args, **kwargs)
        theirs = self.spacing_transform.sp_resample
        self.spacing_transform.sp_resample = SpatialResample(
            mode=theirs.mode,
            padding_mode=theirs.padding_mode,
            align_corners=theirs.align_corners,
            dtype=theirs.dtype,
            lazy=theirs.lazy,
        )


class SpatialResample(monai.transforms.SpatialResample):
    """MONAI's `SpatialResample`, whose name stands in the metadata: its bookkeeping, our voxels."""

    def __call__(  # type: ignore[override]
        self, img: torch.Tensor, *args: Any, lazy: bool | None = None, **kwargs: Any
    ) -> torch.Tensor:
        """The image on another grid; MONAI's arguments."""
        mode = _name(kwargs.get("mode") or self.mode)
        padding = _name(kwargs.get("padding_mode") or self.padding_mode)
        lazily = self.lazy if lazy is None else lazy
        # align_corners makes MONAI sample other places
        aligned = self.align_corners if kwargs.get("align_corners") is None else kwargs["align_corners"]
        tracked = isinstance(img, MetaTensor) and get_track_meta() and not img.pending_operations
        if lazily or aligned or not tracked or not can_look_up(img, mode, padding):
            return super().__call__(img, *args, lazy=lazy, **kwargs)
        info = self.get_transform_info()
        with self.trace_transform(True):  # the inverse runs untraced, and a lazy call would leave no trace
            later = super().__call__(img, *args, lazy=True, **kwargs)
        return done_at_once(img, later, info=info, voxels=partial(moved_voxels, img, mode=mode, padding=padding))

    def inverse(self, data: torch.Tensor) -> torch.Tensor:
        """MONAI's, which calls MONAI's own class by name."""
        transform = self.pop_transform(data)
        asked = dict(transform[TraceKeys.EXTRA_INFO])
        if asked.get("align_corners") in (TraceKeys.NONE, None):
            asked["align_corners"] = False
        with self.trace_transform(False):
            return self(
                data,
                dst_affine=asked["src_affine"],
                spatial_size=transform[TraceKeys.ORIG_SIZE],
                mode=asked["mode"],
                padding_mode=asked["padding_mode"],
                align_corners=asked["align_corners"],
                dtype=getattr(torch, asked["dtype"]),
                lazy=False,
            )


def _name(option: Any) -> str:
    return str(getattr(option, "value", option))
