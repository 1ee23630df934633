"""The anchors of a feature pyramid, told by where its cells lie and what stands at each; never one long list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medseg.errors import ConfigError, DataError

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class AnchorLevel:
    """One level of a feature pyramid.

    Cell i of an axis has its centre at `i * stride + stride // 2` voxels from the scan's edge, as in MONAI's
    `AnchorGenerator`; the anchors of a cell are `boxes` moved there.

    Attributes:
        stride: Voxels from one cell to the next, `(x, y, z)`.
        boxes: Anchors of a cell as corners relative to its centre, shape `(K, 6)`, voxels.
        shape: Cells along each axis; when not given, as many as fit whole into the scan.
    """

    stride: Shape
    boxes: Floats
    shape: Shape | None = None

    def cells(self, image_size: Sequence[int]) -> Shape:
        """Cells along each axis in a scan of this size."""
        if self.shape is not None:
            return self.shape
        x, y, z = (size // step for size, step in zip(image_size, self.stride, strict=True))
        return x, y, z

    def count(self, image_size: Sequence[int]) -> int:
        """Anchors of the level."""
        x, y, z = self.cells(image_size)
        return x * y * z * len(self.boxes)


@dataclass(frozen=True, eq=False)
class Anchors:
    """The anchors of a cell, for each level of a pyramid, finest first.

    Attributes:
        boxes: One array `(K, 6)` a level, corners relative to the cell's centre, voxels. K is the same for all.
    """

    boxes: tuple[Floats, ...]

    def __post_init__(self) -> None:
        shapes = {level.shape for level in self.boxes}
        if len(shapes) != 1 or (shape := shapes.pop())[1:] != (6,) or shape[0] < 1:
            msg = "anchors: every level needs the same number of boxes of six corners, at least one."
            raise ConfigError(msg)
        if not all(np.isfinite(level).all() and (level[:, 3:] > level[:, :3]).all() for level in self.boxes):
            msg = "anchors: a side is shorter than a voxel after rounding. Choose larger anchors."
            raise ConfigError(msg)

    @property
    def per_cell(self) -> int:
        """Anchors at each cell."""
        return len(self.boxes[0])

    def levels(self, image_size: Sequence[int], shapes: Sequence[Sequence[int]]) -> tuple[AnchorLevel, ...]:
        """The levels for maps of these shapes over a scan of this size; the stride is the whole ratio of the two.

        Raises:
            DataError: The number of maps is not that of the levels, or a map has more cells than the scan has voxels.

        Example:
            >>> anchors_with_shapes([[6, 8, 4]], (1, 2)).levels((64, 64, 32), [(16, 16, 16), (8, 8, 8)])[1].stride
            (8, 8, 4)
        """
        if len(shapes) != len(self.boxes):
            msg = f"anchors: {len(self.boxes)} levels for {len(shapes)} feature maps; give one scale for each map."
            raise DataError(msg)
        return tuple(_level(image_size, shape, boxes) for shape, boxes in zip(shapes, self.boxes, strict=True))


def _level(image_size: Sequence[int], shape: Sequence[int], boxes: Floats) -> AnchorLevel:
    x, y, z = (int(size) // int(cells) if cells else 0 for size, cells in zip(image_size, shape, strict=True))
    if min(x, y, z) < 1:
        msg = f"anchors: a map of {tuple(shape)} cells does not fit a scan of {tuple(image_size)} voxels."
        raise DataError(msg)
    return AnchorLevel((x, y, z), boxes, (int(shape[0]), int(shape[1]), int(shape[2])))


def anchors_with_shapes(
    base_anchor_shapes: Sequence[Sequence[float]], feature_map_scales: Sequence[float] = (1, 2, 4)
) -> Anchors:
    """Anchors of given widths, scaled for each level: MONAI's `AnchorGeneratorWithAnchorShape`.

    Args:
        base_anchor_shapes: Widths `(x, y, z)` of each anchor of a cell at scale 1, voxels.
        feature_map_scales: A factor for each level, finest first.

    Raises:
        ConfigError: An anchor that has not three positive widths, or nothing to make anchors of.

    Example:
        >>> anchors_with_shapes([[6, 8, 5]], (1, 2)).boxes[1].tolist()
        [[-6.0, -8.0, -5.0, 6.0, 8.0, 5.0]]
    """
    shapes = np.array(base_anchor_shapes, dtype=np.float32)
    if shapes.ndim != 2 or shapes.shape[1] != 3 or not len(feature_map_scales):
        msg = f"anchors: base_anchor_shapes {base_anchor_shapes} are not triples of widths, or no scale is given."
        raise ConfigError(msg)
    return Anchors(tuple(_centred(np.float32(scale) * shapes) for scale in feature_map_scales))


def anchors_with_ratios(
    sizes: Sequence[Sequence[float]], aspect_ratios: Sequence[Sequence[Sequence[float]]]
) -> Anchors:
    """Anchors of given size and proportions: MONAI's `AnchorGenerator`.

    Args:
        sizes: For each level, the edges of the cubes that have the anchors' volumes, voxels.
        aspect_ratios: For each level, the pairs `(y / x, z / x)`; every size is made in every proportion.

    Raises:
        ConfigError: Not as many lists of sizes as of proportions, or a proportion that is no pair.

    Example:
        >>> anchors_with_ratios([[8]], [[(1, 1), (2, 4)]]).boxes[0].tolist()
        [[-4.0, -4.0, -4.0, 4.0, 4.0, 4.0], [-2.0, -4.0, -8.0, 2.0, 4.0, 8.0]]
    """
    if len(sizes) != len(aspect_ratios) or not len(sizes):
        msg = f"anchors: {len(sizes)} levels of sizes for {len(aspect_ratios)} of aspect_ratios; give one of each."
        raise ConfigError(msg)
    return Anchors(
        tuple(_centred(_proportioned(size, ratios)) for size, ratios in zip(sizes, aspect_ratios, strict=True))
    )


def _proportioned(sizes: Sequence[float], ratios: Sequence[Sequence[float]]) -> Floats:
    """Widths `(K, 3)`, proportion by proportion."""
    pairs = np.array(ratios, dtype=np.float32)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not (pairs > 0).all():
        msg = f"anchors: aspect_ratios {ratios} are not positive pairs (y / x, z / x)."
        raise ConfigError(msg)
    x = 1 / np.power(pairs[:, 0] * pairs[:, 1], np.float32(1 / 3))
    widths = np.stack([x, pairs[:, 0] * x, pairs[:, 1] * x], axis=1)
    scaled: Floats = (widths[:, None] * np.array(sizes, dtype=np.float32)[None, :, None]).reshape(-1, 3)
    return scaled


def _centred(widths: Floats) -> Floats:
    """Boxes around 0; corners are whole voxels, halves rounded to even, as torch rounds them."""
    boxes: Floats = np.concatenate([-widths / 2, widths / 2], axis=1).round().astype(np.float32)
    return boxes


def anchor_boxes(image_size: Sequence[int], levels: Sequence[AnchorLevel], index: npt.ArrayLike) -> Floats:
    """The anchors with these numbers, counted by level, then x, y, z, then anchor of the cell, as MONAI lists them.

    Args:
        image_size: Voxels of the scan.
        levels: The pyramid.
        index: Shape `(P,)`, each from 0 to the number of anchors of all levels.

    Returns:
        Corners, shape `(P, 6)`, voxels.

    Raises:
        DataError: A number below 0, or too large for these levels.

    Example:
        >>> anchor_boxes((8, 8, 8), [AnchorLevel((4, 4, 4), np.array([[-1, -1, -1, 1, 1, 1]], np.float32))], [7])
        array([[5., 5., 5., 7., 7., 7.]], dtype=float32)
    """
    numbers = np.asarray(index, dtype=np.int64)
    total = sum(level.count(image_size) for level in levels)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < total:
        msg = f"anchor_boxes: numbers from {numbers.min()} to {numbers.max()}, but there are {total} anchors."
        raise DataError(msg)
    boxes = np.empty((len(numbers), 6), dtype=np.float32)
    first = 0
    for level in levels:
        count = level.count(image_size)
        here = (numbers >= first) & (numbers < first + count)
        cells, anchor = np.divmod(numbers[here] - first, len(level.boxes))
        place = np.stack(np.unravel_index(cells, level.cells(image_size)), axis=1)
        centre = place * level.stride + np.array(level.stride) // 2
        boxes[here] = np.tile(centre, 2).astype(np.float32) + level.boxes[anchor]
        first += count
    return boxes
