"""A LUNA16 scan from its file to what a detector trains on: MONAI's chain and medseg in turn, in one process.

Run: python benchmarks/luna16_preparation.py [--repeats 3] [--scan FILE] [--threads N] [--scratch DIR]

Without a file the scan is a thorax of 512x512x300 voxels, int16, 0.664x0.664x1 mm; a file is any axial CT. It is stored
as LUNA16 stores scans (.mhd and .raw), and as .nii.gz. Both read it, turn it to RAS and resample it to
0.703125x0.703125x1.25 mm; in the last row they also write it as int16 to an uncompressed NIfTI file. MONAI: LoadImage
(through itk, or nibabel), EnsureChannelFirst, Orientation, Spacing and SaveImage. Times are medians after one warm-up
each, so that imports, compilation and the page cache count for neither; on a busy machine processor time tells more.
Memory is the peak of the resident set above its level before the call.

Each result is compared with an exact separable interpolation in float64; the run fails when medseg's differs by more
than 1 HU on average, or is less than 5 times as fast.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from side_by_side import peak_mb, settle

from medseg.datasets.prepared_scan import LUNA16_SPACING_MM, prepare_scan, resampled_to_ras
from medseg.volumes import Volume, axis_codes, read_volume, volume_stem, write_volume

SHAPE, OLD_MM = (512, 512, 300), (0.6640625, 0.6640625, 1.0)
AGREE_HU = 1.0
WANTED_RATIO = 5.0

Array = npt.NDArray[Any]


def thorax() -> Volume:
    """Air, a body, two lungs, a spine and noise; axes along LPS."""
    nx, ny, nz = SHAPE
    x, y, z = np.ogrid[-1 : 1 : nx * 1j, -1 : 1 : ny * 1j, -1 : 1 : nz * 1j]
    array = np.full(SHAPE, -1000, dtype=np.int16)
    array[np.broadcast_to((x / 0.85) ** 2 + (y / 0.65) ** 2 < 1, SHAPE)] = 40
    for side in (-0.4, 0.4):
        array[((x - side) / 0.3) ** 2 + (y / 0.45) ** 2 + (z / 0.9) ** 2 < 1] = -850
    array[np.broadcast_to(x**2 + (y - 0.5) ** 2 < 0.08**2, SHAPE)] = 700
    array += np.random.default_rng(0).integers(-60, 60, size=SHAPE, dtype=np.int16)
    affine = np.diag([-OLD_MM[0], -OLD_MM[1], OLD_MM[2], 1.0])
    affine[:3, 3] = 170, 165, -300
    return Volume(array=array, affine_ras_mm=affine, path=Path("thorax"))


def stored(scan: Volume, folder: Path) -> tuple[Path, Path]:
    """The scan as int16 in .mhd with .raw, and in .nii.gz."""
    array, affine = scan.array.astype(np.int16), np.diag([-1.0, -1, 1, 1]) @ scan.affine_ras_mm  # RAS to LPS
    direction = affine[:3, :3] / scan.spacing_mm
    (folder / "scan.raw").write_bytes(array.tobytes(order="F"))
    lines = ["ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False"]
    lines += ["CompressedData = False", f"TransformMatrix = {' '.join(map(str, direction.T.ravel()))}"]
    lines += [f"Offset = {' '.join(map(str, affine[:3, 3]))}"]
    lines += [f"ElementSpacing = {' '.join(map(str, scan.spacing_mm))}"]
    lines += [f"DimSize = {' '.join(map(str, array.shape))}", "ElementType = MET_SHORT", "ElementDataFile = scan.raw"]
    (folder / "scan.mhd").write_text("\n".join(lines) + "\n", encoding="ascii")
    return folder / "scan.mhd", write_volume(folder / "zipped.nii.gz", array, scan)


def with_monai(scan: Path) -> Callable[[], Any]:
    """LoadImage, Orientation and Spacing, in memory."""
    from monai.transforms import Compose, EnsureChannelFirst, LoadImage, Orientation, Spacing

    labels = (("L", "R"), ("P", "A"), ("I", "S"))
    turn = Orientation(axcodes="RAS", labels=labels)
    chain = Compose([LoadImage(), EnsureChannelFirst(), turn, Spacing(LUNA16_SPACING_MM, padding_mode="border")])
    return lambda: chain(str(scan))


def and_written(chain: Callable[[], Any], folder: Path) -> Callable[[], Any]:
    """The same, and SaveImage."""
    from monai.transforms import SaveImage

    save = SaveImage(folder, output_ext=".nii", output_dtype=np.int16, separate_folder=False, print_log=False)
    return lambda: save(chain())


def exact(scan: Path) -> npt.NDArray[np.float64]:
    """Linear interpolation of one axis after the other in float64, on the flipped volume."""
    volume = read_volume(scan)
    codes = axis_codes(volume.affine_ras_mm)
    if any(code not in pair for code, pair in zip(codes, ("RL", "AP", "SI"), strict=True)):
        sys.exit(f"{scan}: this check is for axial scans")
    flips = [axis for axis, code in enumerate(codes) if code in "LPI"]
    made = np.flip(volume.array, flips)
    for axis, (old, new) in enumerate(zip(volume.spacing_mm, LUNA16_SPACING_MM, strict=True)):
        count = made.shape[axis]
        places = np.minimum(np.arange(round((count - 1) * old / new + 1)) * new / old, count - 1)
        low = np.minimum(places.astype(int), max(count - 2, 0))
        weight = (places - low).reshape([-1 if other == axis else 1 for other in range(3)])
        below = made.take(low, axis)
        made = below + weight * (made.take(np.minimum(low + 1, count - 1), axis).astype(np.float64) - below)
    return made


def mean_difference_hu(got: Array, want: npt.NDArray[np.float64]) -> float:
    """The mean absolute difference, slice by slice to spare memory."""
    if got.shape != want.shape:
        sys.exit(f"shape {got.shape} is not {want.shape}")
    return float(np.mean([np.abs(got[:, :, z] - want[:, :, z]).mean() for z in range(got.shape[2])]))


class Seconds(NamedTuple):
    """Medians of one call."""

    wall: float
    processor: float


def timed(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Seconds]:
    """Median seconds of calls in turn; the check has called each once before."""
    seconds: dict[str, list[Seconds]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            settle()
            start = Seconds(time.perf_counter(), time.process_time())
            call()
            seconds[name].append(Seconds(time.perf_counter() - start.wall, time.process_time() - start.processor))
    return {name: Seconds(*map(statistics.median, zip(*times, strict=True))) for name, times in seconds.items()}


def main() -> None:
    """Check agreement, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scan", type=Path, help="an axial CT in place of the made-up thorax")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of medseg's resampling")
    parser.add_argument("--scratch", type=Path, help="where to write; default: the system's temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        scan = read_volume(options.scan) if options.scan else thorax()
        run(scan, Path(name), repeats=options.repeats, threads=options.threads)


def run(given: Volume, folder: Path, *, repeats: int, threads: int) -> None:
    """The comparison of one scan."""
    scan, zipped = stored(given, folder)

    def ours(path: Path = scan) -> Array:
        volume = read_volume(path)
        turned = resampled_to_ras(volume.array, volume.affine_ras_mm, spacing_mm=LUNA16_SPACING_MM, threads=threads)
        return turned.array

    theirs, theirs_zipped, target = with_monai(scan), with_monai(zipped), folder / "ours.nii"
    theirs_written = and_written(theirs, folder)
    want = exact(scan)
    apart = {"MONAI": mean_difference_hu(theirs()[0].numpy(), want), "medseg": mean_difference_hu(ours(), want)}
    apart |= {
        "MONAI, .nii.gz": mean_difference_hu(theirs_zipped()[0].numpy(), want),
        "medseg, .nii.gz": mean_difference_hu(ours(zipped), want),
    }
    prepare_scan(scan, target, threads=threads)
    theirs_written()
    written = [read_volume(path).array for path in (target, folder / f"{volume_stem(scan)}_trans.nii")]
    apart |= {
        f"{tool}, written": mean_difference_hu(a, want) for tool, a in zip(("medseg", "MONAI"), written, strict=True)
    }
    del want, written
    rows = {
        "read .mhd, RAS, resample": (theirs, ours),
        "the same from .nii.gz": (theirs_zipped, lambda: ours(zipped)),
        "from .mhd, and written as int16 .nii": (
            theirs_written,
            lambda: prepare_scan(scan, target, threads=threads),
        ),
    }
    shape = given.shape
    print(f"{given.path.name}: {'x'.join(map(str, shape))}, medseg on {threads} threads; mean difference from exact:")
    print(", ".join(f"{tool} {hu:.2g} HU" for tool, hu in apart.items()))
    print("\n| work | MONAI | medseg | ratio | processor time | ratio |\n|---|---|---|---|---|---|")
    ratios = []
    for work, (peer, own) in rows.items():
        seconds = timed({"peer": peer, "own": own}, repeats)
        a, b = seconds["peer"], seconds["own"]
        memory = [peak_mb(call) for call in (peer, own)]
        ratios += [a.wall / b.wall, a.processor / b.processor]
        wall = f"{a.wall:.2f} s, {memory[0]:.0f} MB | {b.wall:.3f} s, {memory[1]:.0f} MB | {ratios[-2]:.0f}x"
        print(f"| {work} | {wall} | {a.processor:.2f} / {b.processor:.3f} s | {ratios[-1]:.0f}x |", flush=True)
    if max(hu for tool, hu in apart.items() if tool.startswith("medseg")) > AGREE_HU:
        sys.exit(f"medseg is more than {AGREE_HU} HU from the exact interpolation")
    if min(ratios) < WANTED_RATIO:
        sys.exit(f"medseg is less than {WANTED_RATIO:.0f} times as fast")


if __name__ == "__main__":
    main()
