"""Label maps to the network's region channels and back, by a declared convention."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform

from medseg.labels import Declared, get_convention, labels_to_regions, regions_to_labels, settle_regions


class LabelsToRegionsd(MapTransform):
    """Turns a label map `(1, X, Y, Z)` into region masks `(R, X, Y, Z)` in uint8.

    Args:
        keys: Keys of the label maps.
        convention: Name of a label convention in `medseg.labels.CONVENTIONS`, or label values by region.
        allow_missing_keys: Whether an item without a key passes.
    """

    def __init__(self, keys: KeysCollection, convention: Declared, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.convention = get_convention(convention)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Converts one item.

        Raises:
            DataError: When a label value lies outside the convention.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            where = f"{item.get('case_id', 'case')}: {key}"
            masks = labels_to_regions(item[key].numpy()[0], self.convention, where=where)
            item[key] = _like(item[key], torch.from_numpy(masks.view(np.uint8)))
        return item


class RegionsToLabelsd(MapTransform):
    """Paints region masks `(R, X, Y, Z)` into a label map `(1, X, Y, Z)` in uint8, inverse of `LabelsToRegionsd`.

    Args:
        keys: Keys of the masks.
        convention: Name of a label convention in `medseg.labels.CONVENTIONS`, or label values by region.
        allow_missing_keys: Whether an item without a key passes.
    """

    def __init__(self, keys: KeysCollection, convention: Declared, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.convention = get_convention(convention)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Converts one item."""
        item = dict(data)
        for key in self.key_iterator(item):
            labels = regions_to_labels(item[key].cpu().numpy().astype(bool), self.convention)
            item[key] = _like(item[key], torch.from_numpy(labels[None]))
        return item


class SettleRegionsd(MapTransform):
    """Turns probabilities `(R, X, Y, Z)` into region masks in uint8.

    Of regions that exclude each other, a voxel has the likeliest; of those that overlap, any.

    Args:
        keys: Keys of the probabilities.
        convention: Name of a label convention in `medseg.labels.CONVENTIONS`, or label values by region.
        threshold: Least probability.
        allow_missing_keys: Whether an item without a key passes.
    """

    def __init__(
        self, keys: KeysCollection, convention: Declared, threshold: float = 0.5, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.convention = get_convention(convention)
        self.threshold = threshold

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Converts one item."""
        item = dict(data)
        for key in self.key_iterator(item):
            masks = settle_regions(item[key].cpu().numpy(), self.convention, threshold=self.threshold)
            item[key] = _like(item[key], torch.from_numpy(masks.view(np.uint8)))
        return item


def _like(source: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    if isinstance(source, MetaTensor):
        return MetaTensor(values, meta=source.meta, applied_operations=source.applied_operations)
    return values
