import math

import numba
import pytest

from medseg.kernels.jit import jit, jit_ieee


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
