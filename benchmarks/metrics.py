"""Dice, HD95 and NSD of three nested regions: MONAI and medseg in turn, in one process, on the same label maps.

Run: python benchmarks/metrics.py [--repeats 7] [--reference LABELS --prediction LABELS]

Without files the maps are nested ellipsoids with wavy surfaces on the BraTS grid (240x240x155, 1 mm). Times are wall
medians after one warm-up each (imports and compilation are not counted). Memory is the peak of the resident set above
its level before the call. medseg is given the label maps and computes all eight metrics; MONAI is given the region
masks as float tensors and computes the three. The run fails when the scores differ by more than 1e-6 of their size;
a region that is empty on a side is left out of that check, since MONAI gives NaN there.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from side_by_side import peak_mb, seconds_of

from medseg.evaluation.label_files import read_labels
from medseg.kernels.confusion import label_confusion
from medseg.metrics import score_labels

REGIONS = {"TC": (1, 4), "WT": (1, 2, 4), "ET": (4,)}
SHAPE = (240, 240, 155)
TOLERANCE_MM = 1.0
Scores = dict[str, list[float]]


def ellipsoids(centre: tuple[float, float, float], phase: float) -> npt.NDArray[np.uint8]:
    """Label map of enhancement (4) in core (1) in oedema (2), each an ellipsoid with a wavy surface."""
    x, y, z = (axis - c for axis, c in zip(np.indices(SHAPE, dtype=np.float32), centre, strict=True))
    radius = np.sqrt(x**2 + (y / 0.85) ** 2 + (z / 0.7) ** 2)
    angle = np.arctan2(y, x)
    waves = 1 + 0.10 * np.sin(5 * angle + phase) + 0.05 * np.cos(z / 4 + phase)
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for value, size in ((2, 42), (1, 24), (4, 15)):
        labels[radius < size * waves] = value
    return np.asfortranarray(labels)  # as a NIfTI file gives it


def with_monai(reference: npt.NDArray[np.uint8], prediction: npt.NDArray[np.uint8]) -> dict[str, Callable[[], Scores]]:
    """The three pieces of work, done by MONAI."""
    import torch
    from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice

    y, y_pred = (
        torch.from_numpy(np.stack([np.isin(labels, values) for values in REGIONS.values()])).float()[None]
        for labels in (reference, prediction)
    )
    shared = {"include_background": True, "spacing": [1.0, 1.0, 1.0]}

    def dice() -> Scores:
        return {"dice": compute_dice(y_pred, y)[0].tolist()}

    def scores(*, subvoxel: bool) -> Scores:
        hd95 = compute_hausdorff_distance(y_pred, y, percentile=95, **shared)[0].tolist()
        nsd = compute_surface_dice(y_pred, y, [TOLERANCE_MM] * 3, use_subvoxels=subvoxel, **shared)[0].tolist()
        # MONAI's HD95 knows no sub-voxel surface: there is nothing to compare it with.
        return {**dice(), "nsd": nsd} if subvoxel else {**dice(), "hd95_mm": hd95, "nsd": nsd}

    return {
        "Dice + HD95 + NSD, voxel surface": lambda: scores(subvoxel=False),
        "Dice + HD95 + NSD, sub-voxel NSD": lambda: scores(subvoxel=True),
        "Dice": dice,
    }


def with_medseg(reference: npt.NDArray[np.uint8], prediction: npt.NDArray[np.uint8]) -> dict[str, Callable[[], Scores]]:
    """The three pieces of work, done by medseg."""

    def scores(definition: str) -> Scores:
        found = score_labels(
            reference,
            prediction,
            regions=REGIONS,
            spacing_mm=(1.0, 1.0, 1.0),
            tolerance_mm=TOLERANCE_MM,
            definition=definition,
        )
        return {name: [score.values[name] for score in found.values()] for name in ("dice", "hd95_mm", "nsd")}

    def dice() -> Scores:
        counts, _ = label_confusion(reference.T, prediction.T)
        insides = [np.isin(np.arange(256), values) for values in REGIONS.values()]
        sums = [(counts[np.ix_(i, i)].sum(), counts[i].sum() + counts[:, i].sum()) for i in insides]
        return {"dice": [2 * both / total for both, total in sums]}

    return {
        "Dice + HD95 + NSD, voxel surface": lambda: scores("voxel"),
        "Dice + HD95 + NSD, sub-voxel NSD": lambda: scores("deepmind"),
        "Dice": dice,
    }


def compare(name: str, theirs: Callable[[], Scores], ours: Callable[[], Scores], repeats: int) -> None:
    """Check, time and print one line."""
    want, got = theirs(), ours()
    apart = max(
        float(np.nanmax(np.abs(np.subtract(got[key], want[key])) / np.maximum(want[key], 1e-9))) for key in want
    )
    if not apart <= 1e-6:
        sys.exit(f"{name}: scores differ by {apart:.1e}: MONAI {want}, medseg {got}")
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for call, times in zip((theirs, ours), seconds, strict=True):
            times.append(seconds_of(call))
    a, b = (statistics.median(times) for times in seconds)
    memory = [peak_mb(call) for call in (theirs, ours)]
    print(f"| {name} | {a:.3f} s, {memory[0]:.0f} MB | {b:.4f} s, {memory[1]:.0f} MB | {a / b:.0f}x | {apart:.0e} |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--prediction", type=Path)
    options = parser.parse_args()
    if options.reference and options.prediction:
        reference, prediction = (
            read_labels(path, case_id="benchmark").array for path in (options.reference, options.prediction)
        )
    else:
        reference, prediction = ellipsoids((125, 110, 80), 0.0), ellipsoids((127, 111, 79), 0.6)
    print("| work, three regions | MONAI | medseg | ratio | scores differ by |\n|---|---|---|---|---|")
    theirs, ours = with_monai(reference, prediction), with_medseg(reference, prediction)
    for name in theirs:
        compare(name, theirs[name], ours[name], options.repeats)


if __name__ == "__main__":
    main()
