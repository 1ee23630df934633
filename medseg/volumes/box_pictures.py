"""A box in its scan as a radiologist sees it: three planes through its centre, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medseg.volumes.boxes import as_boxes, box_centres
from medseg.volumes.geometry import Affine
from medseg.volumes.png import to_grey

LUNG_WINDOW_HU = (-1350.0, 150.0)  # level -600, width 1500
# Axial, coronal, sagittal: the world axis and sign along which columns and rows grow, so that the patient's right is on
# the left of the picture, and the front or the head on top (sagittal: the front on the left).
_PLANES = (((0, -1), (1, -1)), ((0, -1), (2, -1)), ((1, -1), (2, -1)))


def box_picture(
    volume: npt.NDArray[Any],
    affine_ras_mm: Affine,
    box_ras_mm: npt.ArrayLike,
    *,
    field_mm: float = 64.0,
    pixels: int = 128,
    window: tuple[float, float] = LUNG_WINDOW_HU,
    frame: bool = True,
) -> npt.NDArray[np.uint8]:
    """Axial, coronal and sagittal plane through the centre of a box, looked up linearly, whatever the scan's axes are.

    Args:
        volume: Voxels `(X, Y, Z)`.
        affine_ras_mm: Voxel indices to RAS mm.
        box_ras_mm: One box.
        field_mm: Width and height of each plane.
        pixels: Likewise in pixels.
        window: Values shown black and white; outside the scan it is black.
        frame: Whether to draw the box.

    Returns:
        Grey values `(pixels, 3 * pixels)`.
    """
    box = as_boxes(box_ras_mm)[0]
    panels = []
    for across, down in _PLANES:
        points = _points_ras_mm(box_centres(box)[0], (across, down), field_mm=field_mm, pixels=pixels)
        panel = to_grey(_look_up(volume, affine_ras_mm, points, outside=window[0]), window)
        if frame:
            _draw_frame(panel, (box[3:] - box[:3])[[across[0], down[0]]] * pixels / field_mm)
        panels.append(panel)
    return np.concatenate(panels, axis=1)


def _points_ras_mm(
    centre: npt.NDArray[np.float64], axes: tuple[tuple[int, int], tuple[int, int]], *, field_mm: float, pixels: int
) -> npt.NDArray[np.float64]:
    """World points `(rows, columns, 3)` of the pixels' centres."""
    offsets = (np.arange(pixels) + 0.5) * field_mm / pixels - field_mm / 2.0
    points = np.tile(centre, (pixels, pixels, 1))
    (column_axis, column_sign), (row_axis, row_sign) = axes
    points[..., column_axis] += column_sign * offsets[None, :]
    points[..., row_axis] += row_sign * offsets[:, None]
    return points


def _look_up(
    volume: npt.NDArray[Any], affine_ras_mm: Affine, points: npt.NDArray[np.float64], *, outside: float
) -> npt.NDArray[np.float64]:
    inverse = np.linalg.inv(affine_ras_mm)
    index = np.moveaxis(points @ inverse[:3, :3].T + inverse[:3, 3], -1, 0)
    # only the voxels around the picture are converted to floating point
    flat = index.reshape(3, -1)
    first = np.clip(np.floor(flat.min(axis=1)) - 1, 0, volume.shape).astype(int)
    last = np.clip(np.ceil(flat.max(axis=1)) + 2, 0, volume.shape).astype(int)
    part = volume[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    if not part.size:
        return np.full(points.shape[:2], outside)
    values: npt.NDArray[np.float64] = ndimage.map_coordinates(
        part.astype(np.float64), index - first[:, None, None], order=1, mode="constant", cval=outside
    )
    return values


def _draw_frame(panel: npt.NDArray[np.uint8], size: npt.NDArray[np.float64]) -> None:
    """A white frame of one pixel around the middle of the panel, just outside a box of this size (columns, rows)."""
    pixels = len(panel)
    low = np.clip(np.floor((pixels - size) / 2.0).astype(int) - 1, 0, pixels - 1)
    high = np.clip(np.ceil((pixels + size) / 2.0).astype(int), 0, pixels - 1)
    (left, top), (right, bottom) = low, high
    panel[[top, bottom], left : right + 1] = 255
    panel[top : bottom + 1, [left, right]] = 255
