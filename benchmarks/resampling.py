"""A CT resampled to another voxel size: MONAI, scipy, SimpleITK, nnU-Net (where installed) and medseg, in one process.

Run: python benchmarks/resampling.py [--repeats 5] [--scan FILE] [--threads N]

Without a file the scan is a phantom of 512x512x100 voxels, int16, 0.56x0.56x3 mm, in the memory order that a NIfTI file
gives. Every tool starts from the same voxels in memory and gives float32; MONAI, SimpleITK and medseg use all threads,
scipy has one. Times are wall medians after one warm-up each (imports and compilation are not counted). Memory is the
peak of the resident set above its level before the call. The run fails when medseg differs from a peer by more than
the peer's own precision allows.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from side_by_side import peak_mb, seconds_of

from medseg.kernels.resample import Triple, resample, resample_at, resampled_shape

TARGETS: dict[str, Triple] = {"0.703x0.703x1.25 mm": (0.703125, 0.703125, 1.25), "1 mm": (1.0, 1.0, 1.0)}
WINDOW_HU = (-1024.0, 300.0)  # the LUNA16 detection bundle's
AGREE_HU = 0.01
AGREE_FLOAT32_HU = (
    1.0  # float32 sampling coordinates, in MONAI's second row, are 1e-5 of a voxel off, times the contrast
)

Call = Callable[[], npt.NDArray[np.float32]]


def phantom_ct() -> tuple[npt.NDArray[np.int16], Triple]:
    """A chest in round numbers: air, soft tissue, two lungs, a spine, and noise."""
    shape, spacing_mm = (512, 512, 100), (0.56, 0.56, 3.0)
    x, y, z = np.ogrid[-1:1:512j, -1:1:512j, -1:1:100j]
    volume = np.full(shape, -1000, dtype=np.int16)
    volume[np.broadcast_to((x / 0.85) ** 2 + (y / 0.65) ** 2 < 1, shape)] = 40
    for side in (-0.4, 0.4):
        volume[((x - side) / 0.3) ** 2 + (y / 0.45) ** 2 + (z / 0.9) ** 2 < 1] = -850
    volume[np.broadcast_to(x**2 + (y - 0.5) ** 2 < 0.08**2, shape)] = 700
    volume += np.random.default_rng(0).integers(-60, 60, size=shape, dtype=np.int16)
    return np.asfortranarray(volume), spacing_mm


def with_monai(volume: npt.NDArray[Any], old_mm: Triple, new_mm: Triple, *, dtype: type, window: bool) -> Call:
    """MONAI's Spacing, and ScaleIntensityRange after it where a window is asked for."""
    import torch
    from monai.data import MetaTensor
    from monai.transforms import ScaleIntensityRange, Spacing

    image = MetaTensor(torch.from_numpy(volume)[None], affine=torch.diag(torch.tensor([*old_mm, 1.0])).double())
    spacing = Spacing(new_mm, dtype=dtype)
    scale = ScaleIntensityRange(*WINDOW_HU, 0.0, 1.0, clip=True)
    return lambda: (scale(spacing(image)) if window else spacing(image))[0].numpy()


def with_scipy(volume: npt.NDArray[Any], old_mm: Triple, new_mm: Triple, *, order: int) -> Call:
    """`affine_transform` with a diagonal, which scipy does axis by axis; `zoom` would move the last voxel's centre."""
    from scipy import ndimage

    steps = np.divide(new_mm, old_mm)
    shape = resampled_shape(volume.shape, old_mm, new_spacing_mm=new_mm)
    return lambda: ndimage.affine_transform(
        volume, steps, output_shape=shape, order=order, mode="nearest", output=np.float32
    )


def with_simpleitk(volume: npt.NDArray[Any], old_mm: Triple, new_mm: Triple) -> Call | None:
    """SimpleITK's Resample, edge voxels repeated; None when it is not installed."""
    try:
        import SimpleITK as sitk
    except ImportError:
        return None
    image = sitk.GetImageFromArray(volume.T)
    image.SetSpacing(old_mm)
    tool = sitk.ResampleImageFilter()
    tool.SetSize(resampled_shape(volume.shape, old_mm, new_spacing_mm=new_mm))
    tool.SetOutputSpacing(new_mm)
    tool.SetOutputPixelType(sitk.sitkFloat32)
    tool.UseNearestNeighborExtrapolatorOn()
    return lambda: sitk.GetArrayFromImage(tool.Execute(image)).T


def with_nnunet(volume: npt.NDArray[Any], old_mm: Triple, new_mm: Triple) -> Call | None:
    """nnU-Net's resampling with order 3 in 3D, no axis apart; None when it is not installed."""
    try:
        from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
    except ImportError:
        return None
    shape = resampled_shape(volume.shape, old_mm, new_spacing_mm=new_mm)
    data = volume[None].astype(np.float32)  # as its preprocessing hands it over
    return lambda: resample_data_or_seg_to_shape(data, shape, old_mm, new_mm, order=3, force_separate_z=False)[0]


def compare_with_nnunet(
    volume: npt.NDArray[Any], old_mm: Triple, new_mm: Triple, *, repeats: int, threads: int
) -> None:
    """Its line: the edges of both grids are in the same place there, and results do not leave the input's range."""
    name, theirs = "nnU-Net, order 3", with_nnunet(volume, old_mm, new_mm)
    if theirs is None:
        print(f"| {name} | not installed | | | |")
        return
    shape = resampled_shape(volume.shape, old_mm, new_spacing_mm=new_mm)
    counts = list(zip(volume.shape, shape, strict=True))
    places = [(np.arange(new) + 0.5) * old / new - 0.5 for old, new in counts]
    where = []
    for (old, _), at in zip(counts, places, strict=True):
        within = np.flatnonzero((at >= 0) & (at <= old - 1))
        where.append(slice(within[0], within[-1] + 1))
    low, high = volume.min(), volume.max()

    def ours() -> npt.NDArray[np.float32]:
        found = resample_at(volume, places, order=3, threads=threads)
        return found.clip(low, high, out=found)

    compare(name, theirs, ours, where=tuple(where), limit=AGREE_HU, repeats=repeats)


class Peer(NamedTuple):
    """One line of the table: the peer's call (None when not installed), and what medseg is asked for beside it."""

    call: Call | None
    order: int = 1
    window: tuple[float, float] | None = None
    agree_hu: float = AGREE_HU


def peers(volume: npt.NDArray[Any], old_mm: Triple, new_mm: Triple) -> dict[str, Peer]:
    """The lines of one table."""
    grids = (volume, old_mm, new_mm)
    return {
        "MONAI Spacing (float64, its default)": Peer(with_monai(*grids, dtype=np.float64, window=False)),
        "MONAI Spacing (float32)": Peer(with_monai(*grids, dtype=np.float32, window=False), agree_hu=AGREE_FLOAT32_HU),
        "MONAI Spacing (float64) + ScaleIntensityRange": Peer(
            with_monai(*grids, dtype=np.float64, window=True),
            window=WINDOW_HU,
            agree_hu=AGREE_HU / (WINDOW_HU[1] - WINDOW_HU[0]),
        ),
        "scipy affine_transform, linear": Peer(with_scipy(*grids, order=1)),
        "SimpleITK Resample, linear": Peer(with_simpleitk(*grids)),
        "scipy affine_transform, cubic": Peer(with_scipy(*grids, order=3), order=3),
    }


def inside(volume: npt.NDArray[Any], old_mm: Triple, new_mm: Triple) -> tuple[slice, ...]:
    """The new voxels whose centres are not beyond the last old one's: beyond it scipy's spline swings on."""
    shape = zip(volume.shape, old_mm, new_mm, strict=True)
    return tuple(slice(int((count - 1) * old / new) + 1) for count, old, new in shape)


def compare(
    name: str, theirs: Call, ours: Call, *, where: tuple[slice, ...] | None, limit: float, repeats: int
) -> None:
    """Check (everywhere, or where told), time and print one line."""
    apart = float(np.abs(theirs()[where or ...] - ours()[where or ...]).max())
    if not apart <= limit:
        sys.exit(f"{name}: medseg differs by {apart:.1e}, more than {limit:.0e}")
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for call, times in zip((theirs, ours), seconds, strict=True):
            times.append(seconds_of(call))
    a, b = (statistics.median(times) for times in seconds)
    memory = [peak_mb(call) for call in (theirs, ours)]
    print(f"| {name} | {a:.3f} s, {memory[0]:.0f} MB | {b:.4f} s, {memory[1]:.0f} MB | {a / b:.0f}x | {apart:.0e} |")


def compare_all(volume: npt.NDArray[Any], old_mm: Triple, new_mm: Triple, *, repeats: int, threads: int) -> None:
    """One line for each peer that is installed."""
    for name, peer in peers(volume, old_mm, new_mm).items():
        if peer.call is None:
            print(f"| {name} | not installed | | | |")
            continue
        ours = partial(
            resample,
            volume,
            old_mm,
            new_spacing_mm=new_mm,
            order=peer.order,
            window=peer.window,
            threads=threads,
        )
        where = inside(volume, old_mm, new_mm) if peer.order == 3 else None
        compare(name, peer.call, ours, where=where, limit=peer.agree_hu, repeats=repeats)
    compare_with_nnunet(volume, old_mm, new_mm, repeats=repeats, threads=threads)


def main() -> None:
    """Print a table for each voxel size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="medseg's threads")
    parser.add_argument("--scan", type=Path, help="a CT to resample instead of the phantom")
    options = parser.parse_args()
    if options.scan:
        from medseg.volumes import read_volume

        scan = read_volume(options.scan)
        volume, old_mm = scan.array, scan.spacing_mm
    else:
        volume, old_mm = phantom_ct()
    sizes = "x".join(f"{size:g}" for size in old_mm)
    print(f"{volume.dtype} {volume.shape} at {sizes} mm, medseg on {options.threads} threads")
    for name, new_mm in TARGETS.items():
        print(f"\n| to {name} | peer | medseg | ratio | differ by at most |\n|---|---|---|---|---|")
        compare_all(volume, old_mm, new_mm, repeats=options.repeats, threads=options.threads)


if __name__ == "__main__":
    main()
