"""The first MetaImage file that a process reads: itk and medseg, each in processes of their own, start-up included.

Run: python benchmarks/metaimage.py [--repeats 3] [--size 512 512 300]

What is timed is what a command waits for beyond Python's own start: the import of the reader, the read, and one pass
over every voxel (a memory map would look free without it). Both must give the same sum. itk is in the extra `dev`.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

READERS = {
    "itk": "import itk; voxels = itk.array_from_image(itk.imread(path))",
    "medseg": "from medseg.volumes import read_volume; voxels = read_volume(path).array",
}
_CODE = """
import sys, time
path = sys.argv[1]
start = time.perf_counter()
{reader}
total = int(voxels.sum(dtype="int64"))
first = time.perf_counter() - start
start = time.perf_counter()
{again}
total = int(voxels.sum(dtype="int64"))
print(first, time.perf_counter() - start, total)
"""


def write_scan(folder: Path, size: tuple[int, ...]) -> Path:
    """An int16 scan as LUNA16 has them."""
    voxels = np.random.default_rng(0).integers(-1000, 1000, size=size[::-1], dtype=np.int16)
    (folder / "a.raw").write_bytes(voxels.tobytes())
    lines = ["ObjectType = Image", "NDims = 3", f"DimSize = {size[0]} {size[1]} {size[2]}", "ElementType = MET_SHORT"]
    lines += ["ElementSpacing = 0.7 0.7 1.25", "TransformMatrix = 1 0 0 0 1 0 0 0 1", "ElementDataFile = a.raw"]
    (folder / "a.mhd").write_text("\n".join(lines) + "\n", encoding="ascii")
    return folder / "a.mhd"


def times(reader: str, path: Path) -> tuple[float, float, int]:
    """Seconds of the first read and of the second in a fresh process, and the sum of the voxels."""
    code = _CODE.format(reader=reader, again=reader.split("; ", 1)[1])
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    first, second, total = done.stdout.split()
    return float(first), float(second), int(total)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", type=int, nargs=3, default=(512, 512, 300))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = write_scan(Path(folder), tuple(options.size))
        runs = {name: [] for name in READERS}
        for _ in range(options.repeats):  # in turn, so that the machine's mood hits both
            for name, reader in READERS.items():
                runs[name].append(times(reader, path))
    if len({total for results in runs.values() for _, _, total in results}) != 1:
        sys.exit("the readers do not agree on the voxels")
    medians = {
        name: [statistics.median(column) for column in zip(*results, strict=True)] for name, results in runs.items()
    }
    print("| | itk | medseg | ratio |\n|---|---|---|---|")
    for column, title in enumerate(("first read of a process, import included", "second read")):
        itk, medseg = medians["itk"][column], medians["medseg"][column]
        print(f"| {title} | {itk:.2f} s | {medseg:.3f} s | {itk / medseg:.0f}x |")


if __name__ == "__main__":
    main()
