"""Intensity normalisation that a large lesion does not shift."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform

from medseg.kernels.intensity import normalize
from medseg.transforms.intensity import fits_kernels, with_voxels


class NormalizeByMediand(MapTransform):
    """Subtracts the median of the non-zero voxels and divides by their standard deviation, channel by channel.

    The mean moves with the size and contrast of a lesion and of the ventricles, so that healthy tissue comes out
    brighter in one case than in another; the median stays in healthy tissue while that is more than half of the
    organ. Zero is background and stays zero.

    Args:
        keys: Keys of images `(C, X, Y, Z)`.
        allow_missing_keys: Whether an item without a key passes.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Normalises one item; its input tensors stay as they were. A constant channel becomes zero."""
        item = dict(data)
        for key in self.key_iterator(item):
            image = item[key]
            ours = image.dtype == torch.float32 and fits_kernels(image, torch.float32)
            item[key] = _normalized(image) if ours else _normalized_on_device(image)
        return item


def _normalized(image: torch.Tensor) -> torch.Tensor:
    found = with_voxels(image, _by_median)
    return found if isinstance(image, MetaTensor) else found.as_tensor()


def _by_median(voxels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    out, threads = np.zeros(voxels.shape, dtype=np.float32), torch.get_num_threads()
    for channel, target in zip(voxels, out, strict=True):
        normalize(channel, nonzero=True, centre="median", threads=threads, out=target)
    return out


def _normalized_on_device(image: torch.Tensor) -> torch.Tensor:
    """The torch twin."""
    found = image.clone()
    for channel in found:
        tissue = channel != 0
        values = channel[tissue]
        if len(values):
            spread = values.std(correction=0)
            channel[tissue] = (values - values.median()) / (spread if spread > 0 else 1)
    return found
