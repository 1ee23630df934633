"""Batches of a detection training: images, and for each of them its boxes."""

from collections.abc import Mapping
from typing import Any

import torch
from monai.utils import CommonKeys as Keys

from medseg.engines.guard import case_ids
from medseg.errors import DataError


class DetectionBatch:
    """Makes of a loader's batch what a detection engine takes, for `prepare_batch`.

    Args:
        box_key: key of the boxes, (N, 6) corners in voxel edge coordinates for each image.
        label_key: key of their classes, (N,) from 0.
    """

    def __init__(self, box_key: str = "box", label_key: str = "box_label") -> None:
        self.box_key, self.label_key = box_key, label_key

    def __call__(
        self, batchdata: Mapping[str, Any], device: Any = None, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[torch.Tensor, list[dict[str, Any]] | None]:
        """Images (B, C, X, Y, Z), and "box", "label" and "image_size" of each; None for these when there are no boxes.

        Raises:
            DataError: a box is not finite, has no size along an axis, or there is not one class for each box.
        """
        images = batchdata[Keys.IMAGE].to(device=device, non_blocking=non_blocking, **kwargs)
        if self.box_key not in batchdata:
            return images, None
        size, ids = tuple(images.shape[2:]), case_ids(batchdata, len(images))
        targets = []
        for case, boxes, labels in zip(ids, batchdata[self.box_key], batchdata[self.label_key], strict=True):
            box = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 6)
            label = torch.as_tensor(labels, dtype=torch.int64).reshape(-1)
            _check(box, label, case)
            targets.append({"box": box.to(device), "label": label.to(device), "image_size": size})
        return images, targets


def _check(box: torch.Tensor, label: torch.Tensor, case: str) -> None:
    if len(box) != len(label):
        msg = f"{case}: {len(box)} boxes and {len(label)} labels of them. Give one label for each box."
        raise DataError(msg)
    good = torch.isfinite(box).all(dim=1) & (box[:, 3:] > box[:, :3]).all(dim=1)
    if not good.all():
        values = ", ".join(f"{value:g}" for value in box[~good][0].tolist())
        msg = f"{case}: box ({values}) in voxels is not finite, or has no size along an axis. Mend or drop it."
        raise DataError(msg)
