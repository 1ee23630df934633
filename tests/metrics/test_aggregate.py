import sys

import numpy as np
import pytest

from medseg.errors import DataError
from medseg.metrics.aggregate import aggregate


def test_mean_sd_and_median_by_hand():
    result = aggregate([1.0, 2.0, 6.0])
    assert (result.mean, result.median, result.n) == (3.0, 2.0, 3)
    assert result.sd == pytest.approx(np.sqrt(7))


def test_one_case_has_no_spread():
    result = aggregate([0.8])
    assert result.sd is None
    assert result.ci95 == (0.8, 0.8)


def test_equal_scores_have_an_interval_of_no_width():
    assert aggregate([0.5] * 9).ci95 == (0.5, 0.5)


def test_the_interval_is_the_same_on_every_run_and_moves_with_the_seed():
    scores = np.random.default_rng(1).random(12).tolist()
    assert aggregate(scores) == aggregate(scores)
    assert aggregate(scores).ci95 != aggregate(scores, seed=1).ci95


def test_the_interval_of_a_large_sample_is_the_normal_one():
    scores = np.random.default_rng(2).normal(10, 2, size=400)
    result = aggregate(scores.tolist())
    half = 1.96 * scores.std() / np.sqrt(400)
    assert result.ci95 == pytest.approx((scores.mean() - half, scores.mean() + half), abs=0.02)


def test_the_interval_of_two_cases_by_hand():
    # The bootstrap means of (0, 1) are 0, 1/2, 1 with 1/4, 1/2, 1/4: both tails hold more than 2.5 %.
    assert aggregate([0.0, 1.0]).ci95 == (0.0, 1.0)


def test_drawing_in_blocks_changes_nothing(monkeypatch):
    scores = np.random.default_rng(3).random(50).tolist()
    whole = aggregate(scores, resamples=1000)
    monkeypatch.setattr(sys.modules["medseg.metrics.aggregate"], "_BLOCK", 777)
    assert aggregate(scores, resamples=1000) == whole


@pytest.mark.parametrize("scores", [[], [1.0, float("nan")], [float("inf")]])
def test_scores_that_cannot_be_averaged_are_refused(scores):
    with pytest.raises(DataError, match="wanted finite scores"):
        aggregate(scores)
