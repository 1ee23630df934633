"""Taking specks out of predicted regions."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform
from scipy import ndimage

from medseg.errors import ConfigError


class DropSmallComponentsd(MapTransform):
    """Removes connected components that are small beside the largest one, from nested region masks `(R, X, Y, Z)`.

    Components (26 neighbours) are judged in the outermost region. What is removed there is removed from every region,
    so that the regions stay nested.

    Args:
        keys: Keys of the masks, values 0 and 1.
        share: Components below this share of the largest one's voxels go; 0 keeps all, 1 keeps the largest.
        outer: Channel of the outermost region.
        allow_missing_keys: Whether an item without a key passes.
    """

    def __init__(self, keys: KeysCollection, share: float, outer: int = 0, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        if not 0 <= share <= 1:
            msg = f"DropSmallComponentsd: share {share} is outside 0 to 1."
            raise ConfigError(msg)
        self.share = share
        self.outer = outer

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Cleans one item."""
        item = dict(data)
        for key in self.key_iterator(item):
            specks = small_components(item[key][self.outer].cpu().numpy() > 0, share=self.share)
            item[key] = item[key] * torch.from_numpy(~specks).to(item[key].device)
        return item


def small_components(mask: npt.NDArray[np.bool_], *, share: float) -> npt.NDArray[np.bool_]:
    """The voxels of components that hold fewer than `share` times the voxels of the largest one.

    >>> small_components(np.array([[[1, 1, 1, 0, 1]]], dtype=bool), share=0.5).astype(int).tolist()
    [[[0, 0, 0, 0, 1]]]
    """
    components, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    if count < 2:
        return np.zeros_like(mask)
    sizes = np.bincount(components.ravel())[1:]
    small = np.concatenate([[False], sizes < share * sizes.max()])
    return np.asarray(small[components])
