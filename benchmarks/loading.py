"""A random training crop of a preprocessed case: MONAI's CacheDataset, PersistentDataset, and medseg's cache on disk.

Run: python benchmarks/loading.py [--shape 240 240 155] [--cases 3] [--crop 96] [--samples 30]

Phantom cases with four modalities are read, oriented and normalised once, outside of the clock; the run fails when
what the tools kept is not equal to the last bit. Then crops of 96^3 around tumour and healthy tissue are drawn, from
all tools in turn; medians. Memory is what keeping the cases adds to the process: CacheDataset pays it again in every
rank. The second table is unpacking and reading one `.nii.gz`.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, PersistentDataset
from monai.transforms import (
    Compose,
    FgBgToIndicesd,
    NormalizeIntensityd,
    Orientationd,
    RandCropByPosNegLabeld,
    RandFlipd,
)
from side_by_side import resident_mb

from medseg.datasets.phantoms.brats import make_brats_phantom
from medseg.engines import CaseDataset, Draw
from medseg.transforms import LoadCased
from medseg.volumes import Volume, read_volume, write_volume

KEYS = ["image", "label"]


def write_cases(folder: Path, count: int, shape: list[int]) -> list[dict[str, Any]]:
    """Phantoms as files, and the items that name them."""
    items = []
    for number in range(count):
        phantom = make_brats_phantom(number, seed=1, shape=shape, spacing_mm=168 / max(shape))
        paths = {}
        for name, array in {**phantom.images, "seg": phantom.labels}.items():
            path = folder / f"{phantom.case_id}_{name}.nii.gz"
            write_volume(path, array, Volume(array=array, affine_ras_mm=phantom.affine_ras_mm, path=path, header=None))
            paths[name] = str(path)
        images = [paths[name] for name in phantom.images]
        items.append({"case_id": phantom.case_id, "image": images, "label": paths["seg"]})
    return items


def chain(crop: int) -> Compose:
    """Reading to normalised, then a random crop and a flip."""
    kept = {"fg_indices_key": "label_fg_indices", "bg_indices_key": "label_bg_indices"}
    return Compose(
        [
            LoadCased(),
            Orientationd(KEYS, "RAS", labels=None),
            NormalizeIntensityd("image", nonzero=True, channel_wise=True),
            FgBgToIndicesd("label"),
            RandCropByPosNegLabeld(KEYS, "label", (crop,) * 3, num_samples=1, **kept),
            RandFlipd(KEYS, 0.5, 0),
        ]
    )


def timed(draw: Callable[[int], Any], samples: int) -> list[float]:
    """Seconds of each draw, the first three not counted."""
    times = []
    for number in range(samples + 3):
        start = time.perf_counter()
        draw(number)
        times.append(time.perf_counter() - start)
    return times[3:]


def added_mb(call: Callable[[], Any]) -> tuple[Any, float]:
    """The result, and by how much the process grew."""
    before = resident_mb()
    result = call()
    return result, resident_mb() - before


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=[240, 240, 155])
    parser.add_argument("--cases", type=int, default=3)
    parser.add_argument("--crop", type=int, default=96)
    parser.add_argument("--samples", type=int, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        items = write_cases(Path(place), given.cases, given.shape)
        compare(items, Path(place), given)
        print_reading(Path(items[0]["image"][0]))


def compare(items: list[dict[str, Any]], place: Path, given: Any) -> None:
    """The table of the crops."""
    ours = CaseDataset(items, chain(given.crop), cache_dir=place / "medseg")
    disk = PersistentDataset(items, chain(given.crop), cache_dir=place / "monai")
    for number in range(len(items)):
        _ = ours[Draw(number, 0)], disk[number]
    memory, memory_mb = added_mb(lambda: CacheDataset(items, chain(given.crop), num_workers=1, progress=False))
    kept = ours._kept(0)
    if not torch.equal(kept["image"].as_tensor(), memory._cache[0]["image"].as_tensor()):
        sys.exit("what the tools kept differs")
    rows = {
        "CacheDataset (memory)": (timed(lambda n: memory[n % len(items)], given.samples), memory_mb),
        "PersistentDataset (disk)": (timed(lambda n: disk[n % len(items)], given.samples), 0.0),
    }
    _, ours_mb = added_mb(lambda: timed(lambda n: ours[Draw(n % len(items), n)], given.samples))
    mine = timed(lambda n: ours[Draw(n % len(items), n)], given.samples)
    print(f"Crop of {given.crop}^3 from 4 modalities of {'x'.join(map(str, given.shape))}, kept voxels equal\n")
    print("| | a sample | medseg takes | memory for the cases |\n|---|---|---|---|")
    for name, (times, mb) in rows.items():
        print(f"| {name} | {statistics.median(times):.4f} s | 1/{ratio(times, mine):.1f} | {mb:.0f} MB in each rank |")
    print(
        f"| medseg `cache_dir` (disk) | {statistics.median(mine):.4f} s | | {max(ours_mb, 0):.0f} MB, shared pages |\n"
    )


def ratio(theirs: list[float], ours: list[float]) -> float:
    """Of the medians."""
    return statistics.median(theirs) / statistics.median(ours)


def print_reading(path: Path) -> None:
    """The table of one file."""
    import nibabel as nib

    calls: dict[str, Callable[[], Any]] = {
        "gunzip, zlib": lambda: gzip.decompress(path.read_bytes()),
        "nibabel": lambda: np.asarray(nib.load(path).dataobj),
        "medseg": lambda: read_volume(path),
    }
    try:
        from isal import igzip

        calls["gunzip, isal"] = lambda: igzip.decompress(path.read_bytes())
    except ImportError:
        print("isal is not installed: pip install 'medseg[fast]'", file=sys.stderr)
    if not np.array_equal(calls["nibabel"](), read_volume(path).array):
        sys.exit("nibabel and medseg read other voxels")
    print(f"| {path.stat().st_size / 2**20:.1f} MiB of .nii.gz | time |\n|---|---|")
    for name, call in calls.items():
        print(f"| {name} | {statistics.median(timed(lambda _, call=call: call(), 7)):.4f} s |")


if __name__ == "__main__":
    main()
