from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medseg.volumes.box_masks import mask_boxes

AFFINE = np.array([[-0.7, 0, 0, 100.0], [0, -0.7, 0, 120.0], [0, 0, 1.25, -300.0], [0, 0, 0, 1]])


def ball_mask(shape, boxes):
    """One instance per box: voxels whose centre lies in the ellipsoid of the box."""
    mask = np.zeros(shape, np.uint8)
    index = np.stack(np.meshgrid(*[np.arange(n) + 0.5 for n in shape], indexing="ij"), axis=-1)
    for value, box in enumerate(np.asarray(boxes, dtype=float), start=1):
        centre, half = (box[:3] + box[3:]) / 2, (box[3:] - box[:3]) / 2
        mask[(((index - centre) / half) ** 2).sum(axis=-1) <= 1] = value
    return mask


def block_mask(shape, boxes):
    """One instance per box of whole voxels."""
    mask = np.zeros(shape, np.uint8)
    for value, (x0, y0, z0, x1, y1, z1) in enumerate(np.asarray(boxes, dtype=int), start=1):
        mask[x0:x1, y0:y1, z0:z1] = value
    return mask


def item_of(shape, boxes, mask=None, *, affine=AFFINE, seed=0):
    boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 6)
    mask = block_mask(shape, boxes) if mask is None else mask
    image = np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
    return {
        "case_id": "case7",
        "image": MetaTensor(torch.from_numpy(image), affine=torch.from_numpy(affine.copy())),
        "mask": MetaTensor(torch.from_numpy(mask[None].copy()), affine=torch.from_numpy(affine.copy())),
        "box": torch.from_numpy(boxes),
        "label": torch.arange(len(boxes)),
    }


def boxes_by_value(mask):
    """The box around each value of a mask `(1, X, Y, Z)`."""
    boxes, values = mask_boxes(mask.numpy()[0])
    return dict(zip(values.tolist(), boxes, strict=True))


@pytest.fixture(scope="session")
def cases():
    """Items with boxes whose masks are known."""
    return SimpleNamespace(
        AFFINE=AFFINE, ball_mask=ball_mask, block_mask=block_mask, item_of=item_of, boxes_by_value=boxes_by_value
    )
