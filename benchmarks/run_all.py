"""Runs the benchmarks, some scripts for each group, and writes what they print into benchmarks/RESULTS.md.

Run: make bench, or python benchmarks/run_all.py [GROUP ...] [--quick] [--output FILE] [--list]

Peers come from benchmarks/requirements.txt; what is not installed is left out by the scripts that would run it. Only
the groups that ran are written anew, between the two marks; other groups and what people wrote around them stay. A
script that fails, or takes too long, leaves its last line in place of a table, and the others go on. --quick takes
small inputs and about ten minutes of one core, and prints unless --output says where to write.
"""

from __future__ import annotations

import argparse
import os
import re
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
# Script and arguments; those that --quick adds, or None where it leaves the script out.
GROUPS: dict[str, list[tuple[str, str | None]]] = {
    "network": [
        ("network.py", "--roi 64 --shape 80 80 64 --repeats 1 --steps 40"),
        ("network.py --model dynunet --forward-only", "--roi 64 --repeats 1"),
        ("compiled.py", None),
    ],
    "windows": [
        ("windows.py", "--classes 3 14 --shape 160 160 128 --window 96 96 96 --repeats 1"),
        ("memory_117_classes.py", "--classes 14 --shape 200 180 160 --window 64 64 64 --max-memory-mb 1500"),
        ("placement.py", None),
    ],
    "preprocessing": [
        ("transforms.py", "--shape 128 128 96 --repeats 1"),
        ("training_chain.py", "--repeats 1"),
        ("resampling.py", "--repeats 1"),
        ("luna16_preparation.py", None),
        ("box_augmentation.py", "--repeats 3"),
    ],
    "export": [("windows.py --native", "--repeats 1")],
    "metrics": [("metrics.py", "--repeats 1")],
    "detection": [
        ("detection_kernels.py", "--repeats 1 --work pairs atss"),
        ("detection_inference.py", None),
        ("detection_scoring.py", "--marks 6000 --peer-resamples 1 --repeats 1"),
    ],
    "loading": [
        ("loading.py", "--shape 128 128 96 --crop 64 --samples 10 --cases 2"),
        ("metaimage.py", "--repeats 1 --size 256 256 100"),
    ],
    "training": [("training_step.py --raw", "--crop 48 --steps 2 --shape 96 96 80")],
    "start-up": [("start_up.py", "--repeats 1")],
    "scaling": [("scaling.py", "--sides 96 128 160 --classes 3 14 --cases 2 4")],
}
# What needs data of its own, or is a training rather than a benchmark, or helps others.
LEFT_OUT = ("brats2015_leave_one_out.py", "luna16_phantom.py", "run_all.py", "side_by_side.py", "trained_network.py")
LONGEST_S, LONGEST_QUICK_S = 3 * 3600.0, 240.0  # for one script


def main() -> None:
    """Runs what is asked for and writes the groups."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--quick", action="store_true", help="small inputs, rough ratios; prints")
    parser.add_argument("--output", type=Path, metavar="FILE", help="a .md to write into; default: RESULTS.md here")
    parser.add_argument("--list", action="store_true", help="what would run")
    given = parser.parse_args()
    unknown = [name for name in given.groups if name not in GROUPS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}. Choose among {', '.join(GROUPS)}.")
    wanted = given.groups or list(GROUPS)
    if given.list:
        print("\n".join(f"{name}: {' '.join(words)}" for name in wanted for words in commands(name, quick=given.quick)))
        return
    output = given.output or (None if given.quick else RESULTS)
    for name in wanted:
        text = group(name, quick=given.quick)
        if output is None:
            print(f"### {name.capitalize()}\n\n{text}", flush=True)
        else:
            write_group(output, name, text)


def commands(name: str, *, quick: bool) -> list[list[str]]:
    """Of a group: scripts with their arguments."""
    runs = GROUPS[name]
    if not quick:
        return [script.split() for script, _ in runs]
    return [f"{script} {more}".split() for script, more in runs if more is not None]


def group(name: str, *, quick: bool) -> str:
    """What all scripts of a group print, under the machine."""
    parts = [machine(quick=quick)]
    parts += [
        section(words, longest_s=LONGEST_QUICK_S if quick else LONGEST_S) for words in commands(name, quick=quick)
    ]
    return "\n".join(parts)


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


def section(words: list[str], *, longest_s: float = LONGEST_S) -> str:
    """What a script prints, under its command."""
    command = f"`python benchmarks/{' '.join(words)}`"
    print(command, file=sys.stderr, flush=True)
    start = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, str(HERE / words[0]), *words[1:]],
            capture_output=True,
            text=True,
            check=False,
            cwd=HERE.parent,
            timeout=longest_s,
        )
    except subprocess.TimeoutExpired:
        return f"{command} was stopped after {longest_s:.0f} s.\n"
    took = f"{time.perf_counter() - start:.0f} s"
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        return f"{command} stopped after {took}: {lines[-1] if lines else 'no word'}\n"
    text = "\n".join(line.rstrip() for line in done.stdout.splitlines() if not line.startswith(("WARNING", "INFO")))
    return f"{command}, {took}:\n\n{text.strip()}\n"


def write_group(path: Path, name: str, text: str) -> None:
    """Puts a group between the marks, in place of its older figures; at the end of a file that has no marks."""
    old = path.read_text(encoding="utf-8") if path.is_file() else "# Results\n"
    before, mark, rest = old.partition(BEGIN)
    if not mark:
        before, rest = f"{old.rstrip()}\n\n## What `make bench` wrote\n\n", f"\n{END}\n"
    inside, _, after = rest.partition(END)
    groups = {title: body.strip() for title, body in re.findall(r"^### (.+?)\n(.*?)(?=^### |\Z)", inside, re.M | re.S)}
    groups[name.capitalize()] = text.strip()
    order = [title for each in GROUPS if (title := each.capitalize()) in groups]
    block = "\n\n".join(f"### {title}\n\n{groups[title]}" for title in order)
    path.write_text(f"{before}{BEGIN}\n\n{block}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
