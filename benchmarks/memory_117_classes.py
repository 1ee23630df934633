"""117 classes on a large CT's own grid inside a fixed memory: what the plan says, and what the process held.

Run: python benchmarks/memory_117_classes.py [--max-memory-mb 4000] [--classes 117] [--shape 512 512 600]

A fresh process predicts a scan of 512x512x600 voxels at 0.8x0.8x1 mm, on a network grid of 1.5 mm, with windows of
128x128x128 at overlap 0.5, Gaussian weights and a stub network whose scores vary in space. It prints the peak resident
memory of the whole process (VmHWM: imports, image and result included) beside the predicted peak, and ends with an
error when the process held more than its budget or the prediction is off by more than 15 %. --check compares with the
plain way (all scores, interpolated, argmax), for sizes that this machine can hold.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch

from medseg.inference import SlidingWindow
from medseg.inference.native_grid import NativeGrid
from medseg.kernels.resample import resampled_shape
from medseg.record import peak_memory_mb

SPACING_MM, NETWORK_MM = (0.8, 0.8, 1.0), (1.5, 1.5, 1.5)
ACCURACY = 0.15


class StubNetwork:
    """Classes that lie in shells around the intensities they stand for: smooth scores, all structures of some size."""

    def __init__(self, classes: int) -> None:
        self.centres = torch.linspace(-1, 1, classes).reshape(1, -1, 1, 1, 1)
        self.seconds = 0.0

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        """Minus the distance between the intensity and the class's."""
        start = time.perf_counter()
        scores = torch.sub(windows, self.centres).abs_().neg_()
        self.seconds += time.perf_counter() - start
        return scores


def smooth_scan(shape: tuple[int, int, int]) -> torch.Tensor:
    """Waves along each axis, -1 to 1: boundaries everywhere, and no voxel like the next."""
    axes = [torch.sin(torch.arange(size) / (9.0 + 4 * place) + place) for place, size in enumerate(shape)]
    x, y, z = axes
    return ((x[:, None, None] + y[None, :, None] + z) / 3)[None, None].float()


def main() -> None:
    """Predict, and print the memory."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--max-memory-mb", type=float, default=4e9 / 2**20, help="MiB; 4 GB when not given")
    parser.add_argument("--classes", type=int, default=117)
    parser.add_argument("--shape", type=int, nargs=3, default=[512, 512, 600])
    parser.add_argument("--window", type=int, nargs=3, default=[128, 128, 128])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    sizes = resampled_shape(options.shape, SPACING_MM, new_spacing_mm=NETWORK_MM)
    image = smooth_scan(sizes)
    grid = NativeGrid.of(
        options.shape,
        np.diag([*SPACING_MM, 1.0]),
        network_affine_ras_mm=np.diag([*NETWORK_MM, 1.0]),
        network_shape=sizes,
    )
    infer = SlidingWindow(options.window, overlap=0.5, max_memory_mb=options.max_memory_mb)
    network, start = StubNetwork(options.classes), time.perf_counter()
    found = infer.predict_labels(image, network, grid=grid)
    seconds, peak, plan = time.perf_counter() - start, peak_memory_mb(), found.plan
    classes, counts = np.unique(found.labels[::4, ::4, ::4], return_counts=True)
    print(f"{options.classes} classes, {'x'.join(map(str, options.shape))} from {'x'.join(map(str, sizes))} voxels")
    print(f"{plan.windows} windows in {seconds:.0f} s, of which the network {network.seconds:.0f} s")
    print(f"budget {options.max_memory_mb:.0f} MiB, predicted {plan.predicted_mb:.0f}, VmHWM {peak:.0f} MiB")
    print(
        f"base {plan.base_mb:.0f}, network {plan.network_mb:.0f}, sums {plan.sums_mb:.0f}, labels {plan.labels_mb:.0f};"
    )
    print(f"written to a temporary file {plan.spilled_mb:.0f} MiB; {len(classes)} classes seen, most {counts.max()}")
    if options.check:
        check(infer, network, image, grid, found.labels)
    if peak > options.max_memory_mb or abs(plan.predicted_mb / peak - 1) > ACCURACY:
        sys.exit("the budget or the prediction was missed")


def check(
    infer: SlidingWindow, network: StubNetwork, image: torch.Tensor, grid: NativeGrid, labels: np.ndarray
) -> None:
    """Share of voxels that differ from interpolating all scores and taking the argmax."""
    scores = infer(image, network)[0]
    for axis, positions in enumerate(grid.positions, 1):
        low = torch.from_numpy(np.floor(positions).astype(np.int64))
        weight = torch.from_numpy(positions - low.numpy()).float()
        high = (low + (weight > 0)).clamp(max=scores.shape[axis] - 1)
        shape = [1, 1, 1, 1]
        shape[axis] = -1
        below, above = scores.index_select(axis, low), scores.index_select(axis, high)
        scores = below + weight.reshape(shape) * (above - below)
    differing = float(np.mean(scores.argmax(0).numpy() != labels))
    print(f"{differing:.1e} of the voxels differ from the two-step way")
    if differing > 1e-6:
        sys.exit("too many voxels differ")


if __name__ == "__main__":
    main()
