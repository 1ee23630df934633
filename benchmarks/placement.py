"""Windows over the whole scan, and over the box of the voxels that are not 0: time, and Dice against the truth.

Run: python benchmarks/placement.py [--run runs/demo] [--cases 6] [--shape 96 112 80] [--margin 0.15]

Fewer windows are another claim than faster windows: the network sees other windows than those it was validated with.
So both placements of `medseg.inference.SlidingWindow` segment phantoms that the network has not seen, and the table
has the Dice of each region against the truth beside the time: the mean of the cases and the worst. The phantoms are not
cropped to the head, as `brats_mri_segmentation` crops before its windows, and have zeros around them, as wide as the
margin's share of each side.

The network is that of a run of the bundle, such as `medseg demo` leaves; without `--run` such a demo is made first,
which takes minutes. The phantoms lie on its grid, and none of them was trained on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from medseg.datasets.phantoms.brats import make_brats_phantom
from medseg.inference import SlidingWindow
from medseg.labels import get_convention, labels_to_regions
from medseg.transforms import NormalizeByMediand

REGIONS = ("TC", "WT", "ET")
Network = Callable[[torch.Tensor], torch.Tensor]


class Model(NamedTuple):
    """A network, and how it is run.

    Attributes:
        network: Gives logits of the regions.
        modalities: Its channels.
        spacing_mm: Of its grid.
        roi: Its window.
    """

    network: Network
    modalities: list[str]
    spacing_mm: float
    roi: list[int]


class Found(NamedTuple):
    """What one placement gave for one case."""

    seconds: float
    windows: int
    dice: list[float]
    mask: torch.Tensor


def model_of_run(run: Path) -> Model:
    """The network of a run of `brats_mri_segmentation`."""
    from medseg.bundle.compose import compose
    from medseg.bundle.running import monai_parser
    from medseg.bundle.weights import find_weights, run_of
    from medseg.engines import load_weights

    composition = compose("brats_mri_segmentation", "inference", run=run_of(run))
    network: torch.nn.Module = monai_parser(composition).get_parsed_content("network_def")
    load_weights(network, find_weights(composition.bundle_root, run))
    config = composition.config
    return Model(network.eval(), config["modalities"], float(config["spacing_mm"][0]), config["roi_size"])


def demo_run(folder: Path) -> Path:
    """A fresh demo, for its network."""
    command = [sys.executable, "-m", "medseg", "demo", "--out", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"medseg demo failed: {done.stderr[-500:]}")
    return folder


def case(model: Model, number: int, *, seed: int, shape: list[int], margin: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Image `(1, C, X, Y, Z)` with a background of 0 and masks `(1, R, X, Y, Z)`, zeros all around them."""
    phantom = make_brats_phantom(number, seed=seed, shape=shape, spacing_mm=model.spacing_mm)
    image = torch.from_numpy(np.stack([np.asarray(phantom.images[name], np.float32) for name in model.modalities]))
    image = NormalizeByMediand("image")({"image": image})["image"]
    masks = labels_to_regions(np.asarray(phantom.labels, np.uint8), get_convention("brats2017"))
    around = [round(margin * side) for side in reversed(shape) for _ in range(2)]
    pair = (image, torch.from_numpy(np.ascontiguousarray(masks)).float())
    padded = [torch.nn.functional.pad(torch.as_tensor(np.asarray(one)), around)[None] for one in pair]
    return padded[0], padded[1]


def segment(model: Model, image: torch.Tensor, masks: torch.Tensor, placement: Any) -> Found:
    """One case with one placement."""
    windows = 0

    def counted(batch: torch.Tensor) -> torch.Tensor:
        nonlocal windows
        windows += len(batch)
        return model.network(batch)

    infer = SlidingWindow(model.roi, overlap=0.5, placement=placement, bf16=True)
    start = time.perf_counter()
    mask = infer(image, counted) > 0
    seconds = time.perf_counter() - start
    return Found(seconds, windows, dice(mask, masks.bool()), mask)


def dice(mask: torch.Tensor, other: torch.Tensor) -> list[float]:
    """Of each region."""
    both = (mask & other).sum((0, 2, 3, 4)) * 2.0
    sizes = mask.sum((0, 2, 3, 4)) + other.sum((0, 2, 3, 4))
    return [float(value) for value in both / sizes.clamp(min=1)]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a run folder, such as runs/demo")
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--shape", type=int, nargs=3, default=[96, 112, 80])
    parser.add_argument("--margin", type=float, default=0.15)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        model = model_of_run(given.run or demo_run(Path(place) / "demo"))
    results: dict[str, list[Found]] = {"everywhere": [], "foreground": []}
    with torch.inference_mode():
        for number in range(given.cases):
            image, masks = case(model, number, seed=1, shape=given.shape, margin=given.margin)
            for placement, found in results.items():
                found.append(segment(model, image, masks, placement))
    print(f"{given.cases} phantoms of {tuple(image.shape[2:])} voxels, windows of {model.roi}\n")
    print_table(results)


def print_table(results: dict[str, list[Found]]) -> None:
    """A row for each placement."""
    names = " | ".join(f"{name}, worst" for name in REGIONS)
    print(f"| placement | windows | time | {names} | Dice with the first |\n|---|---|---|---|---|---|---|")
    first = results["everywhere"]
    for placement, found in results.items():
        mean = np.mean([one.dice for one in found], axis=0)
        worst = np.min([one.dice for one in found], axis=0)
        scores = " | ".join(f"{m:.3f}, {w:.3f}" for m, w in zip(mean, worst, strict=True))
        alike = min(min(dice(one.mask, other.mask)) for one, other in zip(found, first, strict=True))
        windows, seconds = sum(one.windows for one in found), sum(one.seconds for one in found)
        print(f"| {placement} | {windows} | {seconds:.1f} s | {scores} | {alike:.3f} |")


if __name__ == "__main__":
    main()
