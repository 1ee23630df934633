import math

import numba
import numpy as np
import pytest

from medseg.kernels.jit import jit, jit_ieee, jit_reassociate


def _add(a, b):
    return a + b


def _divide(a, b):
    return a / b


def _divide_too(a, b):
    return a / b


def test_only_ieee_kernels_divide_by_zero():
    assert math.isinf(jit_ieee(_divide)(1.0, 0.0))
    with pytest.raises(ZeroDivisionError):
        jit(_divide_too)(1.0, 0.0)


def test_a_kernel_compiles_and_runs():
    assert jit(_add)(2, 3) == 5


def test_without_a_place_for_the_cache_the_kernel_still_runs(monkeypatch):
    njit = numba.njit

    def nowhere_to_cache(*, cache=False, **options):
        if cache:
            msg = "cannot cache function '_add': no locator available"
            raise RuntimeError(msg)
        return njit(**options)

    monkeypatch.setattr(numba, "njit", nowhere_to_cache)
    assert jit(_add)(2, 3) == 5


def _total(values):
    total = 0.0
    for index in range(values.size):
        total += values[index]
    return total


def test_sums_in_another_order_keep_nan_and_infinity():
    add = jit_reassociate(_total)
    assert math.isnan(add(np.array([1.0, np.nan])))
    assert math.isinf(add(np.array([1.0, np.inf])))
    assert add(np.arange(1000.0)) == 499500
