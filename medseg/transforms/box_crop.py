"""Patches of a scan with the boxes in them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.traits import MultiSampleTrait
from monai.transforms.transform import MapTransform, Randomizable, Transform
from monai.utils.misc import ensure_tuple, ensure_tuple_rep

from medseg.errors import ConfigError
from medseg.transforms.box_tensors import boxes_of, checked_share, cut_boxes, moved, plain, put_boxes, spatial_shape
from medseg.volumes.boxes import Boxes

Triple = tuple[int, int, int]


class ClipBoxesd(Transform):
    """Cuts voxel boxes at the image's border and drops those of which too little is left, as after a crop.

    Args:
        image_key: Key of the image.
        box_key: Key of the voxel boxes, edge coordinates.
        label_keys: Keys that hold one value per box, such as the classes.
        min_share: Share of its volume that a box must keep inside; a box without any volume inside always goes.
    """

    def __init__(
        self,
        image_key: str = "image",
        box_key: str = "box",
        label_keys: KeysCollection = "label",
        min_share: float = 0.25,
    ) -> None:
        self.image_key, self.box_key, self.label_keys = image_key, box_key, ensure_tuple(label_keys)
        self.min_share = checked_share(min_share, where="ClipBoxesd: min_share")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Transforms one item."""
        item = dict(data)
        shape = spatial_shape(item, [self.image_key])
        boxes, keep = cut_boxes(boxes_of(item, self.box_key), shape, min_share=self.min_share)
        put_boxes(item, boxes, box_key=self.box_key, label_keys=self.label_keys, keep=keep)
        return item


class RandCropBoxesd(Randomizable, MapTransform, MultiSampleTrait):
    """Takes patches of one size: around a box, around a hard negative, or anywhere.

    A patch around a box holds all of it, at a random place in the patch; of a box larger than the patch it holds a
    random part. Where the scan is smaller than the patch, it lies at a random place in it and is padded. The result
    is a list of items, as of MONAI's `RandCropByPosNegLabeld`.

    Args:
        keys: Keys of images `(C, X, Y, Z)` of one size.
        spatial_size: Size of a patch in voxels; the same for each axis when it is one number.
        box_key: Key of the voxel boxes, edge coordinates.
        label_keys: Keys that hold one value per box.
        num_samples: Patches per call.
        box_share: Share of the patches that are taken around a box; of a scan without boxes none are.
        negative_key: Key of voxel boxes around what looks like a nodule and is none; None for no such boxes.
        negative_share: Share of the patches that are taken around one of them.
        margin: Voxels to leave between the box and the patch's border, where there is room.
        min_share: Share of its volume that a box must keep in the patch to count as being in it.
        pad_values: What a scan is padded with, one value for all keys or one each.
        allow_missing_keys: Whether an item without a key passes.

    Raises:
        ConfigError: When a size or a share cannot be.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spatial_size: int | Sequence[int],
        box_key: str = "box",
        label_keys: KeysCollection = "label",
        *,
        num_samples: int = 1,
        box_share: float = 0.5,
        negative_key: str | None = None,
        negative_share: float = 0.0,
        margin: float = 0.0,
        min_share: float = 0.25,
        pad_values: float | Sequence[float] = 0.0,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        sizes = ensure_tuple_rep(spatial_size, 3)
        if min(sizes) < 1 or num_samples < 1:
            msg = f"RandCropBoxesd: spatial_size {sizes}, num_samples {num_samples}. Wanted whole numbers from 1."
            raise ConfigError(msg)
        self.spatial_size: Triple = (int(sizes[0]), int(sizes[1]), int(sizes[2]))
        self.box_key, self.label_keys, self.num_samples = box_key, ensure_tuple(label_keys), num_samples
        self.negative_key, self.margin = negative_key, margin
        self.box_share = checked_share(box_share, where="RandCropBoxesd: box_share")
        self.negative_share = checked_share(negative_share, where="RandCropBoxesd: negative_share")
        checked_share(box_share + negative_share, where="RandCropBoxesd: box_share and negative_share together")
        self.min_share = checked_share(min_share, where="RandCropBoxesd: min_share")
        self.pad_values = ensure_tuple_rep(pad_values, len(self.keys))

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:  # type: ignore[override]
        """The patches of one item; the item stays as it was."""
        keys = list(self.key_iterator(dict(data)))
        shape = spatial_shape(dict(data), keys)
        boxes = boxes_of(dict(data), self.box_key)
        negatives = boxes_of(dict(data), self.negative_key) if self.negative_key in data else np.zeros((0, 6))
        return [self._patch(data, self._start(shape, boxes, negatives), boxes) for _ in range(self.num_samples)]

    def _start(self, shape: Triple, boxes: Boxes, negatives: Boxes) -> Triple:
        """The first voxel of a patch, negative where the scan is padded."""
        chance = self.R.uniform()
        size = np.array(self.spatial_size)
        first, last = np.minimum(0, np.array(shape) - size), np.maximum(0, np.array(shape) - size)
        low, high = first, last
        near: Boxes = np.zeros((0, 6))
        if chance < self.box_share:
            near = boxes
        elif chance < self.box_share + self.negative_share:
            near = negatives
        if len(near):
            low, high = self._around(near[self.R.randint(len(near))])
        start = np.clip([self.R.randint(a, b + 1) for a, b in zip(low, high, strict=True)], first, last)
        x, y, z = start.tolist()
        return (x, y, z)

    def _around(self, box: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The first and the last start of a patch that holds the box, or, where that is larger, a part of it."""
        size = np.array(self.spatial_size)
        room = np.clip((size - (box[3:] - box[:3])) / 2.0, 0.0, self.margin)
        ends = np.sort([box[3:] + room - size, box[:3] - room], axis=0)
        low, high = np.ceil(ends[0] - 1e-6).astype(np.int64), np.floor(ends[1] + 1e-6).astype(np.int64)
        return np.minimum(low, high), np.maximum(low, high)

    def _patch(self, data: Mapping[Hashable, Any], start: Triple, boxes: Boxes) -> dict[Hashable, Any]:
        item = dict(data)
        for key, pad_value in self.key_iterator(item, self.pad_values):
            item[key] = _cropped(item[key], start, self.spatial_size, float(pad_value))
        shifted = boxes - np.tile(np.array(start, dtype=np.float64), 2)
        cut, keep = cut_boxes(shifted, self.spatial_size, min_share=self.min_share)
        put_boxes(item, cut, box_key=self.box_key, label_keys=self.label_keys, keep=keep)
        return item


def _cropped(image: torch.Tensor, start: Triple, size: Triple, pad_value: float) -> torch.Tensor:
    """The patch in memory of its own, so that later steps may write into it."""
    voxels = plain(image)
    stop = [low + length for low, length in zip(start, size, strict=True)]
    inner = [slice(max(low, 0), min(high, n)) for low, high, n in zip(start, stop, voxels.shape[1:], strict=True)]
    part = voxels[(slice(None), *inner)]
    if part.shape[1:] != size:
        room = [(side.start - low, high - side.stop) for side, low, high in zip(inner, start, stop, strict=True)]
        part = torch.nn.functional.pad(part, [n for pair in reversed(room) for n in pair], value=pad_value)
    matrix = np.eye(4)
    matrix[:3, 3] = start
    return moved(image, part.clone(memory_format=torch.contiguous_format), matrix)
