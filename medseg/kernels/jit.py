"""How the kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile on first call, release the GIL, and keep the machine code on disk where that is possible.

    An installation that nobody may write to (a container, a system package) has no place for numba's cache;
    there the kernel is compiled once per process instead.
    """
    return _compiled(function, error_model="python")


def jit_ieee(function: Callable[P, R]) -> Callable[P, R]:
    """As `jit`, but a division by zero gives infinity or NaN and raises nothing, so that its loop vectorises."""
    return _compiled(function, error_model="numpy")


def jit_reassociate(function: Callable[P, R]) -> Callable[P, R]:
    """As `jit_ieee`, but sums may be taken in another order, so that they vectorise; NaN and infinity stay."""
    return _compiled(function, error_model="numpy", fastmath={"reassoc", "contract"})


def _compiled(function: Callable[P, R], *, error_model: str, fastmath: bool | set[str] = False) -> Callable[P, R]:
    try:
        compiled = numba.njit(cache=True, nogil=True, error_model=error_model, fastmath=fastmath)(function)
    except RuntimeError:  # "cannot cache function ...: no locator available"
        compiled = numba.njit(nogil=True, error_model=error_model, fastmath=fastmath)(function)
    return cast("Callable[P, R]", compiled)
