"""Two ways of doing the same, timed in turn in one process; memory as the peak of the resident set above its level."""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

HEADER = "| work | MONAI | medseg | time | memory | results |\n|---|---|---|---|---|---|"
_TOUCHED = 4 << 30  # bytes: more than any peer takes


class Cost(NamedTuple):
    """Median wall time, and peak memory of one call."""

    seconds: float
    mb: float

    def __str__(self) -> str:
        return f"{self.seconds:.4g} s, {self.mb:.0f} MB"


def resident_mb() -> float:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096 / 2**20


def peak_mb(call: Callable[[], object]) -> float:
    """Peak resident memory of one call above the level before it."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    before = peak = resident_mb()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.0005):
            peak = max(peak, resident_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = call()
    peak = max(peak, resident_mb())
    done.set()
    watcher.join()
    del result
    return peak - before


def settle() -> None:
    """Memory at hand, every core awake and no thread at work, for whoever is timed next.

    A virtual machine may give freed memory back to its host within seconds: touching 160 MB again then takes 64 ms
    instead of 8. Some wake only one core for short work after a pause. OpenMP's threads spin for some milliseconds
    after each of torch's calls.
    """
    gc.collect()
    cores = len(os.sched_getaffinity(0))
    share = min(_TOUCHED, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4) // cores
    touching = [threading.Thread(target=np.ones, args=(share, np.uint8)) for _ in range(cores)]
    for thread in touching:
        thread.start()
    for thread in touching:
        thread.join()
    time.sleep(0.01)


def seconds_of(call: Callable[[], object]) -> float:
    """Wall time of one call on a machine that has settled."""
    settle()
    start = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - start
    del result
    return seconds


def cost_in_turn(theirs: Callable[[], object], ours: Callable[[], object], *, repeats: int) -> tuple[Cost, Cost]:
    """The cost of both, called alternately; both have been called before (imports and compilation do not count)."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for call, times in zip((theirs, ours), seconds, strict=True):
            times.append(seconds_of(call))
    a, b = (Cost(statistics.median(times), peak_mb(call)) for call, times in zip((theirs, ours), seconds, strict=True))
    return a, b


def print_row(name: str, theirs: Cost, ours: Cost, *, agreement: str) -> None:
    """One line under `HEADER`."""
    share = f"1/{theirs.mb / ours.mb:.0f}" if ours.mb >= 1 else f"under 1/{theirs.mb:.0f}"
    print(f"| {name} | {theirs} | {ours} | {theirs.seconds / ours.seconds:.0f}x | {share} | {agreement} |", flush=True)
