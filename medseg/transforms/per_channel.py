"""Random intensity transforms drawn anew for each channel."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.compose import Compose
from monai.transforms.transform import MapTransform, Randomizable

MAX_SEED = 2**32 - 1


class RandPerChanneld(Randomizable, MapTransform):
    """Applies MONAI's array transforms to each channel with draws of its own.

    Modalities of one case vary independently between scanners, while most of MONAI's random intensity transforms
    draw once for all channels.

    Args:
        keys: Keys of images `(C, X, Y, Z)`.
        transforms: Array transforms, applied in order to each channel `(1, X, Y, Z)`; they must keep the shape.
        allow_missing_keys: Whether an item without a key passes.
    """

    def __init__(
        self, keys: KeysCollection, transforms: Sequence[Callable[..., Any]], allow_missing_keys: bool = False
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.pipeline = Compose(transforms)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandPerChanneld:
        """Seeds itself and, from itself, the transforms within."""
        super().set_random_state(seed=seed, state=state)
        self.pipeline.set_random_state(seed=int(self.R.randint(MAX_SEED, dtype="uint32")))
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Transforms one item; its input tensors stay as they were."""
        item = dict(data)
        for key in self.key_iterator(item):
            image = item[key].clone()
            for channel in range(len(image)):
                image[channel : channel + 1] = torch.as_tensor(self.pipeline(image[channel : channel + 1]))
            item[key] = image
        return item
