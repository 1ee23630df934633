"""How time and memory grow with the size of a volume, with its classes and with the number of cases.

Run: python benchmarks/scaling.py [--what volume classes cases] [--sides 128 192 256 320 400] [--large]

Volume and classes: `SlidingWindow.predict_labels` with a stub network, windows of 96^3 at overlap .5; each point is a
fresh process, whose peak is its VmHWM less that of a process that imported the same and did nothing. Cases: `medseg
evaluate` of label maps of 128^3, one worker. The exponent is the slope of a line through the logarithms: 1 is
proportional, 0 is constant. `--large` adds 512x512x1000 voxels.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WINDOW = 96


def main() -> None:
    """Prints a table for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--what", nargs="+", choices=["volume", "classes", "cases"], default=["volume", "classes", "cases"]
    )
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 192, 256, 320, 400])
    parser.add_argument("--classes", type=int, nargs="+", default=[3, 14, 39, 117])
    parser.add_argument("--cases", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--point", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.point:
        print(json.dumps(measured(given.point[0], [int(word) for word in given.point[1:]])))
        return
    shapes = [(side,) * 3 for side in given.sides] + ([(512, 512, 1000)] if given.large else [])
    points = {
        "volume": [(f"{'x'.join(map(str, s))}", int(np.prod(s)), ["3", str(s[0]), str(s[2])]) for s in shapes],
        "classes": [(f"{n} classes, 192^3", n, [str(n), "192", "192"]) for n in given.classes],
        "cases": [(f"{n} cases", n, [str(n), "0", "0"]) for n in given.cases],
    }
    for what in given.what:
        print_table(what, points[what])


def print_table(what: str, points: list[tuple[str, int, list[str]]]) -> None:
    """The points, and the fitted exponents."""
    base = run(what, ["0", "0", "0"])[1]
    print(f"| {what} | time | peak above {base:.0f} MB of imports |\n|---|---|---|")
    rows = []
    for name, size, words in points:
        seconds, peak = run(what, words)
        rows.append((size, seconds, max(peak - base, 0.1)))
        print(f"| {name} | {seconds:.2f} s | {peak - base:.0f} MB |", flush=True)
    sizes, times, peaks = np.log(np.array(rows)).T
    exponents = [float(np.polyfit(sizes, column, 1)[0]) for column in (times, peaks)]
    print(f"| **exponent** | {exponents[0]:.2f} | {exponents[1]:.2f} |\n")


def run(what: str, words: list[str]) -> tuple[float, float]:
    """Seconds and peak MB of one point in a fresh process."""
    command = [sys.executable, __file__, "--point", what, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{what} {words}: {done.stderr[-800:]}")
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


def measured(what: str, numbers: list[int]) -> tuple[float, float]:
    """Of this process; with zeros nothing is done but the imports."""
    from medseg.record import peak_memory_mb

    seconds = evaluated(numbers[0]) if what == "cases" else predicted(*numbers)
    return seconds, peak_memory_mb()


def predicted(classes: int, side: int, depth: int) -> float:
    """Seconds of one prediction, the compilation of the kernels not counted."""
    import torch

    from medseg.inference import SlidingWindow

    centres = torch.linspace(-1, 1, max(classes, 2)).reshape(1, -1, 1, 1, 1)
    infer = SlidingWindow([WINDOW] * 3, overlap=0.5)

    def network(windows: torch.Tensor) -> torch.Tensor:
        return torch.sub(windows, centres).abs_().neg_()

    with torch.inference_mode():
        infer.predict_labels(torch.rand(1, 1, WINDOW, WINDOW, WINDOW), network)
        if not classes:
            return 0.0
        image = torch.nn.functional.interpolate(torch.randn(1, 1, 9, 9, 9), (side, side, depth), mode="trilinear")
        start = time.perf_counter()
        infer.predict_labels(image, network)
        return time.perf_counter() - start


def evaluated(cases: int) -> float:
    """Seconds of scoring so many label maps."""
    from medseg.evaluation import evaluate_folders
    from medseg.volumes import Volume, write_label_map

    with tempfile.TemporaryDirectory() as place:
        for number in range(max(cases, 1)):
            for name, shift in (("pred", 1), ("ref", 0)):
                labels = np.zeros((128,) * 3, np.uint8)
                labels[40 + shift : 80 + shift, 30:90, 50:100] = 1
                path = Path(place) / name / f"case{number}.nii.gz"
                path.parent.mkdir(exist_ok=True)
                like = Volume(array=labels, affine_ras_mm=np.eye(4), path=path, header=None)
                write_label_map(path, labels, like=like)
        start = time.perf_counter()
        if cases:
            pred, ref = Path(place) / "pred", Path(place) / "ref"
            evaluate_folders(pred, ref, out_dir=Path(place) / "out", workers=1)
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
