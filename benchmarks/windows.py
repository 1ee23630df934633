"""Windows merged into labels: MONAI's sliding_window_inference with argmax, and SlidingWindow.predict_labels.

Run: python benchmarks/windows.py [--classes 3 25] [--shape 240 240 155] [--window 128 128 128] [--repeats 3]
     python benchmarks/windows.py --native

With --native: 14 classes of scores at 1.5 mm onto a grid of 512x512x99 voxels and their argmax, by torch's interpolate
and argmax, by nnU-Net's 3D path of order 1 where that is installed, and by medseg's kernel.

The network is a stub: it hands out scores that were made before (float32, different in every voxel and class), so that
what is timed is the work around it. Both get the same image, the same windows and weights, and as many threads. The
run fails when more than one label in a million differs. GOMP_SPINCOUNT is what medseg's launcher sets, for both.
Memory is the peak of the resident set above its level before the call. Neither the network's time nor its memory
counts: the stub writes into memory that it took before. One window's scores, which a network holds beside all of
that, are said on stderr.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

os.environ.setdefault("GOMP_SPINCOUNT", "20000")

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from side_by_side import HEADER, Cost, cost_in_turn, peak_mb, print_row, settle

from medseg.inference import SlidingWindow
from medseg.kernels.native_labels import AxisTaps, resampled_argmax, taps_at

AGREE = 1e-6  # of the voxels
NNUNET = find_spec("nnunetv2") is not None
Peer = Callable[[torch.Tensor, tuple[int, int, int]], np.ndarray]


class StubNetwork:
    """Scores from almost no work; keeps the time that they took."""

    def __init__(self, classes: int, window: list[int]) -> None:
        generator = torch.Generator().manual_seed(0)
        coarse = torch.randn(1, classes, *(side // 8 for side in window), generator=generator)
        self.scores = torch.nn.functional.interpolate(coarse, window, mode="trilinear")
        self.out = self.scores.clone()
        self.seconds, self.clock = 0.0, time.perf_counter

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        """The scores, moved by what is in the window's corner; good until the next call."""
        start = self.clock()
        torch.add(self.scores, windows[:, :1, :1, :1, :1], out=self.out)
        self.seconds += self.clock() - start
        return self.out


def compare(classes: int, shape: list[int], window: list[int], *, repeats: int, processor_time: bool) -> None:
    """One line of the table."""
    image = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(1))
    network = StubNetwork(classes, window)
    if processor_time:
        network.clock = time.process_time
    infer = SlidingWindow(window, overlap=0.5)

    def theirs() -> np.ndarray:
        scores = sliding_window_inference(image, window, 1, network, overlap=0.5, mode="gaussian")
        return scores[0].argmax(0).to(torch.uint8).numpy()

    def ours() -> np.ndarray:
        return infer.predict_labels(image, network).labels

    differing = float(np.mean(theirs() != ours()))
    if differing > AGREE:
        sys.exit(f"{classes} classes: {differing:.1e} of the labels differ")
    costs = [measure(call, network, repeats=repeats) for call in (theirs, ours)]
    print_row(
        f"{classes} classes, {'x'.join(map(str, shape))}, without the network",
        *costs,
        agreement=f"{differing:.0e} of the labels differ",
    )
    plan = infer.predict_labels(image, network)
    print(
        f"one window's scores: {network.out.nbytes / 2**20:.0f} MB, in neither figure; medseg predicted "
        f"{plan.plan.predicted_mb:.0f} MB for the process and held {plan.peak_mb:.0f}",
        file=sys.stderr,
        flush=True,
    )


def compare_native(*, repeats: int) -> None:
    """Scores of 14 classes onto the grid of a CT, and the best class there."""
    coarse = torch.randn(1, 14, 12, 12, 12, generator=torch.Generator().manual_seed(0))  # organs of some centimetres
    scores = torch.nn.functional.interpolate(coarse, (191, 191, 198), mode="trilinear")
    native = (512, 512, 99)
    peers = {"torch": (by_torch, np.linspace)} | ({"nnU-Net, order 1": (by_nnunet, between_voxels)} if NNUNET else {})
    for name, (peer, positions) in peers.items():
        taps = tuple(
            taps_at(positions(0, size - 1, count)) for size, count in zip(scores.shape[2:], native, strict=True)
        )

        def theirs(peer: Peer = peer) -> np.ndarray:
            return peer(scores, native)

        def ours(taps: AxisTaps = taps) -> np.ndarray:
            labels = np.zeros(native, np.uint8)
            resampled_argmax(scores[0].numpy(), taps, labels, threads=torch.get_num_threads())
            return labels

        differing = float(np.mean(theirs() != ours()))
        if differing > AGREE:
            sys.exit(f"native grid, {name}: {differing:.1e} of the labels differ")
        costs = cost_in_turn(theirs, ours, repeats=repeats)
        agreement = f"{differing:.0e} of the labels differ"
        print_row(f"14 classes to 512x512x99, argmax ({name})", *costs, agreement=agreement)


def by_torch(scores: torch.Tensor, native: tuple[int, int, int]) -> np.ndarray:
    """Corners of both grids in the same place."""
    fine = torch.nn.functional.interpolate(scores, native, mode="trilinear", align_corners=True)
    return fine[0].argmax(0).to(torch.uint8).numpy()


def by_nnunet(scores: torch.Tensor, native: tuple[int, int, int]) -> np.ndarray:
    """What its export does with order 1 and no axis apart: all classes in float64, one by one, then the argmax."""
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    spacing = (1.0, 1.0, 1.0)  # says only whether an axis is interpolated apart, which is switched off
    fine = resample_data_or_seg_to_shape(scores[0].numpy(), native, spacing, spacing, order=1, force_separate_z=False)
    return fine.argmax(0).astype(np.uint8)


def between_voxels(first: int, last: int, count: int) -> np.ndarray:
    """Where the voxels lie when the edges of both grids are in the same place."""
    size = last - first + 1
    return ((np.arange(count) + 0.5) * size / count - 0.5).clip(first, last)


def measure(call: Callable[[], object], network: StubNetwork, *, repeats: int) -> Cost:
    """Median time without the network's, and peak memory."""
    times = []
    for _ in range(repeats):
        settle()
        network.seconds, start = 0.0, network.clock()
        call()
        times.append(network.clock() - start - network.seconds)
    return Cost(statistics.median(times), peak_mb(call))


@torch.inference_mode()
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--classes", type=int, nargs="+", default=[3, 25])
    parser.add_argument("--shape", type=int, nargs=3, default=[240, 240, 155])
    parser.add_argument("--window", type=int, nargs=3, default=[128, 128, 128])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--processor-time", action="store_true", help="for a machine that is busy otherwise")
    parser.add_argument("--native", action="store_true")
    options = parser.parse_args()
    print(HEADER, flush=True)
    if options.native:
        compare_native(repeats=options.repeats)
        return
    for classes in options.classes:
        compare(
            classes,
            options.shape,
            options.window,
            repeats=options.repeats,
            processor_time=options.processor_time,
        )


if __name__ == "__main__":
    main()
