"""How much memory there is, is held, and was held at most, on a device."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from medseg.record import peak_memory_mb

T = TypeVar("T")
_MB = 2**20
_EVERY_S = 0.002  # a look at the resident set takes some hundredths of that
_SHARE = 0.9  # of what is free may be planned with


def held_mb(device: torch.device) -> float:
    """What this process holds now: resident memory, or what its tensors take on the GPU."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / _MB
    status = Path("/proc/self/statm")
    if not status.is_file():
        return peak_memory_mb()
    import resource

    return int(status.read_text(encoding="ascii").split()[1]) * resource.getpagesize() / _MB


def peak_mb(device: torch.device) -> float:
    """The most that this process has held."""
    return torch.cuda.max_memory_allocated(device) / _MB if device.type == "cuda" else peak_memory_mb()


def room_mb(device: torch.device) -> float:
    """What this process may hold in all, without a budget: what it holds, and nine tenths of what is free."""
    if device.type == "cuda":
        return held_mb(device) + torch.cuda.mem_get_info(device)[0] / _MB * _SHARE
    info = Path("/proc/meminfo")
    if not info.is_file():
        return float("inf")
    lines = dict(line.split(":", 1) for line in info.read_text(encoding="ascii").splitlines())
    return held_mb(device) + int(lines["MemAvailable"].split()[0]) / 1024 * _SHARE


def measured(call: Callable[[], T], device: torch.device) -> tuple[T, float]:
    """What a call gives, and how much more than before it was held at most meanwhile, in MiB."""
    before = held_mb(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        result = call()
        torch.cuda.synchronize(device)
        return result, torch.cuda.max_memory_allocated(device) / _MB - before
    highest, done = before, threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(_EVERY_S):
            highest = max(highest, held_mb(device))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        result = call()
        highest = max(highest, held_mb(device))
    finally:
        done.set()
        watcher.join()
    return result, highest - before
