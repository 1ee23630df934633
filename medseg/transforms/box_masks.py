"""Boxes from masks, so that both kinds of annotation train; and masks of boxes, for viewers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.transforms.transform import Transform

from medseg.errors import ConfigError, DataError
from medseg.transforms.box_tensors import box_tensor, boxes_of, moved, plain, spatial_shape
from medseg.volumes.box_masks import SHAPES, mask_boxes, paint_boxes

OBJECTS = ("instances", "components")


class MaskToBoxesd(Transform):
    """The boxes around the objects of a mask, in edge coordinates of the mask's grid, as float32 `(N, 6)`.

    An empty mask gives `(0, 6)`. The box of a small object is as coarse as the mask: take it on the native grid, then
    `BoxesToWorldd`, and `BoxesToVoxeld` on the grid that the network sees.

    Args:
        mask_key: Key of the mask `(1, X, Y, Z)`, 0 outside.
        box_key: Key of the boxes.
        label_key: Key of the classes, int64 `(N,)`.
        objects: `instances`: every value is one object, all of class 0. `components`: every connected component
            (26 neighbours) is one, and values are classes: 1 is class 0, 2 is class 1, and so on.
        min_voxels: Objects of fewer voxels are left out.
    """

    def __init__(
        self,
        mask_key: str = "mask",
        box_key: str = "box",
        label_key: str = "label",
        *,
        objects: str = "instances",
        min_voxels: int = 1,
    ) -> None:
        if objects not in OBJECTS:
            msg = f"MaskToBoxesd: objects is {objects!r}. Wanted {' or '.join(OBJECTS)}."
            raise ConfigError(msg)
        self.mask_key, self.box_key, self.label_key = mask_key, box_key, label_key
        self.components, self.min_voxels = objects == "components", min_voxels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Transforms one item; the mask stays in it.

        Raises:
            DataError: When there is no mask, or it holds anything but whole numbers from 0.
        """
        item = dict(data)
        where = f"{item.get('case_id', 'case')}: {self.mask_key}"
        if self.mask_key not in item:
            msg = f"{where}: the item has no mask. Add one to the datalist, or drop the case."
            raise DataError(msg)
        mask = plain(item[self.mask_key]).cpu().numpy()[0]
        try:
            boxes, values = mask_boxes(mask, components=self.components, min_voxels=self.min_voxels)
        except DataError as error:
            msg = f"{where}: {error}"
            raise DataError(msg) from error
        item[self.box_key] = box_tensor(boxes)
        item[self.label_key] = torch.as_tensor(values - 1 if self.components else values * 0)
        return item


class BoxesToMaskd(Transform):
    """A label map `(1, X, Y, Z)` in uint8 of voxel boxes: 1 in the first, 2 in the second, and so on.

    Where boxes overlap, the earlier stays on top. After 255 boxes no more are painted.

    Args:
        image_key: Key of the image whose grid it is.
        box_key: Key of the voxel boxes, edge coordinates.
        mask_key: Key of the label map.
        fill: `ellipsoid`, as nodules are, or `box`.
    """

    def __init__(
        self, image_key: str = "image", box_key: str = "box", mask_key: str = "mask", *, fill: str = "ellipsoid"
    ) -> None:
        if fill not in SHAPES:
            msg = f"BoxesToMaskd: fill is {fill!r}. Wanted {' or '.join(SHAPES)}."
            raise ConfigError(msg)
        self.image_key, self.box_key, self.mask_key, self.fill = image_key, box_key, mask_key, fill

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Transforms one item."""
        item = dict(data)
        boxes = boxes_of(item, self.box_key)[:255]
        shape = spatial_shape(item, [self.image_key])
        labels = paint_boxes(shape, boxes, range(1, len(boxes) + 1), fill=self.fill)
        item[self.mask_key] = moved(item[self.image_key], torch.from_numpy(labels[None]), torch.eye(4))
        return item
