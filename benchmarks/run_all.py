"""Runs the benchmarks, a script for each group, and writes what they print into benchmarks/RESULTS.md.

Run: make bench, or python benchmarks/run_all.py [GROUP ...] [--quick] [--list]

Peers come from benchmarks/requirements.txt; what is not installed is left out by the scripts that would run it. Only
the section between the two marks is written anew; what people wrote around it stays. A script that fails leaves its
last line there in place of a table.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from datetime import date
from importlib import metadata
from pathlib import Path

from medseg.record import cpu_name, git_commit, usable_cores

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
BEGIN, END = "<!-- written by make bench -->", "<!-- end of what make bench writes -->"
# Script and arguments, and those of --quick: a few minutes in all, for ratios that are rough.
GROUPS: dict[str, list[tuple[list[str], list[str]]]] = {
    "network": [
        (["network.py"], ["--roi", "64", "--shape", "96", "96", "80", "--repeats", "1", "--steps", "15"]),
        (["network.py", "--model", "dynunet", "--forward-only"], ["--roi", "64", "--repeats", "1"]),
        (["compiled.py"], ["--roi", "48", "--repeats", "2"]),
    ],
    "windows": [
        (["windows.py"], ["--classes", "3", "--repeats", "1"]),
        (["windows.py", "--native"], ["--repeats", "1"]),
    ],
    "preprocessing": [
        (["resampling.py"], ["--repeats", "1"]),
        (["luna16_preparation.py"], ["--repeats", "1"]),
        (["box_augmentation.py"], ["--repeats", "3"]),
    ],
    "loading": [
        (["loading.py"], ["--shape", "128", "128", "96", "--crop", "64", "--samples", "10", "--cases", "2"]),
        (["metaimage.py"], ["--repeats", "1", "--size", "256", "256", "100"]),
    ],
    "metrics": [(["metrics.py"], ["--repeats", "2"])],
    "detection": [(["detection_kernels.py"], ["--repeats", "1", "--work", "pairs", "atss"])],
    "training": [(["training_step.py", "--raw"], ["--crop", "64", "--steps", "3", "--shape", "128", "128", "96"])],
    "start-up": [(["start_up.py"], ["--repeats", "1"])],
    "scaling": [(["scaling.py"], ["--sides", "128", "160", "192", "--classes", "3", "14", "--cases", "2", "4"])],
}


def main() -> None:
    """Runs what is asked for and writes the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args()
    unknown = [name for name in given.groups if name not in GROUPS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}. Choose among {', '.join(GROUPS)}.")
    if given.list:
        print("\n".join(f"{name}: {' '.join(w)}" for name, runs in GROUPS.items() for w, _ in runs))
        return
    parts = [machine(quick=given.quick)]
    for name in given.groups or GROUPS:
        parts.append(f"### {name.capitalize()}\n")
        parts += [section(words + (quick if given.quick else [])) for words, quick in GROUPS[name]]
        write_section("\n".join(parts))


def machine(*, quick: bool) -> str:
    """Where and with what."""
    names = ("torch", "monai", "numpy", "numba", "nnunetv2", "SimpleITK", "onnxruntime", "openvino", "nncf")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = [f"{name} {version}" for name in names if (version := version_of(name))]
    remark = " Run with --quick: small inputs, one repeat, rough ratios." if quick else ""
    busy = f"load average {os.getloadavg()[0]:.1f} when it began"
    return (
        f"{date.today().isoformat()}, {usable_cores()} core(s) of {cpu_name()}, {memory:.0f} GB, {busy}; commit "
        f"{git_commit() or 'unknown'}; Python {sys.version.split()[0]}, {', '.join(found)}.{remark}\n"
    )


def version_of(name: str) -> str | None:
    """Of an installed package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def section(words: list[str]) -> str:
    """What a script prints, under its command."""
    command = f"`python benchmarks/{' '.join(words)}`"
    print(command, file=sys.stderr, flush=True)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(HERE / words[0]), *words[1:]], capture_output=True, text=True, check=False, cwd=HERE.parent
    )
    took = f"{time.perf_counter() - start:.0f} s"
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        return f"{command} stopped after {took}: {lines[-1] if lines else 'no word'}\n"
    text = "\n".join(line.rstrip() for line in done.stdout.splitlines() if not line.startswith(("WARNING", "INFO")))
    return f"{command}, {took}:\n\n{text.strip()}\n"


def write_section(text: str) -> None:
    """Puts the text between the marks; at the end of the file where there are none yet."""
    old = RESULTS.read_text(encoding="utf-8") if RESULTS.is_file() else "# Results\n"
    block = f"{BEGIN}\n\n{text}\n{END}\n"
    before, mark, rest = old.partition(BEGIN)
    if mark:
        new = before + block + rest.partition(END)[2].lstrip("\n")
    else:
        new = f"{old.rstrip()}\n\n## What `make bench` wrote\n\n{block}"
    RESULTS.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
