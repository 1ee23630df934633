"""The part of a scan in which there is something."""

from __future__ import annotations

from collections.abc import Sequence

import torch

Box = tuple[slice, slice, slice]


def foreground_box(image: torch.Tensor, *, least: Sequence[int]) -> Box:
    """The box around the voxels that are not 0 in any channel of `(C, X, Y, Z)`; all of it where there is none.

    Args:
        image: The scan, with a background of exactly 0.
        least: Voxels that it has along each axis at least, as far as the scan has them.

    Example:
        >>> image = torch.zeros(1, 10, 4, 4)
        >>> image[0, 6, 1, 2] = 1
        >>> foreground_box(image, least=(4, 1, 2))
        (slice(4, 8, None), slice(1, 2, None), slice(1, 3, None))
    """
    sides = []
    for axis, wanted in enumerate(least, 1):
        whole = image.shape[axis]
        planes = torch.stack([plane.any() for plane in image.unbind(axis)]).nonzero()[:, 0]
        first, last = (int(planes[0]), int(planes[-1]) + 1) if len(planes) else (0, whole)
        length = max(last - first, min(wanted, whole))
        first = min(max(first - (length - (last - first) + 1) // 2, 0), whole - length)
        sides.append(slice(first, first + length))
    return sides[0], sides[1], sides[2]
