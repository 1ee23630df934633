"""Calibration: whether voxels that a model calls 80 % sure are right in 80 % of the cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError

BINS = 15


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """A reliability diagram of one region, by bins of equal width of its probability.

    Reliabilities of several cases add up by `merge`, since every field is a sum.

    Attributes:
        count: Voxels in each bin.
        probability: Sum of the probabilities in each bin.
        positive: Voxels of the region in each bin.
        squared_error: Sum over all voxels of (probability - truth) squared.
    """

    count: npt.NDArray[np.int64]
    probability: npt.NDArray[np.float64]
    positive: npt.NDArray[np.int64]
    squared_error: float

    @property
    def ece(self) -> float:
        """Expected calibration error, 0 to 1: the bins' gap of mean probability and frequency, by their share.

        Naeini et al. 2015 (https://doi.org/10.1609/aaai.v29i1.9602), Guo et al. 2017 (https://arxiv.org/abs/1706.04599),
        for the probability of the region itself.
        """
        return float(np.abs(self.probability - self.positive).sum() / self.count.sum())

    @property
    def mce(self) -> float:
        """Maximum calibration error: the largest gap of a bin that holds voxels."""
        held = self.count > 0
        return float((np.abs(self.probability - self.positive)[held] / self.count[held]).max())

    @property
    def brier(self) -> float:
        """Mean squared error of the probability (Brier 1950), 0 to 1."""
        return float(self.squared_error / self.count.sum())

    def curve(self) -> list[tuple[float, float, int]]:
        """Of each bin with voxels: mean probability, share of voxels in the region, number of voxels."""
        return [
            (float(p / n), float(k / n), int(n))
            for n, p, k in zip(self.count, self.probability, self.positive, strict=True)
            if n
        ]


def reliability(
    probabilities: npt.NDArray[np.floating], truth: npt.NDArray[np.bool_], *, bins: int = BINS
) -> Reliability:
    """Sort voxels into bins by their probability.

    Background far from everything is easy and most of the volume; give a crop, or the voxels that matter, to see the
    rest. Bins are `[0, 1/n], (1/n, 2/n], ...`.

    Args:
        probabilities: Of the region, 0 to 1.
        truth: Whether the voxel is of the region; the same shape.
        bins: How many.

    Raises:
        DataError: When the shapes differ, nothing is there, or a probability is outside 0 to 1.

    Example:
        >>> import numpy as np
        >>> round(reliability(np.array([0.9, 0.9, 0.9, 0.9]), np.array([True, True, True, False])).ece, 3)
        0.15
    """
    values = np.asarray(probabilities, dtype=np.float64).reshape(-1)
    right = np.asarray(truth, dtype=bool).reshape(-1)
    if values.size != right.size or not values.size or bins < 1:
        msg = f"reliability: {values.size} probabilities, {right.size} truths, {bins} bins. Wanted one truth for each."
        raise DataError(msg)
    if not (values.min() >= 0 and values.max() <= 1):
        msg = f"reliability: probabilities from {values.min():g} to {values.max():g}. Wanted 0 to 1; apply the sigmoid."
        raise DataError(msg)
    places = bin_of(values, bins=bins)
    return Reliability(
        count=np.bincount(places, minlength=bins),
        probability=np.bincount(places, weights=values, minlength=bins).astype(np.float64),
        positive=np.bincount(places[right], minlength=bins),
        squared_error=float(np.square(values - right).sum()),
    )


def bin_of(probabilities: npt.NDArray[np.float64], *, bins: int = BINS) -> npt.NDArray[np.int64]:
    """The bin of each probability: `[0, 1/n], (1/n, 2/n], ...`."""
    return np.clip(np.ceil(probabilities * bins).astype(np.int64) - 1, 0, bins - 1)


def merge(parts: list[Reliability]) -> Reliability:
    """The reliability of several cases together, every voxel of equal weight.

    Raises:
        DataError: When there is none.
    """
    if not parts:
        msg = "merge: no reliability to merge. Wanted at least one case."
        raise DataError(msg)
    return Reliability(
        count=np.sum([part.count for part in parts], axis=0),
        probability=np.sum([part.probability for part in parts], axis=0),
        positive=np.sum([part.positive for part in parts], axis=0),
        squared_error=sum(part.squared_error for part in parts),
    )
