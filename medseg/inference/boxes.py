"""Boxes as tensors: the compiled kernels for those in main memory, and their torch twins for the others."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from medseg.kernels import nms as kernel
from medseg.kernels.boxes import EPSILON

BLOCK = 1024  # boxes compared at once: 1024 x 1024 overlaps are 4 MB


def box_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Intersection over union of every box of `a` (N, 6) with every box of `b` (M, 6): (N, M), on their device.

    The twin of `medseg.kernels.boxes.box_iou`.

    >>> box_iou(torch.tensor([[0.0, 0, 0, 2, 2, 2]]), torch.tensor([[1.0, 0, 0, 3, 2, 2]])).item()  # doctest: +ELLIPSIS
    0.333...
    """
    shared = a.new_ones(())
    for axis in range(3):
        low = torch.maximum(a[:, None, axis], b[None, :, axis])
        shared = shared * (torch.minimum(a[:, None, axis + 3], b[None, :, axis + 3]) - low).clamp(min=0)
    return shared / (_volumes(a)[:, None] + _volumes(b) - shared + float(EPSILON))


def _volumes(boxes: torch.Tensor) -> torch.Tensor:
    x, y, z = (boxes[:, 3:] - boxes[:, :3]).unbind(1)
    return x * y * z


def nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor,
    *,
    iou_threshold: float,
    max_kept: int | None = None,
) -> torch.Tensor:
    """Indices of the boxes (N, 6) that no better box of their class overlaps by more than the threshold, best first.

    See `medseg.kernels.nms.nms`, which does it for tensors in main memory; others stay on their device.
    """
    if boxes.device.type == "cpu":
        kept = kernel.nms(boxes.numpy(), scores.numpy(), labels.numpy(), iou_threshold=iou_threshold, max_kept=max_kept)
        return torch.from_numpy(kept)
    return nms_in_blocks(boxes, scores, labels, iou_threshold=iou_threshold, max_kept=max_kept)


def nms_in_blocks(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor,
    *,
    iou_threshold: float,
    max_kept: int | None = None,
    block: int = BLOCK,
) -> torch.Tensor:
    """The torch twin of `medseg.kernels.nms.nms`, a block of boxes at a time.

    A block is compared with the boxes kept so far, then within itself; memory grows with the block, not with N squared.
    """
    order = torch.sort(scores, descending=True, stable=True).indices
    kept = order[:0]
    for some in order.split(block):
        for earlier in kept.split(block):
            some = some[~_close(boxes, labels, earlier, some, iou_threshold).any(dim=0)]
        some = some[_settled(_close(boxes, labels, some, some, iou_threshold).triu(1))]
        kept = torch.cat([kept, some])
        if max_kept is not None and len(kept) >= max_kept:
            break
    return kept[:max_kept]


def _close(
    boxes: torch.Tensor, labels: torch.Tensor, one: torch.Tensor, other: torch.Tensor, threshold: float
) -> torch.Tensor:
    limit = torch.tensor(threshold, dtype=boxes.dtype, device=boxes.device)
    return (box_iou(boxes[one], boxes[other]) > limit) & (labels[one][:, None] == labels[other])


def _settled(beats: torch.Tensor) -> torch.Tensor:
    """Which boxes stay, where `beats[i, j]` says that box i, if it stays, drops the later box j.

    All are decided at once, again and again until nothing changes: after k rounds the first k are settled.
    """
    stays = torch.ones(len(beats), dtype=torch.bool, device=beats.device)
    while True:
        decided = ~(beats & stays[:, None]).any(dim=0)
        if torch.equal(decided, stays):
            return stays
        stays = decided


def clip_boxes(boxes: torch.Tensor, image_size: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes (N, 6) cut to a scan of this size in voxels, and which of them (N,) are at least a voxel wide each way.

    >>> clip_boxes(torch.tensor([[-1.0, 2, 2, 3, 4, 9], [7.5, 2, 2, 9, 4, 4]]), (8, 8, 8))[1].tolist()
    [True, False]
    """
    limit = boxes.new_tensor([float(size) for size in image_size]).repeat(2)
    clipped = torch.minimum(boxes.clamp(min=0), limit)
    return clipped, (clipped[:, 3:] - clipped[:, :3] >= 1).all(dim=1)


def flip_boxes(boxes: torch.Tensor, image_size: Sequence[int], axes: Sequence[int]) -> torch.Tensor:
    """Boxes (N, 6) as they lie in the scan of this size mirrored along these axes (0, 1, 2); its own inverse.

    >>> flip_boxes(torch.tensor([[1.0, 2, 3, 4, 5, 6]]), (10, 10, 10), (0, 2)).tolist()
    [[6.0, 2.0, 4.0, 9.0, 5.0, 7.0]]
    """
    flipped = boxes.clone()
    for axis in axes:
        flipped[:, axis] = image_size[axis] - boxes[:, axis + 3]
        flipped[:, axis + 3] = image_size[axis] - boxes[:, axis]
    return flipped
