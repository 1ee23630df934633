"""Scores over cases: mean, spread, and how sure the mean is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError

RESAMPLES = 10_000
_BLOCK = 2_000_000  # drawn indices held at once: 16 MB


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """One metric over the cases.

    Attributes:
        mean: Arithmetic mean.
        sd: Sample standard deviation (n - 1); None for a single case, which has none.
        median: Median.
        ci95: 95 % bootstrap interval of the mean.
        n: Number of cases.
    """

    mean: float
    sd: float | None
    median: float
    ci95: tuple[float, float]
    n: int


def aggregate(values: Sequence[float], *, resamples: int = RESAMPLES, seed: int = 0) -> Aggregate:
    """Summarise one score per case.

    The interval is the percentile bootstrap over cases (Efron 1979, https://doi.org/10.1214/aos/1176344552). The same
    seed and number of cases give the same resamples, so intervals of two metrics rest on the same draws.

    Args:
        values: One finite score per case, at least one.
        resamples: Bootstrap samples.
        seed: Seed of the draws.

    Raises:
        DataError: When there is no value, or one that is not finite.

    Example:
        >>> aggregate([0.5, 0.7, 0.9]).mean
        0.7000000000000001
    """
    scores = np.asarray(values, dtype=np.float64)
    if not scores.size or not np.isfinite(scores).all():
        msg = f"aggregate: wanted finite scores of at least one case, got {scores[:5].tolist()}."
        raise DataError(msg)
    means = _bootstrap_means(scores, resamples=resamples, seed=seed)
    low, high = np.quantile(means, (0.025, 0.975))
    return Aggregate(
        mean=float(scores.mean()),
        sd=float(scores.std(ddof=1)) if scores.size > 1 else None,
        median=float(np.median(scores)),
        ci95=(float(low), float(high)),
        n=int(scores.size),
    )


def _bootstrap_means(scores: npt.NDArray[np.float64], *, resamples: int, seed: int) -> npt.NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // scores.size)
    blocks = [
        scores[rng.integers(scores.size, size=(min(rows, resamples - start), scores.size))].mean(axis=1)
        for start in range(0, resamples, rows)
    ]
    return np.concatenate(blocks)
