"""The network and a whole case with it: MONAI in float32, medseg's torch in bfloat16, OpenVINO and ONNX Runtime.

Run: python benchmarks/network.py [--roi 128] [--shape 240 240 155] [--repeats 3] [--steps 40] [--case FOLDER]
     python benchmarks/network.py --model dynunet --forward-only

A SegResNet with 16 filters (the network of the model zoo's BraTS bundle), or a DynUNet 32 to 320, and the same
windows for everybody: `sliding_window_inference` with MONAI's defaults for the first row,
`medseg.inference.SlidingWindow` with the same windows and weights for the others. The network is trained for a few
steps on the case itself, so that there are masks to compare; Dice is the lowest of the regions, against the mask of
the first row. `--case` takes a real case of BraTS 2015 (`*_t1c`, `*_flair`, `*_seg`); without it the case is a
phantom. 8 bits need NNCF and are calibrated on windows of the case. THP_MEM_ALLOC_ENABLE=1, which medseg's launcher
sets, is set here for all of them; `--no-thp` leaves it alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if "--no-thp" not in sys.argv:
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.losses import DiceLoss
from monai.networks.nets import DynUNet, SegResNet

from medseg.inference import SlidingWindow, to_channels_last
from medseg.inference.network_files import make_example, write_onnx, write_openvino
from medseg.runtime.sessions import open_network

UNITS = {"segresnet": (8, 8, 8), "dynunet": (32, 32, 32)}
Forward = Callable[[torch.Tensor], torch.Tensor]


def make_network(model: str, channels: int) -> torch.nn.Module:
    """With random weights, the same every time."""
    torch.manual_seed(0)
    if model == "segresnet":
        shape = {"init_filters": 16, "blocks_down": [1, 2, 2, 4], "blocks_up": [1, 1, 1]}
        return SegResNet(spatial_dims=3, in_channels=channels, out_channels=3, **shape)
    steps = [1, 2, 2, 2, 2, 2]
    return DynUNet(
        spatial_dims=3, in_channels=channels, out_channels=3, kernel_size=[3] * 6, strides=steps,
        upsample_kernel_size=steps[1:], filters=[32, 64, 128, 256, 320, 320],
    )  # fmt: skip


def read_case(folder: Path | None, shape: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Image `(1, C, X, Y, Z)`, normalised over its nonzero voxels, and masks `(1, 3, X, Y, Z)` of TC, WT and ET."""
    from medseg.labels import get_convention, labels_to_regions

    if folder is not None:
        from medseg.volumes import read_volume

        parts = [read_volume(next(folder.glob(f"*_{name}.*"))).array for name in ("t1c", "flair", "seg")]
        images, labels, convention = parts[:2], parts[2], "brats2015"
    else:
        from medseg.datasets.phantoms.brats import make_brats_phantom

        phantom = make_brats_phantom(0, seed=1, shape=shape, spacing_mm=168 / max(shape))
        images, labels, convention = list(phantom.images.values()), phantom.labels, "brats2017"
    image = np.stack([np.asarray(one, np.float32) for one in images])
    for one in image:
        inside = one != 0
        one[inside] = (one[inside] - one[inside].mean()) / one[inside].std()
    masks = labels_to_regions(np.asarray(labels, np.uint8), get_convention(convention))
    return torch.from_numpy(image)[None], torch.from_numpy(np.ascontiguousarray(masks))[None].float()


def fit(network: torch.nn.Module, image: torch.Tensor, masks: torch.Tensor, *, steps: int, side: int = 48) -> None:
    """A few steps on crops around the tumour."""
    loss, draws = DiceLoss(sigmoid=True), np.random.default_rng(0)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    inside = masks[0, 1].nonzero()
    for _ in range(steps):
        centre = inside[int(draws.integers(len(inside)))].tolist()
        starts = [min(max(c - side // 2, 0), n - side) for c, n in zip(centre, image.shape[2:], strict=True)]
        crop = (slice(None), slice(None), *(slice(s, s + side) for s in starts))
        with torch.autocast("cpu", torch.bfloat16):
            value = loss(network(image[crop]).float(), masks[crop])
        optimiser.zero_grad()
        value.backward()
        optimiser.step()


def runtimes(
    network: torch.nn.Module, image: torch.Tensor, roi: int, model: str, place: Path
) -> Iterator[tuple[str, Forward]]:
    """Name and forward pass of every way of running the network but the first."""
    yield "ONNX Runtime, fp32", exported(network, image, roi, model, place / "model.onnx", "onnxruntime")
    for name, runtime in (("OpenVINO, fp32", "openvino"), ("OpenVINO, bf16", "openvino_bf16")):
        yield name, exported(network, image, roi, model, place / "model.xml", runtime)
    if find_spec("nncf") is not None:
        yield (
            "OpenVINO, int8",
            as_torch(open_network(quantised(place / "model.xml", image, roi), runtime="openvino_int8")),
        )


def exported(network: torch.nn.Module, image: torch.Tensor, roi: int, model: str, path: Path, runtime: str) -> Forward:
    """The network's file, written once, opened by a runtime."""
    if not path.is_file():
        example = make_example(network, channels=image.shape[1], window=[roi] * 3, units=UNITS[model])
        (write_onnx if path.suffix == ".onnx" else write_openvino)(example, path)
    return as_torch(open_network(path, threads=torch.get_num_threads(), runtime=runtime))


def as_torch(run: Callable[[np.ndarray], np.ndarray]) -> Forward:
    """A runtime as a network that takes and gives tensors."""
    return lambda windows: torch.from_numpy(run(windows.contiguous().numpy()))


def quantised(path: Path, image: torch.Tensor, roi: int) -> Path:
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
    openvino.save_model(small, str(path.with_name("int8.xml")), compress_to_fp16=False)
    return path.with_name("int8.xml")


def median_s(call: Callable[[], object], repeats: int) -> float:
    """Wall time of a call, once more than counted."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def lowest_dice(mask: torch.Tensor, other: torch.Tensor) -> float:
    """Over the regions."""
    both = (mask & other).sum((0, 2, 3, 4)) * 2.0
    return float((both / (mask.sum((0, 2, 3, 4)) + other.sum((0, 2, 3, 4))).clamp(min=1)).min())


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(UNITS), default="segresnet")
    parser.add_argument("--roi", type=int, default=128)
    parser.add_argument("--shape", type=int, nargs=3, default=[240, 240, 155])
    parser.add_argument("--case", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--forward-only", action="store_true")
    parser.add_argument("--no-thp", action="store_true")
    given = parser.parse_args()
    image, masks = read_case(given.case, given.shape)
    network = make_network(given.model, image.shape[1])
    fit(network, image, masks, steps=given.steps)
    network.eval()
    with tempfile.TemporaryDirectory() as place, torch.inference_mode():
        compare(network, image, masks, given, Path(place))


def compare(network: torch.nn.Module, image: torch.Tensor, masks: torch.Tensor, given: Any, place: Path) -> None:
    """Every way of running the network, on one window and on the case."""
    roi = given.roi
    window = torch.randn(1, image.shape[1], roi, roi, roi, generator=torch.Generator().manual_seed(0))
    wanted = network(window)
    fast = to_channels_last(make_network(given.model, image.shape[1]).eval())
    fast.load_state_dict(network.state_dict())

    def bf16(windows: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return fast(windows.contiguous(memory_format=torch.channels_last_3d))

    ways: list[tuple[str, Forward]] = [
        ("torch, fp32", network),
        ("medseg torch, bf16 and channels-last", bf16),
        *runtimes(network, image, roi, given.model, place),
    ]
    print(f"{given.model}, window {roi}^3, {torch.get_num_threads()} thread(s)\n")
    print("| forward pass | time | ratio | logits differ by (share of their size) |\n|---|---|---|---|")
    first = 0.0
    for name, forward in ways:
        seconds = median_s(lambda forward=forward: forward(window), given.repeats)
        first = first or seconds
        far = float((forward(window).float() - wanted).square().mean().sqrt() / wanted.square().mean().sqrt())
        print(f"| {name} | {seconds:.3f} s | {first / seconds:.1f}x | {far:.1e} |", flush=True)
    if given.forward_only:
        return
    print(f"\nWhole case of {tuple(image.shape[2:])}\n")
    print("| whole case | time | ratio | Dice with the first | Dice with the truth |\n|---|---|---|---|---|")
    whole_case(ways, image, masks, roi)


def whole_case(ways: list[tuple[str, Forward]], image: torch.Tensor, masks: torch.Tensor, roi: int) -> None:
    """The table of the case: each once, since it takes long and the passes repeat themselves."""
    infer = SlidingWindow([roi] * 3, overlap=0.5)
    reference, first = None, 0.0
    for number, (name, forward) in enumerate(ways):
        counted = Counted(forward)
        start = time.perf_counter()
        if number == 0:
            scores = sliding_window_inference(image, [roi] * 3, 1, counted, overlap=0.5, mode="gaussian")
        else:
            scores = infer(image, counted)
        seconds = time.perf_counter() - start
        mask = scores > 0
        reference, first = mask if reference is None else reference, first or seconds
        label = "MONAI, fp32" if number == 0 else name
        truth = lowest_dice(mask, masks.bool())
        agree = lowest_dice(reference, mask)
        figures = f"{seconds:.1f} s | {first / seconds:.1f}x | {agree:.5f} | {truth:.3f}"
        print(f"| {label}, {counted.windows} windows | {figures} |", flush=True)


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
