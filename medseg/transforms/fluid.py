"""Random pockets of fluid, in the lesion and in healthy tissue alike."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform, RandomizableTransform


class RandFluidPocketsd(RandomizableTransform, MapTransform):
    """Fills ellipsoids with fluid of any brightness; the label stays.

    Necrosis is bright on FLAIR in one patient and as dark as cerebrospinal fluid in the next, and ventricles are wide
    in one and collapsed in another. A few training cases do not show it all, so that a network takes every dark hole
    for healthy, or for tumour. Where the pockets lie in both, only what surrounds a hole tells what it is.

    Args:
        keys: Keys of normalised images `(C, X, Y, Z)`, 0 outside the body.
        label_key: Key of the region masks `(R, X, Y, Z)`.
        inside: Channel of the region, such as TC, in which half of the pockets are centred where there is any.
        prob: Probability per item.
        max_pockets: An item gets 1 to this many.
        radii_vox: Bounds of each semi-axis, voxels.
        levels: Bounds of the fluid's intensity in each channel, standard deviations of the normalised image.
        strengths: Bounds of the blend: 0 leaves the tissue, 1 replaces it.
        allow_missing_keys: Whether an item without a key passes.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str,
        inside: int,
        prob: float = 0.5,
        max_pockets: int = 4,
        radii_vox: tuple[float, float] = (4.0, 18.0),
        levels: tuple[float, float] = (-3.2, 1.0),
        strengths: tuple[float, float] = (0.5, 1.0),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.label_key = label_key
        self.inside = inside
        self.max_pockets = max_pockets
        self.radii_vox = tuple(radii_vox)
        self.levels = tuple(levels)
        self.strengths = tuple(strengths)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Transforms one item; its input tensors stay as they were."""
        item = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return item
        region = np.asarray(item[self.label_key][self.inside]) > 0
        for key in self.key_iterator(item):
            image = item[key].clone()
            body = np.asarray(image[0]) != 0
            for _ in range(self.R.randint(1, self.max_pockets + 1)):
                centre = self._centre(region if self.R.rand() < 0.5 and region.any() else body)
                if centre is not None:
                    self._fill(image, centre)
            item[key] = image
        return item

    def _centre(self, mask: npt.NDArray[np.bool_]) -> tuple[int, ...] | None:
        places = np.flatnonzero(mask)
        if not len(places):
            return None
        return tuple(int(i) for i in np.unravel_index(places[self.R.randint(len(places))], mask.shape))

    def _fill(self, image: torch.Tensor, centre: tuple[int, ...]) -> None:
        """Blends one ellipsoid into `(C, X, Y, Z)` in place; its last tenth fades out."""
        radii = self.R.uniform(*self.radii_vox, size=3)
        box = tuple(
            slice(max(0, int(c - r)), min(size, int(c + r) + 2))
            for c, r, size in zip(centre, radii, image.shape[1:], strict=True)
        )
        axes = np.ogrid[box]
        reach = np.sqrt(sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, centre, radii, strict=True)))
        share = torch.from_numpy(np.clip((1 - reach) * 10, 0, 1).astype(np.float32))
        for channel in image:
            level, strength = self.R.uniform(*self.levels), self.R.uniform(*self.strengths)
            tissue = channel[box]
            channel[box] = tissue + strength * share * (tissue != 0) * (level - tissue)
