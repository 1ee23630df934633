"""A made-up scan, and how far two label maps of it are apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.errors import ConfigError
from medseg.volumes import Volume, write_volume

LEAST_DICE = 0.9999
MOST_GAP = 1e-3  # counts where the phantom has few labelled voxels
_SEED = 7
_WAVES = 6
_MARGIN = 3  # voxels of zeros around the phantom


Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far an exported pipeline's label map is from the bundle's.

    Attributes:
        dice: By label value; 1 where neither map has it.
        gap: Largest difference of two probabilities.
        voxels: Of the phantom.
        differing: Voxels with another label.
        decided: Those of them whose label does not hang on less than `MOST_GAP` of a probability: no rounding gives
            them another one.
        labelled: Voxels that the bundle labels.
    """

    dice: Mapping[int, float]
    gap: float
    voxels: int
    differing: int
    decided: int
    labelled: int

    @property
    def worst(self) -> float:
        """The lowest Dice."""
        return min(self.dice.values(), default=1.0)


def write_phantom(folder: Path, steps: Mapping[str, Any]) -> list[Path]:
    """Writes a scan for the pipeline, a file for each channel: smooth, larger than a window, stored as LPS.

    Args:
        folder: Where to.
        steps: The content of pipeline.json.
    """
    window, spacing = steps["windows"]["size"], steps["spacing_mm"] or [1.0, 1.0, 1.0]
    # A little coarser and finer than the network's grid, so that resampling is part of what is compared.
    widths = [width * factor for width, factor in zip(spacing, (0.9, 1.0, 1.15), strict=True)]
    shape = [round(1.3 * side * to / of) + 2 for side, to, of in zip(window, spacing, widths, strict=True)]
    affine = np.diag([-widths[0], -widths[1], widths[2], 1.0])
    affine[:3, 3] = (20.0, 30.0, -40.0)
    low, high = _range(steps)
    paths = []
    for number, name in enumerate(steps["modalities"]):
        array = (low + (high - low) * _waves(shape, number)).astype(np.float32)
        array[_outside(shape)] = min(low, 0.0)
        path = folder / f"phantom_{name}.nii.gz"
        like = Volume(array=array, affine_ras_mm=affine, path=path, header=None)
        paths.append(write_volume(path, array, like))
    return paths


def compare(wanted: tuple[Array, Array], got: tuple[Array, Array], *, values: list[int]) -> Parity:
    """How far two results are apart, each probabilities `(R, X, Y, Z)` and a label map `(X, Y, Z)`."""
    (expected, reference), (found, labels) = wanted, got
    other = reference != labels
    dice = {}
    for value in values:
        first, second = reference == value, labels == value
        total = int(first.sum()) + int(second.sum())
        dice[value] = 2 * int((first & second).sum()) / total if total else 1.0
    return Parity(
        dice=dice,
        gap=float(np.abs(expected - found).max()),
        voxels=reference.size,
        differing=int(other.sum()),
        decided=int((~_undecided(expected[:, other])).sum()),
        labelled=int((reference > 0).sum()),
    )


def require_parity(parity: Parity, *, name: str) -> None:
    """Refuses an export that gives other masks than the bundle.

    Float32 is not the same everywhere: where a network is undecided to within `MOST_GAP`, another order of sums gives
    another label. Such voxels are counted and stated, not refused; a barely trained network has many.

    Raises:
        ConfigError: With the Dice that was found.
    """
    if (parity.worst < LEAST_DICE and parity.decided) or parity.gap > MOST_GAP:
        msg = (
            f"{name}: the exported pipeline differs from the bundle on a phantom: Dice {parity.worst:.5f}, "
            f"{parity.differing} of {parity.voxels} voxels, {parity.decided} of them not by rounding, probabilities "
            f"by up to {parity.gap:.2g}; wanted {LEAST_DICE} and {MOST_GAP}. Export with --network-only, and report it."
        )
        raise ConfigError(msg)


def _undecided(probabilities: Array) -> npt.NDArray[np.bool_]:
    """Where a label hangs on less than `MOST_GAP`, at one half or between the two highest; of `(R, N)`."""
    close = np.abs(probabilities - 0.5) <= MOST_GAP
    ranked = np.sort(probabilities, axis=0)
    tied = ranked[-1] - ranked[-2] <= 2 * MOST_GAP if len(ranked) > 1 else np.zeros(ranked.shape[1:], bool)
    return np.asarray(close.any(axis=0) | tied)


def _range(steps: Mapping[str, Any]) -> tuple[float, float]:
    for step in steps["normalise"]:
        if step["how"] == "range":
            width = step["a_max"] - step["a_min"]
            return step["a_min"] - 0.2 * width, step["a_max"] + 0.2 * width
    return 1.0, 1000.0


def _waves(shape: list[int], number: int) -> npt.NDArray[np.float64]:
    """A sum of plane waves between 0 and 1, another one for each channel."""
    draws = np.random.default_rng((_SEED, number))
    axes = np.meshgrid(*[np.linspace(0, 1, size) for size in shape], indexing="ij")
    total = np.zeros(shape)
    for _ in range(_WAVES):
        direction, phase = draws.uniform(-4, 4, 3), draws.uniform(0, 1)
        total += np.cos(2 * np.pi * (sum(d * axis for d, axis in zip(direction, axes, strict=True)) + phase))
    return np.asarray((total - total.min()) / np.ptp(total))


def _outside(shape: list[int]) -> npt.NDArray[np.bool_]:
    inside = np.zeros(shape, dtype=bool)
    inside[tuple(slice(_MARGIN, size - _MARGIN) for size in shape)] = True
    return ~inside
