"""A training step in float32 and in bfloat16, and how long it waits for its data.

Run: python benchmarks/training_step.py [--crop 96] [--steps 6] [--workers 1] [--shape 240 240 155]

SegResNet with 16 filters, Dice loss, AdamW, one crop a step. First the step alone, both ways in turn, with the first
loss of each. Then bfloat16 steps fed by medseg's loader from `cache_dir`, and by the same loader from the raw files
(`--raw`): the wait is the time in which the step stood still for the next batch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import torch
from loading import chain, write_cases
from monai.losses import DiceLoss
from monai.networks.nets import SegResNet
from side_by_side import peak_mb

from medseg.engines import CaseDataset, make_loader
from medseg.inference import to_channels_last


class Step:
    """One optimiser step of a network.

    Args:
        fast: bfloat16 autocast and channels-last memory.
    """

    def __init__(self, *, fast: bool) -> None:
        torch.manual_seed(0)
        shape = {"init_filters": 16, "blocks_down": [1, 2, 2, 4], "blocks_up": [1, 1, 1]}
        self.fast, self.network = fast, SegResNet(spatial_dims=3, in_channels=4, out_channels=1, **shape)
        if fast:
            to_channels_last(self.network)
        self.optimiser, self.loss = torch.optim.AdamW(self.network.parameters()), DiceLoss(sigmoid=True)

    def __call__(self, image: torch.Tensor, label: torch.Tensor) -> float:
        """Runs it; returns the loss."""
        image = image.contiguous(memory_format=torch.channels_last_3d) if self.fast else image
        with torch.autocast("cpu", torch.bfloat16, enabled=self.fast):
            logits = self.network(image)
        value = self.loss(logits.float(), label)
        self.optimiser.zero_grad()
        value.backward()
        self.optimiser.step()
        return float(value.detach())


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crop", type=int, default=96)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--shape", type=int, nargs=3, default=[240, 240, 155])
    parser.add_argument("--raw", action="store_true")
    given = parser.parse_args()
    step = compare_steps(given.crop, given.steps)
    with tempfile.TemporaryDirectory() as place:
        items = write_cases(Path(place), 2, given.shape)
        print("\n| bfloat16 steps fed from | a step | waits for data |\n|---|---|---|")
        kept = CaseDataset(items, chain(given.crop), cache_dir=Path(place) / "cache")
        print_waiting("`cache_dir`", kept, step, given)
        if given.raw:
            print_waiting("the raw files", CaseDataset(items, chain(given.crop)), step, given)


def compare_steps(crop: int, repeats: int) -> Step:
    """The table of the steps; returns the fast one."""
    image = torch.randn(1, 4, crop, crop, crop, generator=torch.Generator().manual_seed(0))
    label = (image[:, :1] > 0).float()
    steps = {"fp32": Step(fast=False), "bf16 and channels-last": Step(fast=True)}
    losses = {name: step(image, label) for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            start = time.perf_counter()
            step(image, label)
            times[name].append(time.perf_counter() - start)
    plain, fast = (statistics.median(times[name]) for name in steps)
    memory = [peak_mb(lambda step=step: step(image, label)) for step in steps.values()]
    print(f"SegResNet 16, {crop}^3, {torch.get_num_threads()} thread(s); first losses {losses}\n")
    print("| step | time | memory | ratio |\n|---|---|---|---|")
    print(f"| fp32 | {plain:.3f} s | {memory[0]:.0f} MB | |")
    print(f"| bf16 and channels-last | {fast:.3f} s | {memory[1]:.0f} MB | {plain / fast:.1f}x |", flush=True)
    return steps["bf16 and channels-last"]


def print_waiting(name: str, dataset: CaseDataset, step: Step, given: Any) -> None:
    """A row: steps over batches of the loader. The first batches fill the pipeline and are not counted."""
    loader = make_loader(dataset, num_workers=given.workers, seed=0, shuffle=True)
    batches: Iterator[Any] = iter(loader)
    for batch in islice(batches, 4):
        step(batch["image"].as_tensor(), (batch["label"].as_tensor() > 0).float())
    waits, whole = 0.0, time.perf_counter()
    for _ in range(given.steps):
        start = time.perf_counter()
        batch = next(batches)
        waits += time.perf_counter() - start
        step(batch["image"].as_tensor(), (batch["label"].as_tensor() > 0).float())
    whole = time.perf_counter() - whole
    print(f"| {name} | {whole / given.steps:.3f} s | {waits / whole:.1%} |", flush=True)


if __name__ == "__main__":
    main()
