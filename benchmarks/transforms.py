"""MONAI's transforms and medseg's drop-ins for them, in turn in one process on the same phantom.

Run: python benchmarks/transforms.py [--shape 240 240 155] [--repeats 3] [--threads 2]

Four channels like an MRI with a dark background, and one like a CT. The run fails when results differ by more than is
said in docs/kernels.md. Times are wall medians: keep the machine, or with taskset a core of it, free.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import monai.transforms as theirs
import numpy as np
import torch
from monai.data import MetaTensor
from resampling import phantom_ct
from side_by_side import HEADER, Cost, peak_mb, print_row, seconds_of

import medseg.transforms as ours

Item = Mapping[str, Any]


class Work(NamedTuple):
    """One row: how a transform is made of either library, and what may differ."""

    make: Callable[[Any], Callable[[Item], Item]]
    scan: str = "mri"
    limit: float = 0.0


def chain_of(library: Any) -> theirs.Compose:
    """From a scan to the network's grid and intensities, as a bundle of MRI does."""
    return theirs.Compose(
        [
            library.Orientationd("image", "RAS", labels=None),
            library.Spacingd("image", (1.5, 1.5, 1.5)),
            library.CropForegroundd("image", "image", allow_smaller=True),
            # not nonzero: where the background meets tissue, MONAI interpolates 0 to 1e-13, which is then no background
            library.NormalizeIntensityd("image", channel_wise=True),
        ]
    )


LUNA16_MM = (0.703125, 0.703125, 1.25)
WORKS = {
    "Spacingd, float64 (its default), 4 channels to 1.5 mm": Work(
        lambda lib: lib.Spacingd("image", (1.5, 1.5, 1.5)), limit=2e-3
    ),
    "Spacingd, float32, the same": Work(
        lambda lib: lib.Spacingd("image", (1.5, 1.5, 1.5), dtype=torch.float32), limit=0.2
    ),
    "Spacingd, float64, CT to 0.8x0.8x1.5 mm": Work(
        lambda lib: lib.Spacingd("image", (0.8, 0.8, 1.5)), "ct", limit=2e-3
    ),
    "Spacingd, float64, int16 CT of 512x512x99 to 0.703x0.703x1.25 mm": Work(
        lambda lib: lib.Spacingd("image", LUNA16_MM), "stored ct", limit=1e-2
    ),
    "Spacingd, float32, the same CT": Work(
        lambda lib: lib.Spacingd("image", LUNA16_MM, dtype=torch.float32), "stored ct", limit=0.5
    ),
    "Spacingd, float64, the same CT to 1 mm": Work(
        lambda lib: lib.Spacingd("image", (1.0, 1.0, 1.0)), "stored ct", limit=1e-2
    ),
    "Orientationd, LPS to RAS": Work(lambda lib: lib.Orientationd("image", "RAS", labels=None)),
    "CropForegroundd": Work(lambda lib: lib.CropForegroundd("image", "image", allow_smaller=True)),
    "NormalizeIntensityd, nonzero, channel by channel": Work(
        lambda lib: lib.NormalizeIntensityd("image", nonzero=True, channel_wise=True), limit=1e-5
    ),
    "ScaleIntensityRanged, CT": Work(lambda lib: lib.ScaleIntensityRanged("image", -1000, 400, 0, 1, clip=True), "ct"),
    "RandAffined to 96^3, 4 channels": Work(
        lambda lib: lib.RandAffined(
            "image", (96, 96, 96), 1.0, (0.5,) * 3, scale_range=(0.2,) * 3, padding_mode="zeros"
        ).set_random_state(0),
        limit=5e-2,
    ),
    "Orientationd, Spacingd, CropForegroundd, NormalizeIntensityd": Work(chain_of, limit=1e-3),
}


def phantom(shape: list[int], *, channels: int) -> MetaTensor:
    """A ball of noise of a thousand intensities in a background of exactly 0, at 1 mm, stored as most scanners do."""
    axes = np.ogrid[tuple(slice(-1, 1, complex(0, size)) for size in shape)]
    ball = sum(axis**2 for axis in axes) < 0.7
    noise = np.random.default_rng(0).uniform(100, 1100, (channels, *shape)).astype(np.float32)
    return MetaTensor(torch.from_numpy(noise * ball), affine=torch.diag(torch.tensor([-1.0, -1, 1, 1])).double())


def stored_ct() -> MetaTensor:
    """The CT of resampling.py, one slice less: int16, in the memory order of a NIfTI file."""
    volume, spacing_mm = phantom_ct()
    affine = torch.diag(torch.tensor([*spacing_mm, 1.0])).double()
    return MetaTensor(torch.from_numpy(volume[:, :, :99])[None], affine=affine)


def seconds(transform: Callable[[Item], Item], image: MetaTensor) -> float:
    """Wall time on a fresh copy, since some of MONAI's transforms write into their input."""
    item = {"image": image.clone()}
    return seconds_of(lambda: transform(item))


def compare(name: str, work: Work, image: MetaTensor, *, repeats: int) -> None:
    """One row of the table."""
    transforms = [work.make(library) for library in (theirs, ours)]
    want, got = (transform({"image": image.clone()})["image"].as_tensor() for transform in transforms)
    apart = float((got - want).abs().max()) if got.shape == want.shape else float("inf")
    if not apart <= work.limit:
        sys.exit(f"{name}: differs by {apart:.1e}, more than {work.limit:.0e}")
    del want, got
    costs = []
    for transform in transforms:
        median = statistics.median(seconds(transform, image) for _ in range(repeats))
        item = {"image": image.clone()}
        costs.append(Cost(median, peak_mb(partial(transform, item))))
    print_row(name, *costs, agreement=f"differ by at most {apart:.0e}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=[240, 240, 155])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--only", help="rows whose name holds this")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(HEADER, flush=True)
    scans = {
        "mri": partial(phantom, options.shape, channels=4),
        "ct": partial(phantom, options.shape, channels=1),
        "stored ct": stored_ct,
    }
    for name, work in WORKS.items():
        if options.only and options.only not in name:
            continue
        compare(name, work, scans[work.scan](), repeats=options.repeats)


if __name__ == "__main__":
    main()
