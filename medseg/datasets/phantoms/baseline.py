"""What intensity thresholds alone can do: the floor that a network must clear to have learned anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medseg.datasets.cases import Item, find_cases
from medseg.datasets.training import training_items
from medseg.labels import LabelConvention, get_convention, labels_to_regions, regions_to_labels
from medseg.metrics.overlap import Counts, dice
from medseg.volumes import read_volume, write_label_map

Images = npt.NDArray[np.generic]
Mask = npt.NDArray[np.bool_]

_LEVELS = 48  # candidate thresholds for each bound
_SWEEPS = 4
_STRIDE = 5  # one voxel in five is enough to place a threshold


@dataclass(frozen=True)
class RegionRule:
    """A voxel is in the region when each normalised sequence lies between two thresholds.

    Attributes:
        low: Lower thresholds, one for each sequence; -inf where there is none.
        high: Upper thresholds.
        largest_only: Whether only the largest connected component is kept.
        filled: Whether holes are filled, as necrosis within an enhancing rim.
        in_whole: Whether the region is looked for in the largest region only, else in the whole brain.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    largest_only: bool = False
    filled: bool = False
    in_whole: bool = False

    def apply(self, normalised: npt.NDArray[np.float32], within: Mask) -> Mask:
        """The region's mask inside `within`, for sequences `(C, X, Y, Z)`."""
        box = _bounding_box(within)
        mask = within[box].copy()
        for image, low, high in zip(normalised, self.low, self.high, strict=True):
            mask &= (image[box] >= low) & (image[box] <= high)
        mask = _largest(mask) if self.largest_only else mask
        whole = np.zeros_like(within)
        whole[box] = _filled(mask) if self.filled else mask
        return whole


@dataclass(frozen=True)
class ThresholdBaseline:
    """Thresholds fitted to training cases, region by region, the inner regions inside the outer ones.

    Attributes:
        convention: What the labels mean.
        rules: One rule for each region, the largest region first.
    """

    convention: LabelConvention
    rules: dict[str, RegionRule]

    @classmethod
    def fit(
        cls, images: Sequence[Images], labels: Sequence[npt.NDArray[np.generic]], *, convention: LabelConvention
    ) -> ThresholdBaseline:
        """The thresholds with the best mean Dice on the training cases.

        Each bound of each sequence is set in turn to the best of 48 levels, four times over, from two starts and both
        in the brain and in the whole tumour. Then the best clean-up is chosen (largest component, filled holes), and
        the lower bounds are moved once more under it.

        Args:
            images: Sequences of each case, `(C, X, Y, Z)`, 0 outside the brain.
            labels: Label map of each case, `(X, Y, Z)`.
            convention: What the labels mean.
        """
        cases = [normalise(image) for image in images]
        regions = [labels_to_regions(label, convention) for label in labels]
        brains = [np.any(case != 0, axis=0) for case in cases]
        rules: dict[str, RegionRule] = {}
        wholes: list[Mask] = []
        # The whole first, then the parts in it; the smallest before the middle one, which may be its filled self.
        for name in sorted(convention.regions, key=lambda name: _fit_order(name, convention)):
            truth = [region[list(convention.regions).index(name)] for region in regions]
            rules[name] = _fit_region(cases, truth, brains, wholes, fitted=tuple(rules.values()))
            wholes = wholes or [rules[name].apply(case, brain) for case, brain in zip(cases, brains, strict=True)]
        return cls(convention, rules)

    def predict(self, image: Images) -> npt.NDArray[np.uint8]:
        """The label map of a case with sequences `(C, X, Y, Z)`."""
        normalised = normalise(image)
        brain = np.any(normalised != 0, axis=0)
        masks: dict[str, Mask] = {}
        for name, rule in self.rules.items():
            masks[name] = rule.apply(normalised, next(iter(masks.values())) if rule.in_whole else brain)
        return regions_to_labels(np.stack([masks[name] for name in self.convention.regions]), self.convention)


def normalise(image: Images) -> npt.NDArray[np.float32]:
    """Each sequence with mean 0 and SD 1 over its non-zero voxels; 0 stays outside."""
    normalised = np.zeros(image.shape, dtype=np.float32)
    for out, channel in zip(normalised, image, strict=True):
        inside = channel != 0
        values = channel[inside].astype(np.float64)
        if values.size:
            out[inside] = (values - values.mean()) / max(float(values.std()), 1e-6)
    return normalised


def predict_with_thresholds(
    training: Path, unseen: Path, out_dir: Path, *, modalities: Sequence[str], label_convention: str
) -> None:
    """Fit the baseline to the cases of one folder and write `<case_id>.nii.gz` for those of another.

    Raises:
        DataError: When a folder has no case, a training case has no label, or a file cannot be read or written.
    """
    known = training_items(dataset_dir=training, modalities=modalities, section="all")
    labels = [read_volume(item["label"]).array for item in known]
    fitted = ThresholdBaseline.fit(
        [_images(item) for item in known], labels, convention=get_convention(label_convention)
    )
    for item in find_cases(unseen, modalities=modalities):
        like = read_volume(item["image"][0])
        write_label_map(out_dir / f"{item['case_id']}.nii.gz", fitted.predict(_images(item)), like=like)


def _images(item: Item) -> Images:
    return np.stack([read_volume(path).array for path in item["image"]])


def _fit_order(name: str, convention: LabelConvention) -> tuple[bool, int]:
    sizes = {region: len(values) for region, values in convention.regions.items()}
    return (sizes[name] < max(sizes.values()), sizes[name])


def _fit_region(
    cases: Sequence[npt.NDArray[np.float32]],
    truth: Sequence[Mask],
    brains: Sequence[Mask],
    wholes: Sequence[Mask],
    *,
    fitted: tuple[RegionRule, ...],
) -> RegionRule:
    """The best of the fitted bounds and those of the regions before, each with and without clean-up."""

    def score(rule: RegionRule) -> float:
        return _mean_dice(rule, cases, truth, wholes if rule.in_whole else brains)

    found = []
    for in_whole in (False, True) if wholes else (False,):
        for bounds in _fit_bounds(cases, truth, wholes if in_whole else brains):
            found.append(RegionRule(tuple(bounds[0].tolist()), tuple(bounds[1].tolist()), in_whole=in_whole))
    found += [replace(rule, in_whole=bool(wholes)) for rule in fitted[1:]]
    cleaned = [
        replace(rule, largest_only=largest, filled=filled)
        for rule in found
        for largest in (False, True)
        for filled in (False, True)
    ]
    best = max(cleaned, key=score)
    return max([best, *_moved(best)], key=score)


def _fit_bounds(
    cases: Sequence[npt.NDArray[np.float32]], truth: Sequence[Mask], within: Sequence[Mask]
) -> list[npt.NDArray[np.float64]]:
    """Lower and upper bounds `(2, C)` by coordinate ascent on the mean Dice, from no bounds and from tight ones."""
    values = [case[:, mask][:, ::_STRIDE] for case, mask in zip(cases, within, strict=True)]
    inside = [reference[mask][::_STRIDE] for reference, mask in zip(truth, within, strict=True)]
    missed = [int((ref & ~mask).sum()) // _STRIDE for ref, mask in zip(truth, within, strict=True)]
    region = np.concatenate([value[:, kept] for value, kept in zip(values, inside, strict=True)], axis=1)
    if not region.size:
        return []
    levels = _candidates(region, np.concatenate(values, axis=1))
    free = np.stack([np.full(len(levels), -np.inf), np.full(len(levels), np.inf)])
    tight = np.quantile(region, (0.1, 0.9), axis=1)
    return [_ascend(start, values, inside, missed, levels=levels) for start in (free, tight)]


def _ascend(
    bounds: npt.NDArray[np.float64],
    values: Sequence[npt.NDArray[np.float32]],
    inside: Sequence[Mask],
    missed: Sequence[int],
    *,
    levels: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    for _ in range(_SWEEPS):
        for channel in range(len(levels)):
            for side in (0, 1):
                scores = np.zeros(_LEVELS + 1)
                for value, kept, lost in zip(values, inside, missed, strict=True):
                    scores += _dice_by_level(value, kept, lost, bounds, channel=channel, side=side, levels=levels)
                bounds[side, channel] = _best_level(scores, levels[channel], side)
    return bounds


def _candidates(region: npt.NDArray[np.float32], values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Levels `(C, 48)`: half of them quantiles of the region, half evenly over the range of all values."""
    quantiles = np.quantile(region, np.linspace(0.0, 1.0, _LEVELS // 2), axis=1)
    low, high = np.quantile(values, (0.001, 0.999), axis=1)
    return np.sort(np.concatenate([quantiles, np.linspace(low, high, _LEVELS // 2)]).T, axis=1)


def _best_level(scores: npt.NDArray[np.float64], levels: npt.NDArray[np.float64], side: int) -> float:
    """The level of the best score, the middle one of equals; no bound (the last score) where none is better."""
    equals = np.flatnonzero(scores == scores.max())
    return (-np.inf, np.inf)[side] if equals[-1] == _LEVELS else float(levels[equals[len(equals) // 2]])


def _dice_by_level(
    value: npt.NDArray[np.float32],
    kept: Mask,
    lost: int,
    bounds: npt.NDArray[np.float64],
    *,
    channel: int,
    side: int,
    levels: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Dice for each level of one bound, the others fixed; the last entry is without that bound."""
    free = bounds.copy()
    free[side, channel] = (-np.inf, np.inf)[side]
    chosen = ((value >= free[0][:, None]) & (value <= free[1][:, None])).all(axis=0)
    sorted_all, sorted_true = np.sort(value[channel, chosen]), np.sort(value[channel, chosen & kept])
    positives, hits = (_passing(array, levels[channel], side) for array in (sorted_all, sorted_true))
    total = int(kept.sum()) + lost
    return 2.0 * hits / np.maximum(positives + total, 1)


def _passing(ordered: npt.NDArray[np.float32], levels: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.float64]:
    """How many values pass a lower (0) or upper (1) bound at each level, then without bound."""
    below = np.searchsorted(ordered, levels, side="left" if side == 0 else "right")
    counts = ordered.size - below if side == 0 else below
    return np.append(counts, ordered.size).astype(np.float64)


def _moved(rule: RegionRule) -> list[RegionRule]:
    """The rule with each finite lower bound a little lower or higher, since clean-up shifts the best one."""
    rules = []
    for channel, low in enumerate(rule.low):
        for step in (-0.3, 0.3) if np.isfinite(low) else ():
            rules.append(replace(rule, low=(*rule.low[:channel], low + step, *rule.low[channel + 1 :])))
    return rules


def _mean_dice(
    rule: RegionRule, cases: Sequence[npt.NDArray[np.float32]], truth: Sequence[Mask], within: Sequence[Mask]
) -> float:
    triples = zip(cases, truth, within, strict=True)
    return float(np.mean([_dice(rule.apply(case, mask), reference) for case, reference, mask in triples]))


def _bounding_box(mask: Mask) -> tuple[slice, ...]:
    return (ndimage.find_objects(mask.astype(np.uint8)) or [(slice(0, 1),) * 3])[0]


def _largest(mask: Mask) -> Mask:
    labelled, count = ndimage.label(mask)
    if count < 2:
        return mask
    return np.asarray(labelled == 1 + int(np.bincount(labelled.ravel())[1:].argmax()))


def _filled(mask: Mask) -> Mask:
    """The mask and what it encloses: whatever background does not reach the border."""
    labelled, _ = ndimage.label(~np.pad(mask, 1))
    return np.asarray(labelled != labelled[0, 0, 0])[1:-1, 1:-1, 1:-1]


def _dice(mask: Mask, reference: Mask) -> float:
    both = int((mask & reference).sum())
    extra, missed = int(mask.sum()) - both, int(reference.sum()) - both
    return dice(Counts(both=both, prediction_only=extra, reference_only=missed))
