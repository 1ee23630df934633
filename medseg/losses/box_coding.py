"""Boxes told as offsets from anchors, and back: what a detection network predicts."""

from __future__ import annotations

import math

import torch

# So that exp cannot overflow: no box is more than 62.5 times its anchor (MONAI's BoxCoder, torchvision's).
MAX_LOG_SCALE = math.log(1000.0 / 16)


def encode_boxes(boxes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Offsets (N, 6): of the centre in anchor sizes, and logarithms of the sizes' ratios.

    Ren et al. 2015, https://arxiv.org/abs/1506.01497, equation 2. MONAI's BoxCoder with weights of 1.

    Args:
        boxes: corners (N, 6), larger than zero along each axis.
        anchors: corners (N, 6), likewise.
    """
    (centre, size), (place, extent) = _centres_and_sizes(boxes), _centres_and_sizes(anchors)
    return torch.cat([(centre - place) / extent, torch.log(size / extent)], dim=1)


def decode_boxes(offsets: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Corners (N, 6) of boxes from their offsets (N, 6) and anchors (N, 6); differentiable.

    >>> box, anchor = torch.tensor([[0.0, 0, 0, 4, 5, 6]]), torch.tensor([[1.0, 1, 1, 5, 5, 5]])
    >>> bool(torch.allclose(decode_boxes(encode_boxes(box, anchor), anchor), box, atol=1e-5))
    True
    """
    place, extent = _centres_and_sizes(anchors)
    centre = offsets[:, :3] * extent + place
    half = torch.exp(offsets[:, 3:].clamp(max=MAX_LOG_SCALE)) * extent / 2
    return torch.cat([centre - half, centre + half], dim=1)


def _centres_and_sizes(boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return (boxes[:, :3] + boxes[:, 3:]) / 2, boxes[:, 3:] - boxes[:, :3]
