"""Random flips and quarter turns of an image with its boxes: no voxel changes its value."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform, Randomizable
from monai.utils.misc import ensure_tuple

from medseg.errors import ConfigError
from medseg.transforms.box_tensors import boxes_of, checked_share, moved, plain, put_boxes, spatial_shape
from medseg.volumes import Affine
from medseg.volumes.boxes import between_edges, transform_boxes


class RandFlipBoxesd(Randomizable, MapTransform):
    """Flips images and boxes along each of the axes, each with a draw of its own.

    Args:
        keys: Keys of images `(C, X, Y, Z)` of one size.
        box_key: Key of the voxel boxes, edge coordinates.
        prob: Probability per axis.
        spatial_axes: Axes that may be flipped.
        allow_missing_keys: Whether an item without a key passes.
    """

    def __init__(
        self,
        keys: KeysCollection,
        box_key: str = "box",
        *,
        prob: float = 0.5,
        spatial_axes: int | Sequence[int] = (0, 1, 2),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.box_key, self.spatial_axes = box_key, ensure_tuple(spatial_axes)
        self.prob = checked_share(prob, where="RandFlipBoxesd: prob")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Transforms one item; its input tensors stay as they were."""
        item = dict(data)
        axes = [axis for axis in self.spatial_axes if self.R.uniform() < self.prob]
        if not axes:
            return item
        keys = list(self.key_iterator(item))
        shape, matrix = spatial_shape(item, keys), np.eye(4)
        for axis in axes:
            matrix[axis, axis], matrix[axis, 3] = -1.0, shape[axis] - 1
        for key in keys:
            item[key] = moved(item[key], torch.flip(plain(item[key]), [axis + 1 for axis in axes]), matrix)
        _move_boxes(item, self.box_key, matrix)
        return item


class RandRotate90Boxesd(Randomizable, MapTransform):
    """Turns images and boxes by one to three quarters in a plane; the spatial size follows.

    Args:
        keys: Keys of images `(C, X, Y, Z)` of one size.
        box_key: Key of the voxel boxes, edge coordinates.
        prob: Probability per item.
        max_k: Most quarter turns, 1 to 3.
        spatial_axes: The plane's two axes; turns go from the first to the second. For images whose sizes differ
            along them, patches of a batch no longer fit together.
        allow_missing_keys: Whether an item without a key passes.

    Raises:
        ConfigError: When the plane or the number of turns cannot be.
    """

    def __init__(
        self,
        keys: KeysCollection,
        box_key: str = "box",
        *,
        prob: float = 0.5,
        max_k: int = 3,
        spatial_axes: Sequence[int] = (0, 1),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        if len(set(spatial_axes)) != 2 or not set(spatial_axes) <= {0, 1, 2} or max_k not in (1, 2, 3):
            msg = f"RandRotate90Boxesd: spatial_axes {tuple(spatial_axes)}, max_k {max_k}. Wanted two axes, 1 to 3."
            raise ConfigError(msg)
        self.box_key, self.max_k = box_key, max_k
        self.spatial_axes = (int(spatial_axes[0]), int(spatial_axes[1]))
        self.prob = checked_share(prob, where="RandRotate90Boxesd: prob")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Transforms one item; its input tensors stay as they were."""
        item = dict(data)
        turn, quarters = self.R.uniform() < self.prob, int(self.R.randint(1, self.max_k + 1))
        if not turn:
            return item
        keys = list(self.key_iterator(item))
        matrix = _quarter_turns(spatial_shape(item, keys), self.spatial_axes, quarters)
        dims = [axis + 1 for axis in self.spatial_axes]
        for key in keys:
            item[key] = moved(item[key], torch.rot90(plain(item[key]), quarters, dims).contiguous(), matrix)
        _move_boxes(item, self.box_key, matrix)
        return item


def _quarter_turns(shape: tuple[int, int, int], axes: tuple[int, int], quarters: int) -> Affine:
    """The matrix from indices after `torch.rot90` to indices before."""
    first, second = axes
    sizes, matrix = list(shape), np.eye(4)
    for _ in range(quarters):
        # one turn: new[i, j] is old[j, n - 1 - i], with n the old size along the second axis
        turn = np.eye(4)
        turn[[first, second]] = turn[[second, first]]
        turn[second, first], turn[second, 3] = -1.0, sizes[second] - 1
        sizes[first], sizes[second] = sizes[second], sizes[first]
        matrix = matrix @ turn
    return matrix


def _move_boxes(item: dict[Hashable, Any], box_key: str, matrix: Affine) -> None:
    """Moves the boxes along with the voxels, given the matrix from new indices to old ones."""
    onward = np.linalg.inv(between_edges(matrix))
    put_boxes(item, transform_boxes(onward, boxes_of(item, box_key)), box_key=box_key, label_keys=())
