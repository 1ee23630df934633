"""Boxes between the world and the voxels of an image as it now stands."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import Transform

from medseg.errors import ConfigError, DataError
from medseg.transforms.box_tensors import box_tensor, boxes_of, label_tensor, plain, spatial_shape
from medseg.volumes import Affine
from medseg.volumes.boxes import (
    Boxes,
    box_centres,
    boxes_lps_to_ras,
    boxes_to_voxel,
    boxes_to_world,
    check_boxes,
    clip_boxes,
)
from medseg.volumes.frame_check import frame_votes, frame_warning

OUTSIDE = ("raise", "drop")


class BoxesToVoxeld(Transform):
    """World boxes become voxel boxes of the image, in edge coordinates (voxel i covers i to i + 1).

    Put it behind the transforms that change the image's grid: it uses the affine that the image has then. The item's
    `box_ras_mm` `(N, 6)`, or an empty list for a scan without nodules, becomes `box`, float32 `(N, 6)`, cut at the
    image's border; `label` becomes int64 `(N,)`, all 0 where the item has none.

    Args:
        image_key: Key of the image, a `MetaTensor` with its affine in RAS mm.
        box_ras_key: Key of the boxes in RAS mm; it stays in the item.
        box_key: Key of the voxel boxes.
        label_key: Key of the classes; None for boxes without, such as hard negatives.
        outside: What happens to a box whose centre lies outside the image: `raise` an error, or `drop` it with a
            warning.
        allow_missing_keys: Whether an item without boxes passes, as in inference.
    """

    def __init__(
        self,
        image_key: str = "image",
        box_ras_key: str = "box_ras_mm",
        box_key: str = "box",
        label_key: str | None = "label",
        *,
        outside: str = "raise",
        allow_missing_keys: bool = False,
    ) -> None:
        if outside not in OUTSIDE:
            msg = f"BoxesToVoxeld: outside is {outside!r}. Wanted one of {', '.join(OUTSIDE)}."
            raise ConfigError(msg)
        self.image_key, self.box_ras_key, self.box_key, self.label_key = image_key, box_ras_key, box_key, label_key
        self.outside = outside
        self.allow_missing_keys = allow_missing_keys

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Transforms one item.

        Raises:
            DataError: When a box has no size, is inverted or not finite, lies outside the image, when there is not
                one label for each box, or the image has no affine.
        """
        item = dict(data)
        if self.box_ras_key not in item and self.allow_missing_keys:
            return item
        where = f"{item.get('case_id', 'case')}: {self.box_ras_key}"
        world = check_boxes(boxes_of(item, self.box_ras_key), where=where)
        affine, shape = affine_of(item, self.image_key), spatial_shape(item, [self.image_key])
        inside = _centres_inside(affine, shape, world)
        if not inside.all():
            self._refuse(where, affine, shape, world[~inside])
        if self.label_key is not None:
            labels = label_tensor(item.get(self.label_key), count=len(world), where=where)
            item[self.label_key] = labels[torch.as_tensor(inside)]
        item[self.box_key] = box_tensor(clip_boxes(boxes_to_voxel(affine, world[inside]), shape))
        return item

    def _refuse(self, where: str, affine: Affine, shape: tuple[int, int, int], lost: Boxes) -> None:
        x, y, z = box_centres(lost)[0].tolist()
        mirrored = _centres_inside(affine, shape, boxes_lps_to_ras(lost)).all()
        hint = "With x and y negated it lies inside: is it LPS, not RAS?" if mirrored else "Is it of another scan?"
        msg = f"{where}: the box around ({x:.1f}, {y:.1f}, {z:.1f}) mm has its centre outside the image. {hint}"
        if self.outside == "raise":
            raise DataError(msg)
        warnings.warn(f"{msg} Dropped {len(lost)}.", stacklevel=3)


class BoxesToWorldd(Transform):
    """Voxel boxes of the image become world boxes in RAS mm, float32 to float64 `(N, 6)`; inverse of `BoxesToVoxeld`.

    Where the image's grid is oblique to the world, the world box is the one around the eight corners.

    Args:
        image_key: Key of the image, a `MetaTensor` with its affine in RAS mm.
        box_key: Key of the voxel boxes, edge coordinates; it stays in the item.
        box_ras_key: Key of the boxes in RAS mm.
        allow_missing_keys: Whether an item without boxes passes.
    """

    def __init__(
        self,
        image_key: str = "image",
        box_key: str = "box",
        box_ras_key: str = "box_ras_mm",
        *,
        allow_missing_keys: bool = False,
    ) -> None:
        self.image_key, self.box_key, self.box_ras_key = image_key, box_key, box_ras_key
        self.allow_missing_keys = allow_missing_keys

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Transforms one item."""
        item = dict(data)
        if self.box_key in item or not self.allow_missing_keys:
            world = boxes_to_world(affine_of(item, self.image_key), boxes_of(item, self.box_key))
            item[self.box_ras_key] = torch.as_tensor(world, dtype=torch.float64)
        return item


class WarnIfMirroredd(Transform):
    """Warns where the boxes of a chest CT lie outside the lungs and would lie inside if x and y were negated.

    That is what boxes look like that are given in LPS, as in LUNA16's tables, and were taken for RAS. Put it right
    behind the reading of the scan, which must be in HU. Where no lung is found it is silent.

    Args:
        image_key: Key of the image, a `MetaTensor` in HU with its affine in RAS mm.
        box_ras_key: Key of the boxes in RAS mm.
        scans: Scans with boxes that are looked at, the first ones, each once; None looks at all, each time. A frame is
            wrong in every scan, and finding the lungs takes time.
        allow_missing_keys: Whether an item without boxes passes.

    Raises:
        ConfigError: When no scan would be looked at.
    """

    def __init__(
        self,
        image_key: str = "image",
        box_ras_key: str = "box_ras_mm",
        *,
        scans: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        if scans is not None and scans < 1:
            msg = f"WarnIfMirroredd: scans is {scans}. Wanted a number from 1, or None for all."
            raise ConfigError(msg)
        self.image_key, self.box_ras_key, self.allow_missing_keys = image_key, box_ras_key, allow_missing_keys
        self.scans = scans
        self._seen = _Seen()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the item unchanged."""
        item = dict(data)
        if self.box_ras_key not in item and self.allow_missing_keys:
            return item
        boxes = boxes_of(item, self.box_ras_key)
        if len(boxes) and self._is_wanted(str(item.get("case_id", "case"))):
            affine, volume_hu = affine_of(item, self.image_key), plain(item[self.image_key])[0].cpu().numpy()
            votes = frame_votes(volume_hu, affine, box_centres(boxes))
            message = frame_warning(votes, where=f"{item.get('case_id', 'case')}: {self.box_ras_key}")
            if message:
                warnings.warn(message, stacklevel=2)
        return item

    def _is_wanted(self, case_id: str) -> bool:
        if self.scans is None:
            return True
        if case_id in self._seen.cases or len(self._seen.cases) >= self.scans:
            return False
        self._seen.cases.add(case_id)
        return True


class _Seen:
    """Cases that were looked at. Shown it is always the same, for a cache goes by what transforms are built with."""

    __slots__ = ("cases",)

    def __init__(self) -> None:
        self.cases: set[str] = set()

    def __repr__(self) -> str:
        return "_Seen()"


def affine_of(item: Mapping[Hashable, Any], image_key: Hashable) -> Affine:
    """The image's affine, voxel indices to RAS mm.

    Raises:
        DataError: When the image is no `MetaTensor`.
    """
    image = item.get(image_key)
    if not isinstance(image, MetaTensor):
        msg = f"{item.get('case_id', 'case')}: {image_key} is a {type(image).__name__} without an affine. "
        raise DataError(msg + "Wanted a MetaTensor: load it with LoadCased.")
    return image.affine.detach().cpu().numpy().astype(np.float64)


def _centres_inside(affine: Affine, shape: tuple[int, int, int], box_ras_mm: Boxes) -> Any:
    centre = box_centres(boxes_to_voxel(affine, box_ras_mm))
    return ((centre >= 0) & (centre <= shape)).all(axis=1)
