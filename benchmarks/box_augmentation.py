"""A patch turned and zoomed: MONAI's Affine and medseg in turn, in one process, on the same voxels.

Run: python benchmarks/box_augmentation.py [--repeats 9] [--threads 1]

A patch of 112^3 voxels becomes one of 96^3, as in a detector's training. One thread by default: that is what a loader
process has. The run fails when the results differ by more than float32 coordinates explain.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from monai.transforms import Affine
from side_by_side import HEADER, cost_in_turn, print_row

from medseg.transforms.box_affine import about_centre, inverse_linear, resample_affine

OLD, NEW = (112, 112, 112), (96, 96, 96)
AGREE = {"bilinear": 1e-3, "nearest": 1e-3}  # largest difference; share of voxels that took another neighbour


def main() -> None:
    """Prints one row per mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, *OLD)).astype(np.float32))
    linear = inverse_linear((0.3, -0.2, 0.4), 1.1, (1.0, 1.0, 1.0))
    matrix, centred = about_centre(linear, OLD, NEW), np.eye(4)
    centred[:3, :3] = linear
    print(HEADER)
    for mode in ("bilinear", "nearest"):
        peer = Affine(affine=centred, spatial_size=NEW, mode=mode, padding_mode="zeros", image_only=True)

        def theirs(peer: Affine = peer) -> torch.Tensor:
            return peer(image).as_tensor()

        def ours(nearest: bool = mode == "nearest") -> torch.Tensor:
            return resample_affine(image, matrix, NEW, nearest=nearest)

        apart = (theirs() - ours()).abs()
        worst = float(apart.max()) if mode == "bilinear" else float((apart > 1e-5).float().mean())
        if worst > AGREE[mode]:
            msg = f"{mode}: the results differ ({worst:.2g})"
            raise SystemExit(msg)
        what = "largest difference" if mode == "bilinear" else "share that differs"
        costs = cost_in_turn(theirs, ours, repeats=options.repeats)
        print_row(f"turn and zoom, {mode}", *costs, agreement=f"{what} {worst:.1g}")


if __name__ == "__main__":
    main()
