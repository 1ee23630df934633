"""Distances between two surfaces, computed once, and the scores that are read from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.kernels.confusion import label_confusion
from medseg.kernels.surfaces import near_offsets, nearest_distances, surface_codes
from medseg.metrics.surfels import surfel_areas_mm2

SurfaceDefinition = Literal["deepmind", "voxel"]
Floats = npt.NDArray[np.float64]

SURFACE_DEFINITIONS: dict[SurfaceDefinition, str] = {
    "deepmind": "contour elements on the corners between voxels, weighted by their area (Nikolov et al. 2018); "
    "a percentile is the least distance that covers that share of a surface's area",
    "voxel": "mask voxels that touch the background through a face, each of weight 1 (as MONAI without subvoxels); "
    "a percentile interpolates linearly between ranks",
}


@dataclass(frozen=True, kw_only=True)
class SurfaceDistances:
    """How far each element of one surface is from the other surface, both ways.

    Attributes:
        reference_mm: Distance of each reference element to the predicted surface; inf where that one is empty.
        prediction_mm: Distance of each predicted element to the reference surface.
        reference_areas: Weight of each reference element: mm2, or 1 per voxel.
        prediction_areas: Weight of each predicted element.
        definition: What a surface element is.
    """

    reference_mm: Floats
    prediction_mm: Floats
    reference_areas: Floats
    prediction_areas: Floats
    definition: SurfaceDefinition


def surface_distances(
    reference: npt.NDArray[np.bool_],
    prediction: npt.NDArray[np.bool_],
    *,
    spacing_mm: tuple[float, float, float],
    definition: SurfaceDefinition = "deepmind",
) -> SurfaceDistances:
    """All distances between the surfaces of two masks: the one expensive step of every surface score.

    Outside the image is background, so a mask that touches the image's edge has a surface there.

    Args:
        reference: Mask `(X, Y, Z)`.
        prediction: Mask of the same shape.
        spacing_mm: Voxel size along X, Y, Z, mm.
        definition: What a surface element is, see `SURFACE_DEFINITIONS`.

    Returns:
        Distances and weights, empty for a mask without voxels.

    Raises:
        DataError: When the shapes differ, are not 3D, or a voxel size is not a positive number.
    """
    _check_pair(reference, prediction, spacing_mm)
    a, b = (np.ascontiguousarray(mask, dtype=bool).view(np.uint8) for mask in (reference, prediction))
    _, boxes = label_confusion(a, b)
    box = boxes[1]
    if box[0] > box[3]:
        nothing = np.empty(0)
        return SurfaceDistances(
            reference_mm=nothing,
            prediction_mm=nothing,
            reference_areas=nothing,
            prediction_areas=nothing,
            definition=definition,
        )
    crop = tuple(slice(low, high) for low, high in zip(box[:3], box[3:], strict=True))
    return _distances_in_box(a[crop], b[crop], spacing_mm=spacing_mm, definition=definition)


def _check_pair(
    reference: npt.NDArray[np.bool_], prediction: npt.NDArray[np.bool_], spacing_mm: tuple[float, ...]
) -> None:
    if reference.shape != prediction.shape or reference.ndim != 3:
        msg = f"surface_distances: mask shapes {reference.shape} and {prediction.shape} must be equal and 3D."
        raise DataError(msg)
    if len(spacing_mm) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing_mm):
        msg = f"surface_distances: spacing_mm {tuple(spacing_mm)} must be three positive numbers."
        raise DataError(msg)


def _distances_in_box(
    reference: npt.NDArray[np.uint8],
    prediction: npt.NDArray[np.uint8],
    *,
    spacing_mm: tuple[float, float, float],
    definition: SurfaceDefinition,
) -> SurfaceDistances:
    spacing_mm = (float(spacing_mm[0]), float(spacing_mm[1]), float(spacing_mm[2]))
    reach = near_offsets(spacing_mm)[0].max(axis=0)
    margin = (int(reach[0]) + 1, int(reach[1]) + 1, int(reach[2]) + 1)
    codes = [surface_codes(mask, margin, subvoxel=definition == "deepmind") for mask in (reference, prediction)]
    elements = [np.flatnonzero(code) for code in codes]
    weight = surfel_areas_mm2(spacing_mm) if definition == "deepmind" else np.ones(256)
    areas = [weight[code.reshape(-1)[element]] for code, element in zip(codes, elements, strict=True)]
    distances = [
        nearest_distances(elements[here], elements[there], codes[there], spacing_mm)
        if elements[there].size
        else np.full(elements[here].size, np.inf)
        for here, there in ((0, 1), (1, 0))
    ]
    return SurfaceDistances(
        reference_mm=distances[0],
        prediction_mm=distances[1],
        reference_areas=areas[0],
        prediction_areas=areas[1],
        definition=definition,
    )


def hausdorff_mm(distances: SurfaceDistances, *, percentile: float = 95.0) -> float:
    """Hausdorff distance at a percentile, mm: the worse of the two directed percentiles (Huttenlocher et al. 1993).

    Not the percentile of both directions pooled, which some tools call HD95 too. 0 when both surfaces are empty, inf
    when one is.
    """
    if not distances.reference_mm.size and not distances.prediction_mm.size:
        return 0.0
    if not distances.reference_mm.size or not distances.prediction_mm.size:
        return float("inf")
    directed = _area_percentile if distances.definition == "deepmind" else _rank_percentile
    return max(
        directed(distances.reference_mm, distances.reference_areas, percentile),
        directed(distances.prediction_mm, distances.prediction_areas, percentile),
    )


def _area_percentile(distances_mm: Floats, areas: Floats, percentile: float) -> float:
    # Ordered and summed as the published code does, so that shares that fall on the percentile round alike.
    order = np.lexsort((areas, distances_mm))
    share = np.cumsum(areas[order]) / np.sum(areas[order])
    index = min(int(np.searchsorted(share, percentile / 100)), order.size - 1)
    return float(distances_mm[order[index]])


def _rank_percentile(distances_mm: Floats, areas: Floats, percentile: float) -> float:
    del areas
    return float(np.percentile(distances_mm, percentile))


def surface_dice(distances: SurfaceDistances, *, tolerance_mm: float) -> float:
    """Share of both surfaces within a tolerance of each other, the NSD of Nikolov et al. (2018), 0 to 1.

    1 when both surfaces are empty, 0 when one is.
    """
    total = distances.reference_areas.sum() + distances.prediction_areas.sum()
    if total == 0:
        return 1.0
    close = distances.reference_areas[distances.reference_mm <= tolerance_mm].sum()
    close += distances.prediction_areas[distances.prediction_mm <= tolerance_mm].sum()
    return float(close / total)


def average_distance_mm(distances: SurfaceDistances) -> float:
    """Average symmetric surface distance, mm: over the elements of both surfaces together, by weight.

    Heimann et al. (2009, https://doi.org/10.1109/TMI.2009.2013851). 0 when both surfaces are empty, inf when one is.
    """
    total = distances.reference_areas.sum() + distances.prediction_areas.sum()
    if total == 0:
        return 0.0
    if not distances.reference_mm.size or not distances.prediction_mm.size:
        return float("inf")
    summed = distances.reference_mm @ distances.reference_areas + distances.prediction_mm @ distances.prediction_areas
    return float(summed / total)
