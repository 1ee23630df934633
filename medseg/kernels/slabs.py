"""Work on a volume shared by threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise


@cache
def _helpers() -> ThreadPoolExecutor:
    """Threads that stay: starting new ones for each call takes longer than many calls do."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="medseg-kernels")


if hasattr(os, "register_at_fork"):  # a forked process has none of them
    os.register_at_fork(after_in_child=_helpers.cache_clear)


def run_slabs(work: Callable[[int, int], None], planes: int, *, threads: int) -> None:
    """Calls `work(first, last)` for as many parts of the planes as there are threads; the caller's is one of them.

    Example:
        >>> parts = []
        >>> run_slabs(lambda first, last: parts.append((first, last)), 5, threads=2)
        >>> sorted(parts)
        [(0, 2), (2, 5)]
    """
    slabs = max(1, min(threads, planes))
    own, *others = pairwise(planes * slab // slabs for slab in range(slabs + 1))
    jobs = [_helpers().submit(work, *part) for part in others]
    try:
        work(*own)
        for job, part in zip(jobs, others, strict=True):
            if job.cancel():  # no helper was free, as where a helper shares its own work
                work(*part)
            else:
                job.result()
    finally:
        wait([job for job in jobs if not job.cancel()])
