import numba

from medseg.kernels.jit import jit


def _add(a, b):
    return a + b


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
