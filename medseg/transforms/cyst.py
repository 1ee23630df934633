"""Random cysts: the core of a tumour filled with fluid of any brightness."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform, RandomizableTransform


class RandCystd(RandomizableTransform, MapTransform):
    """Blends the core of a lesion towards one intensity in some channels, such as FLAIR.

    A necrotic core is bright on FLAIR in one patient and as dark as cerebrospinal fluid in the next, where it has
    become fluid; a few training cases do not show both. Such a core is still core: the label stays. On T1 it is dark
    either way, though less so than the ventricles, and that difference is worth keeping.

    Args:
        keys: Keys of normalised images `(C, X, Y, Z)`.
        label_key: Key of the region masks `(R, X, Y, Z)`.
        inside: Channel of the region whose core is filled, such as TC.
        outside: Channel of the region within it that keeps its contrast, such as ET.
        channels: Channels of the image that change, each with draws of its own; none: the item passes as it is.
        prob: Probability per item.
        levels: Bounds of the fluid's intensity, in standard deviations of the normalised image.
        strengths: Bounds of the blend: 0 leaves the tissue, 1 replaces it.
        allow_missing_keys: Whether an item without a key passes.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str,
        inside: int,
        outside: int,
        channels: Sequence[int],
        prob: float = 0.3,
        levels: tuple[float, float] = (-2.7, 1.0),
        strengths: tuple[float, float] = (0.5, 1.0),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.label_key = label_key
        self.inside = inside
        self.outside = outside
        self.channels = tuple(channels)
        self.levels = tuple(levels)
        self.strengths = tuple(strengths)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Transforms one item; its input tensors stay as they were."""
        item = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return item
        regions = torch.as_tensor(item[self.label_key])
        core = (regions[self.inside] > 0) & (regions[self.outside] == 0)
        # a soft edge: fluid and tissue share the voxels between them
        soft = torch.nn.functional.avg_pool3d(core[None].float(), 3, stride=1, padding=1)[0] * core
        for key in self.key_iterator(item):
            image = item[key].clone()
            for channel in self.channels:
                level, strength = self.R.uniform(*self.levels), self.R.uniform(*self.strengths)
                image[channel] += strength * soft * (level - image[channel])
            item[key] = image
        return item
