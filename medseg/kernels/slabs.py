"""Work on a volume shared by threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise

_PARTS = 4  # for each thread, so that one whose core has other work too takes fewer of them
_LEAST_PLANES = 8  # of such a part: kernels read a plane or two beyond it


@cache
def _helpers() -> ThreadPoolExecutor:
    """Threads that stay: starting new ones for each call takes longer than many calls do."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="medseg-kernels")


if hasattr(os, "register_at_fork"):  # a forked process has none of them
    os.register_at_fork(after_in_child=_helpers.cache_clear)


def run_slabs(work: Callable[[int, int], None], planes: int, *, threads: int) -> None:
    """Calls `work(first, last)` for parts of the planes, which threads take one after another; the caller's is one.

    Example:
        >>> parts = []
        >>> run_slabs(lambda first, last: parts.append((first, last)), 5, threads=2)
        >>> sorted(parts)
        [(0, 2), (2, 5)]
    """
    threads = max(1, min(threads, planes))
    slabs = 1 if threads == 1 else min(_PARTS * threads, max(threads, planes // _LEAST_PLANES))
    waiting = iter(list(pairwise(planes * slab // slabs for slab in range(slabs + 1))))

    def take() -> None:
        try:
            for part in waiting:  # of a list: each part goes to one thread only
                work(*part)
        finally:
            for _ in waiting:  # after an error nobody begins another one
                pass

    jobs = [_helpers().submit(take) for _ in range(threads - 1)]
    try:
        take()
        for job in jobs:
            if not job.cancel():  # no helper was free for it, as where a helper shares its own work
                job.result()
    finally:
        wait([job for job in jobs if not job.cancel()])
