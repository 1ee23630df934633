"""The network and a whole case with it: MONAI in float32, medseg's torch in bfloat16, OpenVINO and ONNX Runtime.

Run: python benchmarks/network.py [--ways monai torch openvino_bf16 ...] [--roi 128] [--shape 240 240 155] [--threads 2]
     python benchmarks/network.py --case FOLDER --weights FILE
     python benchmarks/network.py --model dynunet --forward-only

A SegResNet with 16 filters (the network of the model zoo's BraTS bundle), or a DynUNet 32 to 320, and the same
windows for everybody: `sliding_window_inference` with MONAI's defaults for the first rows,
`medseg.inference.SlidingWindow` with the same windows and weights for the others. The network is first trained on the
case, `--steps` of crops of 80^3, so that there are masks to compare; `--weights` keeps what was learnt in a file, or
takes what is in it. Dice is the lowest of the regions, against the mask of the first row. `--case` takes a real case
of BraTS 2015 (`*_t1c`, `*_flair`, `*_seg`); without it the case is a phantom.

`monai` runs as MONAI comes; all others with huge pages for tensors (THP_MEM_ALLOC_ENABLE=1), which medseg's launcher
switches on; `monai_huge` is MONAI with them too. 8 bits are calibrated on windows of the case. Ways whose library is
not installed are left out.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from side_by_side import settle
from trained_network import UNITS, make_network, read_case, train_or_read

from medseg.inference import SlidingWindow, to_channels_last
from medseg.inference.network_files import make_example, write_onnx, write_openvino
from medseg.runtime.sessions import open_network

WAYS = {
    "monai": "MONAI, fp32",
    "monai_huge": "MONAI, fp32, huge pages",
    "torch": "medseg torch, bf16 and channels-last",
    "onnxruntime": "ONNX Runtime, fp32",
    "openvino": "OpenVINO, fp32",
    "openvino_bf16": "OpenVINO, bf16",
    "openvino_int8": "OpenVINO, int8",
}
NEEDED = {"onnxruntime": "onnxruntime", "openvino": "openvino", "openvino_bf16": "openvino", "openvino_int8": "nncf"}
_THP_DISABLE = 41  # prctl's PR_SET_THP_DISABLE, linux/prctl.h
Forward = Callable[[torch.Tensor], torch.Tensor]


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=["monai", "torch", "openvino_bf16"])
    parser.add_argument("--model", choices=list(UNITS), default="segresnet")
    parser.add_argument("--roi", type=int, default=128)
    parser.add_argument("--shape", type=int, nargs=3, default=[240, 240, 155])
    parser.add_argument("--case", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--forward-only", action="store_true")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    image, masks = read_case(given.case, given.shape)
    network = make_network(given.model, image.shape[1])
    train_or_read(network, image, masks, steps=0 if given.forward_only else given.steps, weights=given.weights)
    stock = make_network(given.model, image.shape[1]).eval()
    stock.load_state_dict(network.state_dict())
    with tempfile.TemporaryDirectory() as place, torch.inference_mode():
        files = Files(stock, image, given.roi, given.model, Path(place))
        ways = {name: forward_of(name, stock, files) for name in given.ways if find_spec(NEEDED.get(name, "torch"))}
        forward_table(ways, image.shape[1], given)
        if not given.forward_only:
            case_table(ways, image, masks, given.roi)


class Files:
    """The network's files, each written when it is first wanted.

    Args:
        network: In float32, on the CPU.
        image: The case `(1, C, X, Y, Z)`.
        roi: Side of a window.
        model: Its name.
        place: The folder.
    """

    def __init__(self, network: torch.nn.Module, image: torch.Tensor, roi: int, model: str, place: Path) -> None:
        self.network, self.image, self.roi, self.model, self.place = network, image, roi, model, place

    def opened(self, runtime: str) -> Forward:
        """The file for a runtime as a network that takes and gives tensors."""
        path = self._path(runtime)
        run = open_network(path, threads=torch.get_num_threads(), runtime=runtime)
        return lambda windows: torch.from_numpy(run(windows.contiguous().numpy()))

    def _path(self, runtime: str) -> Path:
        name = {"onnxruntime": "model.onnx", "openvino_int8": "int8.xml"}.get(runtime, "model.xml")
        path = self.place / name
        if not path.is_file() and name == "int8.xml":
            quantise(self._path("openvino"), path, self.image, self.roi)
        elif not path.is_file():
            channels, units = self.image.shape[1], UNITS[self.model]
            example = make_example(self.network, channels=channels, window=[min(self.roi, 64)] * 3, units=units)
            (write_onnx if path.suffix == ".onnx" else write_openvino)(example, path)
        return path


def quantise(path: Path, target: Path, image: torch.Tensor, roi: int) -> None:
    """The OpenVINO network in 8 bits, calibrated on windows of the case that hold tissue."""
    import nncf
    import openvino

    sides = [range(0, max(size - roi, 0) + 1, max(roi // 2, 1)) for size in image.shape[2:]]
    windows = [image[..., x : x + roi, y : y + roi, z : z + roi] for x in sides[0] for y in sides[1] for z in sides[2]]
    full = [
        torch.nn.functional.pad(w, [p for n in reversed(w.shape[2:]) for p in (0, roi - n)]).numpy() for w in windows
    ]
    full.sort(key=lambda window: -np.count_nonzero(window))
    small = nncf.quantize(openvino.Core().read_model(str(path)), nncf.Dataset(full[:8]), subset_size=8)
    openvino.save_model(small, str(target), compress_to_fp16=False)


def forward_of(name: str, stock: torch.nn.Module, files: Files) -> Forward:
    """The logits of windows `(1, C, x, y, z)`, one way."""
    if name.startswith("monai"):
        return stock
    if name != "torch":
        return files.opened(name)
    fast = to_channels_last(make_network(files.model, files.image.shape[1]).eval())
    fast.load_state_dict(stock.state_dict())

    def bf16(windows: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return fast(windows.contiguous(memory_format=torch.channels_last_3d))

    return bf16


def forward_table(ways: dict[str, Forward], channels: int, given: Any) -> None:
    """One window, all ways in turn."""
    window = torch.randn(1, channels, *[given.roi] * 3, generator=torch.Generator().manual_seed(0))
    times: dict[str, list[float]] = {name: [] for name in ways}
    found = {}
    for count in range(given.repeats + 1):
        for name, forward in ways.items():
            settle()
            with pages_of(name):
                start = time.perf_counter()
                logits = forward(window).float()
                seconds = time.perf_counter() - start
            if count:
                times[name].append(seconds)
            else:
                found[name] = logits
    wanted, first = next(iter(found.values())), statistics.median(next(iter(times.values())))
    print(f"{given.model}, window {given.roi}^3, {torch.get_num_threads()} thread(s), {given.repeats} repeats\n")
    print("| forward pass | time | ratio | logits differ by (share of their size) |\n|---|---|---|---|")
    for name in ways:
        seconds = statistics.median(times[name])
        far = float((found[name] - wanted).square().mean().sqrt() / wanted.square().mean().sqrt())
        print(f"| {WAYS[name]} | {seconds:.3f} s | {first / seconds:.1f}x | {far:.1e} |", flush=True)


def case_table(ways: dict[str, Forward], image: torch.Tensor, masks: torch.Tensor, roi: int) -> None:
    """The whole case: each way once, since it takes long and the passes repeat themselves."""
    infer = SlidingWindow([roi] * 3, overlap=0.5)
    print(f"\nWhole case of {tuple(image.shape[2:])}\n")
    print("| whole case | time | ratio | Dice with the first | Dice with the truth |\n|---|---|---|---|---|")
    reference, first = None, 0.0
    for name, forward in ways.items():
        counted = Counted(forward)
        settle()
        with pages_of(name):
            start = time.perf_counter()
            if name.startswith("monai"):
                scores = sliding_window_inference(image, [roi] * 3, 1, counted, overlap=0.5, mode="gaussian")
            else:
                scores = infer(image, counted)
            seconds = time.perf_counter() - start
        mask = scores > 0
        reference, first = mask if reference is None else reference, first or seconds
        agree, truth = lowest_dice(reference, mask), lowest_dice(mask, masks.bool())
        figures = f"{seconds:.1f} s | {first / seconds:.1f}x | {agree:.5f} | {truth:.3f}"
        print(f"| {WAYS[name]}, {counted.windows} windows | {figures} |", flush=True)


@contextmanager
def pages_of(name: str) -> Any:
    """Small pages for MONAI as it comes: the kernel then grants no huge ones, whatever torch asks for."""
    libc = ctypes.CDLL(None)
    libc.prctl(_THP_DISABLE, int(name == "monai"), 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(_THP_DISABLE, 0, 0, 0, 0)


def lowest_dice(mask: torch.Tensor, other: torch.Tensor) -> float:
    """Over the regions."""
    both = (mask & other).sum((0, 2, 3, 4)) * 2.0
    return float((both / (mask.sum((0, 2, 3, 4)) + other.sum((0, 2, 3, 4))).clamp(min=1)).min())


class Counted:
    """A network that counts the windows it is given."""

    def __init__(self, forward: Forward) -> None:
        self.forward, self.windows = forward, 0

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        """The logits."""
        self.windows += len(windows)
        return self.forward(windows).float()


if __name__ == "__main__":
    main()
