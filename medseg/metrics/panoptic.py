"""Panoptic quality of the components of two masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medseg.errors import DataError

_TOUCHING = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, kw_only=True)
class PanopticScore:
    """Panoptic quality, and what it is the product of.

    Attributes:
        quality: `segmentation` times `recognition`, 0 to 1.
        segmentation: Mean IoU of the matched instances; 0 without any, 1 when there is no instance at all.
        recognition: F1 of the instances, 1 when there is none.
        n_tp: Matched pairs.
        n_fp: Predicted instances without a partner.
        n_fn: Instances of the reference without one.
    """

    quality: float
    segmentation: float
    recognition: float
    n_tp: int
    n_fp: int
    n_fn: int


def panoptic_quality(reference: npt.NDArray[np.bool_], prediction: npt.NDArray[np.bool_]) -> PanopticScore:
    """Panoptic quality of the connected components (26 neighbours) of two masks.

    Kirillov et al. 2019 (https://arxiv.org/abs/1801.00868): instances match when their IoU is above 0.5, so that each
    has one partner at most.

    Raises:
        DataError: When the shapes differ or are not 3D.
    """
    if reference.shape != prediction.shape or reference.ndim != 3:
        msg = f"panoptic_quality: mask shapes {reference.shape} and {prediction.shape} must be equal and 3D."
        raise DataError(msg)
    theirs, n_theirs = ndimage.label(reference, structure=_TOUCHING)
    ours, n_ours = ndimage.label(prediction, structure=_TOUCHING)
    ious = _matched_ious(np.asarray(theirs), np.asarray(ours), n_theirs=int(n_theirs), n_ours=int(n_ours))
    n_tp, n_fp, n_fn = len(ious), int(n_ours) - len(ious), int(n_theirs) - len(ious)
    if not n_ours and not n_theirs:
        return PanopticScore(quality=1.0, segmentation=1.0, recognition=1.0, n_tp=0, n_fp=0, n_fn=0)
    segmentation = float(ious.mean()) if n_tp else 0.0
    recognition = 2 * n_tp / (2 * n_tp + n_fp + n_fn)
    return PanopticScore(
        quality=segmentation * recognition,
        segmentation=segmentation,
        recognition=recognition,
        n_tp=n_tp,
        n_fp=n_fp,
        n_fn=n_fn,
    )


def _matched_ious(
    theirs: npt.NDArray[np.int32], ours: npt.NDArray[np.int32], *, n_theirs: int, n_ours: int
) -> npt.NDArray[np.float64]:
    """IoU of each pair that overlaps by more than half of its union."""
    where = (theirs > 0) & (ours > 0)
    pairs, both = np.unique(theirs[where].astype(np.int64) * (n_ours + 1) + ours[where], return_counts=True)
    sizes_theirs = np.bincount(theirs.reshape(-1), minlength=n_theirs + 1)
    sizes_ours = np.bincount(ours.reshape(-1), minlength=n_ours + 1)
    union = sizes_theirs[pairs // (n_ours + 1)] + sizes_ours[pairs % (n_ours + 1)] - both
    ious = np.asarray(both / union, dtype=np.float64)
    return ious[ious > 0.5]
