from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.engines import Draw, DrawSampler, draw_at
from medseg.errors import ConfigError, DataError


@given(st.integers(1, 20), st.integers(0, 2**40), st.integers(0, 50))
def test_each_pass_visits_every_case_once(cases, seed, pass_number):
    draws = [draw_at(pass_number * cases + i, cases, seed=seed) for i in range(cases)]
    assert sorted(d.case for d in draws) == list(range(cases))
    assert all(0 <= d.seed < 2**32 for d in draws)


def test_draws_are_the_same_on_every_machine():
    assert [draw_at(n, 4, seed=0) for n in (0, 5)] == [Draw(2, 3964924996), Draw(0, 3507651262)]


def test_a_stream_started_later_is_the_rest_of_the_stream():
    whole, late = DrawSampler(5, seed=3), DrawSampler(5, seed=3)
    late.start_at(4, batch_size=3)
    assert list(islice(late, 10)) == list(islice(whole, 22))[12:]


@given(st.integers(1, 4), st.integers(1, 9))
def test_ranks_share_the_stream_without_overlap(ranks, cases):
    single = list(islice(DrawSampler(cases, seed=1), 3 * ranks))
    shares = [list(islice(DrawSampler(cases, seed=1, rank=r, world_size=ranks), 3)) for r in range(ranks)]
    assert [shares[i % ranks][i // ranks] for i in range(3 * ranks)] == single


def test_the_length_is_an_epochs_on_one_rank():
    assert len(DrawSampler(5)) == 5
    assert len(DrawSampler(5, draws_per_epoch=9, rank=0, world_size=2)) == 5


def test_no_case_and_bad_numbers_are_refused():
    with pytest.raises(DataError, match="no training case"):
        DrawSampler(0)
    with pytest.raises(ConfigError, match="seed -1"):
        DrawSampler(3, seed=-1)
    with pytest.raises(ConfigError, match="draws_per_epoch 0"):
        DrawSampler(3, draws_per_epoch=0)
