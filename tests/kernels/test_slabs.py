import multiprocessing
import threading

import numpy as np
import pytest

from medseg.kernels.slabs import run_slabs


@pytest.mark.parametrize("planes", [0, 1, 2, 7, 30])
@pytest.mark.parametrize("threads", [1, 2, 3, 8, 100])
def test_every_plane_is_worked_on_once(planes, threads):
    visits = np.zeros(planes, int)

    def work(first, last):
        visits[first:last] += 1

    run_slabs(work, planes, threads=threads)
    assert (visits == 1).all()


def test_helpers_may_share_their_own_work():
    done, lock = [], threading.Lock()

    def inner(first, last):
        with lock:
            done.extend(range(first, last))

    run_slabs(lambda first, last: run_slabs(inner, 40, threads=20), 30, threads=30)
    assert sorted(done) == sorted([*range(40)] * 30)


@pytest.mark.parametrize("wrong", [0, 3])
def test_an_error_of_any_thread_is_the_callers(wrong):
    def work(first, last):
        if first <= wrong < last:
            msg = f"plane {wrong}"
            raise ValueError(msg)

    with pytest.raises(ValueError, match=f"plane {wrong}"):
        run_slabs(work, 4, threads=2)


def _doubled(numbers):
    run_slabs(lambda first, last: numbers.__setitem__(slice(first, last), numbers[first:last] * 2), 4, threads=2)
    return numbers.tolist()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_helpers_of_its_own():
    assert _doubled(np.arange(4)) == [0, 2, 4, 6]
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_doubled, (np.arange(4),)).get(timeout=30) == [0, 2, 4, 6]
