"""torch.compile beside the network as it is: time of a window, of compiling, and after how many windows it pays.

Run: python benchmarks/compiled.py [--model segresnet] [--roi 96] [--repeats 5] [--threads 2]

Forward passes of one window in float32 as MONAI runs it, and in bfloat16 with channels-last memory as medseg does, each
as it is and compiled; all in turn. Compiling for a CPU needs a C++ compiler.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import torch
from trained_network import UNITS, make_network

from medseg.inference import to_channels_last

CHANNELS = 4
Forward = Callable[[torch.Tensor], torch.Tensor]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(UNITS), default="segresnet")
    parser.add_argument("--roi", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    window = torch.randn(1, CHANNELS, *[given.roi] * 3, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        compare({name: make_forward(given.model, name) for name in ("fp32", "bf16")}, window, repeats=given.repeats)


def make_forward(model: str, name: str) -> torch.nn.Module:
    """The network in float32, or in channels-last memory with bfloat16 weights."""
    network = make_network(model, CHANNELS).eval()
    return network if name == "fp32" else to_channels_last(network.bfloat16())


def compare(networks: dict[str, torch.nn.Module], window: torch.Tensor, *, repeats: int) -> None:
    """A row for each network as it is and compiled."""
    ways: dict[str, Forward] = {}
    for name, network in networks.items():
        ways[name], ways[f"{name}, compiled"] = network, torch.compile(network)
    inputs = {"fp32": window, "bf16": window.bfloat16().contiguous(memory_format=torch.channels_last_3d)}
    first, times, logits = {}, {name: list[float]() for name in ways}, {}
    for count in range(repeats + 1):
        for name, forward in ways.items():
            start = time.perf_counter()
            logits[name] = forward(inputs[name[:4]]).float()
            seconds = time.perf_counter() - start
            if count:
                times[name].append(seconds)
            else:
                first[name] = seconds
    wanted = logits["fp32"]
    print(f"window {window.shape[-1]}^3, {torch.get_num_threads()} thread(s), {repeats} repeats\n")
    print("| forward pass | time | first call | pays after | logits differ by (share of their size) |")
    print("|---|---|---|---|---|")
    for name in ways:
        seconds, plain = statistics.median(times[name]), statistics.median(times[name[:4]])
        pays = f"{first[name] / (plain - seconds):.0f} windows" if seconds < plain else "never"
        far = float((logits[name] - wanted).square().mean().sqrt() / wanted.square().mean().sqrt())
        print(f"| {name} | {seconds:.3f} s | {first[name]:.1f} s | {pays if name[4:] else ''} | {far:.1e} |")


if __name__ == "__main__":
    main()
