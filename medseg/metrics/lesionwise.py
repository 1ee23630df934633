"""Lesion-wise Dice, HD95 and F1 by the rules of BraTS 2023: each lesion counts once, whatever its size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medseg.errors import ConfigError, DataError
from medseg.metrics.surface import hausdorff_mm, surface_distances

Mask = npt.NDArray[np.bool_]
Components = npt.NDArray[np.int32]

_TOUCHING = np.ones((3, 3, 3), dtype=bool)  # 26 neighbours
_DILATION = ndimage.generate_binary_structure(3, 2)  # 18 neighbours


@dataclass(frozen=True, kw_only=True)
class LesionRules:
    """How a challenge counts lesions.

    Attributes:
        dilation: Steps of 18 neighbours by which a lesion of the reference is widened, both to merge what lies close
            and to find what was predicted for it.
        least_volume_mm3: A lesion of this volume or less is not scored; what was predicted for it is no false positive.
        missed_hd95_mm: HD95 of a missed lesion and of a false positive; None for the diagonal of the grid in voxels.
        source: Where the rules stand.
    """

    dilation: int
    least_volume_mm3: float
    missed_hd95_mm: float | None
    source: str


_2023 = "https://github.com/rachitsaluja/BraTS-2023-Metrics, eval.py"
_2024 = "https://github.com/rachitsaluja/BraTS-2024-Metrics, metrics_MEN_RT.py"

LESION_RULES: dict[str, LesionRules] = {
    "brats2023_gli": LesionRules(dilation=3, least_volume_mm3=50.0, missed_hd95_mm=374.0, source=_2023),
    "brats2023_ssa": LesionRules(dilation=3, least_volume_mm3=50.0, missed_hd95_mm=374.0, source=_2023),
    "brats2023_men": LesionRules(dilation=1, least_volume_mm3=50.0, missed_hd95_mm=374.0, source=_2023),
    "brats2023_ped": LesionRules(dilation=3, least_volume_mm3=50.0, missed_hd95_mm=374.0, source=_2023),
    "brats2023_met": LesionRules(dilation=1, least_volume_mm3=2.0, missed_hd95_mm=374.0, source=_2023),
    "brats2024_men_rt": LesionRules(dilation=1, least_volume_mm3=50.0, missed_hd95_mm=None, source=_2024),
}
_SHORT = {"brats2023": "brats2023_gli"}


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One lesion of the reference, parts that lie close to each other taken together.

    Attributes:
        volume_mm3: Its volume.
        found: Whether any predicted component touches the widened lesion.
        dice: Dice of it and all those components; 0 when missed.
        hd95_mm: HD95 of the same, by sub-voxel surfaces; the penalty when missed.
        scored: Whether it is larger than the rules' least volume.
    """

    volume_mm3: float
    found: bool
    dice: float
    hd95_mm: float
    scored: bool


@dataclass(frozen=True, kw_only=True)
class LesionScore:
    """One region of one case.

    Attributes:
        dice: Sum of the lesions' Dice over the number of lesions and false positives; 1 when there is neither.
        hd95_mm: The same of HD95, a false positive counting the penalty; 0 when there is neither.
        f1: 2 TP / (2 TP + FP + FN); 1 when there is nothing.
        n_tp: Scored lesions that were found.
        n_fp: Predicted components, of any size, that belong to no lesion.
        n_fn: Scored lesions that were missed.
        lesions: Every lesion, those too small to be scored too.
    """

    dice: float
    hd95_mm: float
    f1: float
    n_tp: int
    n_fp: int
    n_fn: int
    lesions: tuple[Lesion, ...]


def get_lesion_rules(name: str, *, where: str = "lesion rules") -> LesionRules:
    """The rules of a challenge; `brats2023` is its glioma task.

    Raises:
        ConfigError: When no rules have the name.
    """
    rules = LESION_RULES.get(_SHORT.get(name, name))
    if rules is None:
        msg = f"{where}: no rules are named {name!r}. Known: {', '.join([*_SHORT, *LESION_RULES])}."
        raise ConfigError(msg)
    return rules


def score_lesions(
    reference: Mask, prediction: Mask, *, spacing_mm: tuple[float, float, float], rules: LesionRules
) -> LesionScore:
    """Score one region lesion by lesion.

    1. Voxels of the reference that are connected (26 neighbours) after the dilation are one lesion; its voxels stay
       those of the reference. 2. Every predicted component (26 neighbours) that touches the widened lesion belongs to
       it; it may belong to several. 3. Components that belong to no lesion, also to none that is too small to be
       scored, are false positives. 4. Lesions at or below the least volume leave the means and counts.

    Args:
        reference: Mask `(X, Y, Z)`.
        prediction: Mask of the same shape.
        spacing_mm: Voxel size along X, Y, Z.
        rules: A row of `LESION_RULES`.

    Raises:
        DataError: When the shapes differ or are not 3D.
    """
    if reference.shape != prediction.shape or reference.ndim != 3:
        msg = f"score_lesions: mask shapes {reference.shape} and {prediction.shape} must be equal and 3D."
        raise DataError(msg)
    penalty_mm = _penalty_mm(reference.shape, rules)
    lesions_of, n_lesions = _lesions(reference, rules.dilation)
    predicted, n_predicted = _components(prediction)
    boxes = ndimage.find_objects(predicted)
    matched: set[int] = set()
    lesions = []
    for number, box in enumerate(ndimage.find_objects(lesions_of, max_label=n_lesions), start=1):
        numbers = _touching(lesions_of, predicted, number=number, box=box, steps=rules.dilation)
        matched.update(numbers)
        crop = _union([box, *(boxes[i - 1] for i in numbers)])
        lesions.append(
            _lesion(
                lesions_of[crop] == number,
                np.isin(predicted[crop], numbers),
                spacing_mm=spacing_mm,
                penalty_mm=penalty_mm,
                least_volume_mm3=rules.least_volume_mm3,
            )
        )
    return _summed(tuple(lesions), n_fp=n_predicted - len(matched), penalty_mm=penalty_mm)


def lesion_penalty_mm(shape: tuple[int, ...], rules: LesionRules) -> float:
    """HD95 of a missed lesion on a grid of this shape."""
    return _penalty_mm(shape, rules)


def _penalty_mm(shape: tuple[int, ...], rules: LesionRules) -> float:
    return rules.missed_hd95_mm if rules.missed_hd95_mm is not None else math.sqrt(sum(size**2 for size in shape))


def _components(mask: Mask) -> tuple[Components, int]:
    labels, count = ndimage.label(mask, structure=_TOUCHING)
    return np.asarray(labels, dtype=np.int32), int(count)


def _lesions(reference: Mask, steps: int) -> tuple[Components, int]:
    """The reference's voxels, numbered by the component of the widened mask that they lie in."""
    crop = _widened(_bounds(reference), steps, reference.shape)
    inside = reference[crop]
    labels, count = _components(ndimage.binary_dilation(inside, structure=_DILATION, iterations=steps))
    lesions = np.zeros(reference.shape, dtype=np.int32)
    lesions[crop] = np.where(inside, labels, 0)
    return lesions, count


def _touching(
    lesions: Components, predicted: Components, *, number: int, box: tuple[slice, ...], steps: int
) -> list[int]:
    crop = _widened(box, steps, lesions.shape)
    wide = ndimage.binary_dilation(lesions[crop] == number, structure=_DILATION, iterations=steps)
    found = np.unique(predicted[crop][wide])
    return [int(label) for label in found if label]


def _lesion(
    reference: Mask,
    prediction: Mask,
    *,
    spacing_mm: tuple[float, float, float],
    penalty_mm: float,
    least_volume_mm3: float,
) -> Lesion:
    volume_mm3 = float(np.count_nonzero(reference) * np.prod(spacing_mm))
    total = np.count_nonzero(reference) + np.count_nonzero(prediction)
    hd95 = hausdorff_mm(surface_distances(reference, prediction, spacing_mm=spacing_mm), percentile=95)
    return Lesion(
        volume_mm3=volume_mm3,
        found=bool(prediction.any()),
        dice=float(2 * np.count_nonzero(reference & prediction) / total),
        hd95_mm=hd95 if math.isfinite(hd95) else penalty_mm,
        scored=volume_mm3 > least_volume_mm3,
    )


def _summed(lesions: tuple[Lesion, ...], *, n_fp: int, penalty_mm: float) -> LesionScore:
    scored = [lesion for lesion in lesions if lesion.scored]
    n_tp = sum(lesion.found for lesion in scored)
    n_fn, counted = len(scored) - n_tp, len(scored) + n_fp
    return LesionScore(
        dice=sum(lesion.dice for lesion in scored) / counted if counted else 1.0,
        hd95_mm=(sum(lesion.hd95_mm for lesion in scored) + n_fp * penalty_mm) / counted if counted else 0.0,
        f1=2 * n_tp / (2 * n_tp + n_fp + n_fn) if counted else 1.0,
        n_tp=n_tp,
        n_fp=n_fp,
        n_fn=n_fn,
        lesions=lesions,
    )


def _bounds(mask: Mask) -> tuple[slice, ...]:
    found = ndimage.find_objects(mask.view(np.uint8))
    return found[0] if found and found[0] is not None else (slice(0, 0),) * mask.ndim


def _widened(box: tuple[slice, ...], steps: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(max(0, s.start - steps), min(size, s.stop + steps)) for s, size in zip(box, shape, strict=True))


def _union(boxes: list[tuple[slice, ...]]) -> tuple[slice, ...]:
    return tuple(
        slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes)) for axis in range(3)
    )
