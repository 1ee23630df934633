"""How long commands take before they work: medseg's verbs beside `import torch`, `import monai` and nnU-Net.

Run: python benchmarks/start_up.py [--repeats 5] [--imports]

Each command is a fresh process, all of them in turn, once more than counted so that the files are in the page cache.
Medians of wall time and of processor time; on a busy machine only the latter means something. `--imports` prints the
modules that took longest in each of medseg's commands, by `python -X importtime`, instead.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec

LIGHT = "from medseg.bundle.light_imports import light_imports; light_imports(); "
ROOMS = "import torch, monai.bundle, medseg.engines, medseg.inference, medseg.transforms, monai.networks.nets"
COMMANDS: dict[str, list[str]] = {
    "import torch": ["-c", "import torch"],
    "import monai": ["-c", "import monai"],
    "what predict imports, stock": ["-c", ROOMS],
    "what predict imports": ["-c", LIGHT + ROOMS],
    "what predict imports, runtime=onnxruntime": [
        "-c",
        "import onnxruntime, medseg.bundle.compose, medseg.bundle.check, medseg.runtime.pipeline",
    ],
    "medseg --help": ["-m", "medseg", "--help"],
    "medseg info": ["-m", "medseg", "info"],
    "medseg data list": ["-m", "medseg", "data", "list"],
    "medseg evaluate --help": ["-m", "medseg", "evaluate", "--help"],
    "medseg bundle list": ["-m", "medseg", "bundle", "list"],
    "medseg bundle check": ["-m", "medseg", "bundle", "check", "brats_mri_segmentation"],
}
WANTED = {"medseg --help": 0.3} | dict.fromkeys(
    [name for name in COMMANDS if name.startswith("medseg ") and name != "medseg --help"], 1.0
)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--imports", action="store_true")
    given = parser.parse_args()
    commands = {name: [sys.executable, *words] for name, words in COMMANDS.items()}
    if find_spec("nnunetv2") is not None:
        code = "import sys; sys.argv = ['nnUNetv2_predict', '-h']; "
        code += "from nnunetv2.inference.predict_from_raw_data import predict_entry_point as p; p()"
        commands["nnUNetv2_predict -h"] = [sys.executable, "-c", code]
    if given.imports:
        for name, command in commands.items():
            print_slowest(name, command)
        return
    print("| command | wall | processor | import monai takes | wanted |\n|---|---|---|---|---|")
    costs = {name: [run(command)] for name, command in commands.items()}
    for _ in range(given.repeats):
        for name, command in commands.items():
            costs[name].append(run(command))
    medians = {
        name: [statistics.median(column) for column in zip(*rows[1:], strict=True)] for name, rows in costs.items()
    }
    for name, (wall, processor) in medians.items():
        ratio = medians["import monai"][1] / processor
        print(f"| `{name}` | {wall:.2f} s | {processor:.2f} s | {ratio:.1f}x as long | {WANTED.get(name, '')} |")


def run(command: list[str]) -> tuple[float, float]:
    """Wall and processor time of a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wall = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed: {done.stderr[-500:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def print_slowest(name: str, command: list[str], *, most: int = 12) -> None:
    """The modules whose own code took longest to run at import, in milliseconds."""
    environment = os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    rows = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines() if "|" in line]
    slow = sorted(((int(own), module.strip()) for own, _, module in rows if own.strip().isdigit()), reverse=True)
    print(f"{name}: {len(rows)} modules")
    for own, module in slow[:most]:
        print(f"  {own / 1000:8.1f} ms  {module}")


if __name__ == "__main__":
    main()
