import numpy as np
import pytest
from scipy import stats

from medseg.benchmark.statistics import holm, over_seeds, paired_test, rank_stability
from medseg.errors import DataError


def test_five_cases_that_all_improve_have_the_smallest_exact_p():
    test = paired_test([0.9, 0.8, 0.7, 0.6, 0.5], [0.8, 0.6, 0.4, 0.2, 0.0])
    assert test.mean_difference == pytest.approx(0.3)
    assert test.wilcoxon_p == pytest.approx(2 / 2**5)  # both tails of 32 sign patterns
    assert test.permutation_p == pytest.approx(2 / 2**5)
    assert (test.higher, test.lower, test.n) == (5, 0, 5)


def test_the_permutation_p_is_counted_by_hand():
    # Differences 1, 2, -4: |sums| over signs are 7, 5, 3, 1 twice each, plus: 1+2-4 = -1 is reached by all 8.
    assert paired_test([1, 2, 0], [0, 0, 4]).permutation_p == 1.0
    # Differences 1, 2, 4: only all plus and all minus reach 7.
    assert paired_test([1, 2, 4], [0, 0, 0]).permutation_p == pytest.approx(2 / 8)


def test_zero_differences_do_not_change_the_tests():
    with_zeros = paired_test([1, 2, 4, 7, 7], [0, 0, 0, 7, 7])
    assert with_zeros.permutation_p == pytest.approx(2 / 8)
    assert with_zeros.wilcoxon_p == pytest.approx(2 / 8)
    assert with_zeros.mean_difference == pytest.approx(7 / 5)


def test_equal_runs_do_not_differ():
    test = paired_test([0.5, 0.6], [0.5, 0.6])
    assert test.wilcoxon_p == test.permutation_p == 1.0
    assert test.ci95 == (0.0, 0.0)


def test_many_cases_agree_with_scipy():
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.80, 0.1, 40), rng.normal(0.78, 0.1, 40)
    test = paired_test(a.tolist(), b.tolist())
    assert test.wilcoxon_p == pytest.approx(stats.wilcoxon(a, b).pvalue)
    theirs = stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=4000, rng=1
    )
    assert test.permutation_p == pytest.approx(theirs.pvalue, abs=0.03)


def test_swapping_the_runs_turns_the_sign_only():
    rng = np.random.default_rng(0)
    a, b = rng.random(20).tolist(), rng.random(20).tolist()
    one, other = paired_test(a, b), paired_test(b, a)
    assert one.mean_difference == pytest.approx(-other.mean_difference)
    assert one.wilcoxon_p == pytest.approx(other.wilcoxon_p)
    assert one.permutation_p == other.permutation_p


def test_the_tests_hold_their_level_without_a_difference():
    rng = np.random.default_rng(5)
    ps = [paired_test(rng.normal(size=10).tolist(), [0.0] * 10).permutation_p for _ in range(200)]
    assert np.mean(np.array(ps) <= 0.05) == pytest.approx(0.05, abs=0.04)


def test_lengths_must_agree():
    with pytest.raises(DataError, match=r"2 and 1 scores"):
        paired_test([1, 2], [1])


def test_holm_by_hand_and_never_above_one():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_lies_between_the_plain_p_and_bonferroni():
    ps = np.random.default_rng(0).random(8) * 0.2
    corrected = np.array(holm(ps.tolist()))
    assert (corrected >= ps).all()
    assert (corrected <= np.minimum(1, 8 * ps) + 1e-12).all()
    assert (np.diff(corrected[np.argsort(ps)]) >= 0).all()


def test_seeds_are_no_new_cases():
    one = over_seeds({0: {"a": 0.8, "b": 0.6, "c": 0.4}})
    same = over_seeds({seed: {"a": 0.8, "b": 0.6, "c": 0.4} for seed in range(5)})
    assert same.over_cases.ci95 == one.over_cases.ci95
    assert same.over_cases.n == 3
    assert same.between_seed_sd == 0
    assert one.between_seed_sd is None


def test_between_seed_spread_is_that_of_the_means():
    found = over_seeds({0: {"a": 0.0, "b": 1.0}, 1: {"a": 1.0, "b": 1.0}, 2: {"a": 0.0, "b": 0.0}})
    assert found.seed_means == {0: 0.5, 1: 1.0, 2: 0.0}
    assert found.between_seed_sd == pytest.approx(0.5)


def test_seeds_with_other_cases_are_refused():
    with pytest.raises(DataError, match="seed 1: other cases than seed 0"):
        over_seeds({0: {"a": 1.0}, 1: {"b": 1.0}})
    with pytest.raises(DataError, match="at least one case"):
        over_seeds({})


def test_a_run_that_is_better_in_every_case_is_first_in_every_resample():
    found = rank_stability({"good": [0.9, 0.8, 0.7], "bad": [0.8, 0.7, 0.6]}, higher_is_better=True)
    assert found["good"].rank == 1
    assert found["good"].best_share == 1.0
    assert found["bad"].ci95 == (2.0, 2.0)


def test_ranks_turn_round_for_distances_and_ties_share_a_place():
    found = rank_stability({"x": [1.0, 2.0], "y": [2.0, 3.0], "z": [1.0, 2.0]}, higher_is_better=False)
    assert [found[name].rank for name in "xyz"] == [1.5, 3.0, 1.5]
    assert found["x"].best_share == found["z"].best_share == 1.0


def test_two_runs_that_take_turns_are_first_in_half_of_the_resamples():
    # Of 21 resampled cases of equal weight, the majority decides: a fair coin for each run.
    up, down = [1.0, 0.0] * 20 + [0.5], [0.0, 1.0] * 20 + [0.5]
    found = rank_stability({"up": up, "down": down}, higher_is_better=True)
    assert found["up"].mean_rank == pytest.approx(1.5, abs=0.03)
    assert found["up"].best_share == pytest.approx(0.5, abs=0.1)


def test_runs_with_other_numbers_of_cases_are_refused():
    with pytest.raises(DataError, match=r"\[1, 2\] cases"):
        rank_stability({"a": [1.0], "b": [1.0, 2.0]}, higher_is_better=True)
