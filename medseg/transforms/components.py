"""Taking specks out of predicted regions."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform

from medseg.errors import ConfigError
from medseg.labels.components import small_components


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
