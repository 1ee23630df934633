"""What a threshold and the shape of blobs can do: the floor that a nodule detector must clear."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medseg.errors import DataError
from medseg.kernels.lungs import lung_mask
from medseg.volumes import read_volume, spacing_from_affine, volume_stem
from medseg.volumes.boxes import boxes_to_world
from medseg.volumes.detections import Detections, make_detections, write_submission

DENSE_HU = -500.0  # between lung and soft tissue; ground glass stays out
SMALLEST_MM, LARGEST_MM = 3.0, 30.0  # LUNA16's nodules, https://doi.org/10.1016/j.media.2017.06.015
_MOST = 100


def predict_with_blobs(scans: Iterable[Path], submission: Path) -> Path:
    """Write LUNA16's submission of what looks like a ball in the lungs of each scan.

    Voxels above -500 HU within the lungs, opened by one voxel so that thin vessels go; of what hangs together, blobs
    with the volume of a ball of 3 to 30 mm. The score is the blob's volume over that of a ball of its length: balls
    come before branches of vessels.

    Args:
        scans: CT files.
        submission: The CSV to write.

    Raises:
        DataError: When a scan cannot be read, or the disk refuses.
    """
    return write_submission(submission, [find_blobs(Path(scan)) for scan in scans])


def find_blobs(scan: Path) -> Detections:
    """The blobs of one scan, at most 100, the most ball-like first."""
    volume = read_volume(scan)
    if volume.array.ndim != 3:
        msg = f"{scan}: {volume.array.ndim} axes. Wanted a CT (X, Y, Z)."
        raise DataError(msg)
    spacing = spacing_from_affine(volume.affine_ras_mm)
    lungs = lung_mask(volume.array, spacing, margin_mm=0.0)
    parts, _ = ndimage.label(ndimage.binary_opening((volume.array > DENSE_HU) & lungs))
    boxes, scores = _balls(parts, spacing)
    order = np.argsort(-scores, kind="stable")[:_MOST]
    world = boxes_to_world(volume.affine_ras_mm, boxes[order])
    return make_detections(volume_stem(scan), world, scores[order])


def _balls(
    parts: npt.NDArray[Any], spacing_mm: tuple[float, float, float]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Boxes (N, 6) in voxel edges and scores (N,) of the labelled parts that have a nodule's volume."""
    sizes = np.bincount(parts.ravel())
    voxel_mm3 = math.prod(spacing_mm)
    boxes, scores = [np.zeros((0, 6))], []
    for number, place in enumerate(ndimage.find_objects(parts), start=1):
        diameter_mm = (6.0 / math.pi * sizes[number] * voxel_mm3) ** (1 / 3)
        if place is None or not SMALLEST_MM <= diameter_mm <= LARGEST_MM:
            continue
        low, high = [side.start for side in place], [side.stop for side in place]
        longest_mm = max((b - a) * mm for a, b, mm in zip(low, high, spacing_mm, strict=True))
        boxes.append(np.array([[*low, *high]], dtype=np.float64))
        scores.append(min(1.0, (diameter_mm / longest_mm) ** 3))
    return np.concatenate(boxes), np.array(scores, dtype=np.float64)
