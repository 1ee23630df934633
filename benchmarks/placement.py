"""Windows over the whole scan, and over the box of the voxels that are not 0: time, and Dice against the truth.

Run: python benchmarks/placement.py [--run runs/demo] [--cases 3] [--shape 96 112 80] [--margin 0.15] [--steps 120]

Fewer windows are another claim than faster windows: the network sees other windows than those it was validated with.
So both placements of `medseg.inference.SlidingWindow` segment phantoms that the network has not seen, and the table
has the Dice of each region against the truth beside the time: the mean of the cases and the worst. The phantoms are not
cropped to the head, as `brats_mri_segmentation` crops before its windows, and have zeros around them, as wide as the
margin's share of each side.

`--run` takes the network of a run of that bundle, such as that of `medseg demo`, with the phantoms on its grid. Without
it a SegResNet with 16 filters is trained for a few steps on phantoms of another seed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.losses import DiceLoss
from monai.networks.nets import SegResNet

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


def model_of_steps(steps: int, shape: list[int]) -> Model:
    """A network that has seen crops of phantoms of another seed for some steps."""
    torch.manual_seed(0)
    names, spacing_mm = ["t1", "t1c", "t2", "flair"], 168 / max(shape)
    network = SegResNet(3, 16, len(names), len(REGIONS), blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1))
    model = Model(network, names, spacing_mm, [64, 64, 64])
    cases = [case(model, number, seed=2, shape=shape, margin=0.0) for number in range(4)]
    loss, draws = DiceLoss(sigmoid=True, batch=True), np.random.default_rng(0)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for step in range(steps):
        image, masks = (one[crop_at(cases[step % 4][1], draws)] for one in cases[step % 4])
        with torch.autocast("cpu", torch.bfloat16):
            value = loss(network(image).float(), masks)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    return model._replace(network=network.eval())


def crop_at(masks: torch.Tensor, draws: np.random.Generator, *, side: int = 48) -> tuple[slice, ...]:
    """A cube around a voxel of the tumour, or in one of four draws around any voxel."""
    places = masks[0, 1].nonzero() if draws.random() < 0.75 else torch.ones_like(masks[0, 1]).nonzero()
    centre = places[int(draws.integers(len(places)))].tolist()
    starts = [min(max(c - side // 2, 0), n - side) for c, n in zip(centre, masks.shape[2:], strict=True)]
    return (slice(None), slice(None), *(slice(start, start + side) for start in starts))


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
    parser.add_argument("--run", type=Path)
    parser.add_argument("--cases", type=int, default=3)
    parser.add_argument("--shape", type=int, nargs=3, default=[96, 112, 80])
    parser.add_argument("--margin", type=float, default=0.15)
    parser.add_argument("--steps", type=int, default=120)
    given = parser.parse_args()
    model = model_of_run(given.run) if given.run else model_of_steps(given.steps, given.shape)
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
