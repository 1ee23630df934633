"""FROC: hand-computed curves, an independent reference by counting, and what must hold for any input."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from medseg.errors import DataError
from medseg.metrics.froc import FP_POINTS, bootstrap_froc, froc_curve, froc_entries
from medseg.metrics.nodule_hits import Balls, Points, hit_nodules


def points(rows):
    table = np.array(rows, dtype=float).reshape(-1, 5)
    return Points(scan=table[:, 0].astype(int), centre_mm=table[:, 1:4], score=table[:, 4])


def balls(rows):
    table = np.array(rows, dtype=float).reshape(-1, 5)
    return Balls(scan=table[:, 0].astype(int), centre_mm=table[:, 1:4], diameter_mm=table[:, 4])


def entries_of(marks, nodules, excluded=(), *, n_scans):
    marks, nodules = points(marks), balls(nodules)
    hits = hit_nodules(marks, nodules, balls(excluded), n_scans=n_scans)
    return froc_entries(marks, nodules, hits, n_scans=n_scans)


def curve_of(*rows, n_scans):
    return froc_curve(entries_of(*rows, n_scans=n_scans))


NODULES = [(0, 0, 0, 0, 6), (0, 50, 0, 0, 6), (1, 0, 0, 0, 6), (1, 50, 0, 0, -1)]
FAR = 200.0


def test_a_curve_by_hand():
    # Two scans; scores 0.9 hit, 0.8 false, 0.7 hit, 0.6 false; two of four nodules are missed.
    marks = [(0, 0, 0, 0, 0.9), (0, FAR, 0, 0, 0.8), (1, 1, 0, 0, 0.7), (1, FAR, 0, 0, 0.6)]
    curve = curve_of(marks, NODULES, n_scans=2)
    assert curve.fp_per_scan.tolist() == [0, 0, 0.5, 0.5, 1.0]
    assert curve.sensitivity.tolist() == [0, 0.25, 0.25, 0.5, 0.5]
    assert curve.threshold.tolist() == [np.inf, 0.9, 0.8, 0.7, 0.6]
    assert curve.at(FP_POINTS).tolist() == [0.25, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert curve.cpm == pytest.approx(3 / 7)


def test_between_points_it_is_linear():
    # One threshold takes a hit and a false positive together: from (0, 0) straight to (0.5, 0.25).
    curve = curve_of([(0, 0, 0, 0, 0.9), (0, FAR, 0, 0, 0.9)], NODULES, n_scans=2)
    assert curve.sensitivity.tolist() == [0, 0.25]
    assert curve.at([0.125, 0.25, 0.5, 1]).tolist() == [0.0625, 0.125, 0.25, 0.25]


def test_the_better_of_two_hits_gives_the_score():
    marks = [(0, 0, 0, 0, 0.3), (0, 1, 0, 0, 0.9), (0, FAR, 0, 0, 0.5)]
    assert curve_of(marks, NODULES[:1], n_scans=1).threshold.tolist() == [np.inf, 0.9, 0.5]


def test_without_a_false_positive_every_point_has_the_final_sensitivity():
    curve = curve_of([(0, 0, 0, 0, 0.9), (1, 0, 0, 0, 0.2)], NODULES, n_scans=2)
    assert curve.at(FP_POINTS).tolist() == [0.5] * 7


def test_without_marks_or_hits_the_cpm_is_zero():
    for marks in ([], [(0, FAR, 0, 0, 0.9)]):
        entries = entries_of(marks, NODULES, n_scans=2)
        assert froc_curve(entries).cpm == 0
        drawn = bootstrap_froc(entries, resamples=50)
        assert drawn.cpm_ci95 == (0, 0)


def test_scans_without_nodules_and_marks_count_in_the_denominator():
    marks = [(0, 0, 0, 0, 0.5), *((0, FAR + i, 0, 0, 0.9) for i in range(4))]
    assert curve_of(marks, NODULES[:1], n_scans=4).fp_per_scan.tolist() == [0, 1, 1]
    assert curve_of(marks, NODULES[:1], n_scans=8).fp_per_scan.tolist() == [0, 0.5, 0.5]


def test_no_nodules_have_no_sensitivity():
    with pytest.raises(DataError, match="no sensitivity"):
        entries_of([(0, 0, 0, 0, 0.5)], [], n_scans=3)


def test_the_bootstrap_of_one_scan_is_the_curve_itself():
    marks = [(0, 0, 0, 0, 0.9), (0, FAR, 0, 0, 0.8), (0, 50, 0, 0, 0.7)]
    entries = entries_of(marks, NODULES[:2], n_scans=1)
    drawn = bootstrap_froc(entries)
    assert drawn.cpm_ci95 == (froc_curve(entries).cpm,) * 2
    assert drawn.n_resamples == 1000


def test_the_bootstrap_of_two_scans_by_hand():
    # Scan 0 finds its nodule, scan 1 misses its own: a resample has a sensitivity of 0, 1/2 or 1.
    entries = entries_of([(0, 0, 0, 0, 0.9)], [NODULES[0], NODULES[2]], n_scans=2)
    drawn = bootstrap_froc(entries)
    assert drawn.cpm_ci95 == (0, 1)
    assert drawn.sensitivity_mean == pytest.approx([0.5] * 7, abs=0.05)


def test_resamples_without_a_nodule_are_left_out():
    entries = entries_of([(0, 0, 0, 0, 0.9)], NODULES[:1], n_scans=2)
    drawn = bootstrap_froc(entries)
    assert 700 < drawn.n_resamples < 800  # three quarters hold scan 0
    assert drawn.cpm_ci95 == (1, 1)
    with pytest.raises(DataError, match="none of 0"):
        bootstrap_froc(entries, resamples=0)


def test_the_limits_are_ranks_25_and_975_of_1000():
    rng = np.random.default_rng(5)
    marks = [(s, 0, 0, 0, 0.9) for s in range(40) if rng.random() < 0.7]
    entries = entries_of(marks, [(s, 0, 0, 0, 6) for s in range(40)], n_scans=40)
    found = np.isin(np.arange(40), [row[0] for row in marks])
    draws = np.random.default_rng(0)
    shares = np.sort([found[draws.integers(40, size=40)].mean() for _ in range(1000)])
    assert bootstrap_froc(entries).cpm_ci95 == pytest.approx((shares[25], shares[975]))


def test_resamples_that_need_marks_beyond_the_first_ones_read_them():
    # All false positives are in few scans: many resamples draw few of them, and then need the low scores too.
    rng = np.random.default_rng(1)
    crowd = [(s % 3, FAR + i, s, 0, float(x)) for s in range(60) for i, x in enumerate(rng.random(4))]
    marks = crowd + [(s, 0, 0, 0, 0.05) for s in range(12)]
    entries = entries_of(marks, [(s, 0, 0, 0, 6) for s in range(12)], n_scans=12)
    draws = np.random.default_rng(0)
    direct = []
    for _ in range(200):
        chosen = draws.integers(12, size=12)
        copies = [(new, *row[1:]) for new, old in enumerate(chosen) for row in marks if row[0] == old]
        direct.append(curve_of(copies, [(new, 0, 0, 0, 6) for new in range(12)], n_scans=12).at(FP_POINTS))
    assert bootstrap_froc(entries, resamples=200).sensitivity_mean == pytest.approx(np.mean(direct, axis=0), abs=1e-12)


# What must hold for any input. Places on a coarse grid, so that hits, doubles and ties are common.

N_SCANS = 4
places = st.tuples(st.integers(0, N_SCANS - 1), st.integers(0, 5), st.just(0), st.just(0))
mark_rows = st.lists(st.tuples(places, st.integers(1, 6)), max_size=40).map(
    lambda rows: [(*place, score / 10) for place, score in rows]
)
nodule_rows = st.lists(st.tuples(places, st.sampled_from([-1, 1, 2, 3])), min_size=1, max_size=6).map(
    lambda rows: [(*place, diameter) for place, diameter in rows]
)
quick = settings(max_examples=60, deadline=None)


def is_hit(mark, finding):
    radius = Fraction(10 if finding[4] < 0 else finding[4]) / 2
    apart = sum((mark[axis] - finding[axis]) ** 2 for axis in (1, 2, 3))
    return mark[0] == finding[0] and apart < radius**2


def counted(marks, nodules, excluded, x, *, n_scans):
    """Sensitivity at x by counting at every threshold, in exact fractions."""
    false = [m for m in marks if not any(is_hit(m, f) for f in [*nodules, *excluded])]
    curve = [(Fraction(0), Fraction(0))]
    for threshold in sorted({m[4] for m in marks}, reverse=True):
        found = sum(any(m[4] >= threshold and is_hit(m, n) for m in marks) for n in nodules)
        curve.append((Fraction(sum(m[4] >= threshold for m in false), n_scans), Fraction(found, len(nodules))))
    x = Fraction(x)
    before = max(point for point in curve if point[0] <= x)
    after = [point for point in curve if point[0] > x]
    if not after:
        return before[1]
    beyond = min(after)
    return before[1] + (beyond[1] - before[1]) * (x - before[0]) / (beyond[0] - before[0])


@quick
@given(mark_rows, nodule_rows, nodule_rows)
def test_it_equals_counting_at_every_threshold(marks, nodules, excluded):
    false = sum(not any(is_hit(m, f) for f in [*nodules, *excluded]) for m in marks)
    # The official rounding may put a point a hair beyond an abscissa it lies on exactly.
    assume(all(k / false * false <= k for k in range(1, false + 1)))
    curve = curve_of(marks, nodules, excluded, n_scans=N_SCANS)
    wanted = [float(counted(marks, nodules, excluded, x, n_scans=N_SCANS)) for x in FP_POINTS]
    assert curve.at(FP_POINTS) == pytest.approx(wanted, abs=1e-9)


@quick
@given(mark_rows, nodule_rows, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(marks, nodules, random):
    shuffled, mixed = random.sample(marks, len(marks)), random.sample(nodules, len(nodules))
    one, other = entries_of(marks, nodules, n_scans=N_SCANS), entries_of(shuffled, mixed, n_scans=N_SCANS)
    assert froc_curve(one).at(FP_POINTS).tolist() == froc_curve(other).at(FP_POINTS).tolist()
    a, b = bootstrap_froc(one, resamples=20), bootstrap_froc(other, resamples=20)
    assert a.band_ci95.tolist() == b.band_ci95.tolist()


@quick
@given(mark_rows, nodule_rows, places, st.integers(1, 9))
def test_a_mark_on_an_excluded_finding_changes_nothing(marks, nodules, place, score):
    far = (place[0], place[1], FAR, 0)
    excluded = [(*far, 4)]
    without = curve_of(marks, nodules, excluded, n_scans=N_SCANS)
    also = curve_of([*marks, (*far, score / 10)], nodules, excluded, n_scans=N_SCANS)
    assert also.at(FP_POINTS).tolist() == without.at(FP_POINTS).tolist()
    assert also.fp_per_scan.tolist() == without.fp_per_scan.tolist()


@quick
@given(mark_rows, nodule_rows)
def test_an_empty_scan_lowers_the_false_positives_per_scan_and_no_sensitivity(marks, nodules):
    few, more = (curve_of(marks, nodules, n_scans=n) for n in (N_SCANS, N_SCANS + 1))
    assert more.fp_per_scan == pytest.approx(few.fp_per_scan * N_SCANS / (N_SCANS + 1))
    assert more.sensitivity.tolist() == few.sensitivity.tolist()
    assert more.cpm >= few.cpm - 1e-12


@quick
@given(mark_rows, nodule_rows, st.integers(0, 39), st.integers(1, 9))
def test_a_surer_true_positive_never_lowers_the_cpm(marks, nodules, which, more):
    hits = [i for i, mark in enumerate(marks) if any(is_hit(mark, nodule) for nodule in nodules)]
    assume(hits)
    chosen = hits[which % len(hits)]
    raised = [(*m[:4], m[4] + more / 10) if i == chosen else m for i, m in enumerate(marks)]
    assert curve_of(raised, nodules, n_scans=N_SCANS).cpm >= curve_of(marks, nodules, n_scans=N_SCANS).cpm - 1e-12


@quick
@given(mark_rows, nodule_rows)
def test_a_false_positive_never_raises_the_cpm(marks, nodules):
    before = curve_of(marks, nodules, n_scans=N_SCANS).cpm
    assert curve_of([*marks, (0, FAR, 0, 0, 0.35)], nodules, n_scans=N_SCANS).cpm <= before + 1e-12


@quick
@given(mark_rows, nodule_rows)
def test_only_the_order_of_scores_matters(marks, nodules):
    logits = [(*m[:4], np.log(m[4] / (1 - m[4]))) for m in marks]
    a, b = (curve_of(rows, nodules, n_scans=N_SCANS) for rows in (marks, logits))
    assert a.sensitivity.tolist() == b.sensitivity.tolist()
    assert a.fp_per_scan.tolist() == b.fp_per_scan.tolist()


@quick
@given(mark_rows, nodule_rows)
def test_a_curve_never_falls(marks, nodules):
    curve = curve_of(marks, nodules, n_scans=N_SCANS)
    assert (np.diff(curve.fp_per_scan) >= 0).all()
    assert (np.diff(curve.sensitivity) >= 0).all()
    assert 0 <= curve.cpm <= 1


def test_false_positives_per_scan_round_as_officially():
    # k of 49 false positives over 8 scans is k / 49 * 49 / 8: which side of 1/8 that is on, decides what 1/8 reads.
    marks = [(0, FAR + i, 0, 0, 1 - i / 100) for i in range(49)] + [(0, 0, 0, 0, 0.5)]
    curve = curve_of(marks, NODULES[:1], n_scans=8)
    steps = np.arange(50) / 49 * 49 / 8
    assert sorted(set(curve.fp_per_scan.tolist())) == sorted(set(steps.tolist()))
