"""Two ways of doing the same, timed in turn in one process; memory as the peak of the resident set above its level."""

from __future__ import annotations

import ctypes
import gc
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

HEADER = "| work | MONAI | medseg | time | memory | results |\n|---|---|---|---|---|---|"


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


def cost_in_turn(theirs: Callable[[], object], ours: Callable[[], object], *, repeats: int) -> tuple[Cost, Cost]:
    """The cost of both, called alternately; both have been called before (imports and compilation do not count)."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for call, times in zip((theirs, ours), seconds, strict=True):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    a, b = (Cost(statistics.median(times), peak_mb(call)) for call, times in zip((theirs, ours), seconds, strict=True))
    return a, b


def print_row(name: str, theirs: Cost, ours: Cost, *, agreement: str) -> None:
    """One line under `HEADER`."""
    share = f"1/{theirs.mb / ours.mb:.0f}" if ours.mb >= 1 else f"under 1/{theirs.mb:.0f}"
    print(f"| {name} | {theirs} | {ours} | {theirs.seconds / ours.seconds:.0f}x | {share} | {agreement} |", flush=True)
