import numpy as np
import pytest

from medseg.metrics.nodule_hits import Balls, Fate, Points, hit_nodules


def points(*rows):
    """Marks from (scan, x, y, z, score)."""
    table = np.array(rows, dtype=float).reshape(-1, 5)
    return Points(scan=table[:, 0].astype(int), centre_mm=table[:, 1:4], score=table[:, 4])


def balls(*rows):
    """Findings from (scan, x, y, z, diameter)."""
    table = np.array(rows, dtype=float).reshape(-1, 5)
    return Balls(scan=table[:, 0].astype(int), centre_mm=table[:, 1:4], diameter_mm=table[:, 4])


def hit(marks, nodules, excluded=None, *, n_scans=2, **more):
    return hit_nodules(marks, nodules, balls() if excluded is None else excluded, n_scans=n_scans, **more)


def test_a_hit_is_strictly_inside_the_radius():
    nodule = balls((0, 0, 0, 0, 6))
    assert hit(points((0, 2.999, 0, 0, 1)), nodule).best_mark.tolist() == [0]
    assert hit(points((0, 3.0, 0, 0, 1)), nodule).best_mark.tolist() == [-1]


def test_the_distance_runs_through_all_three_axes():
    nodule = balls((0, 0, 0, 0, 10))
    assert hit(points((0, 2.8, 2.8, 2.8, 1)), nodule).best_mark.tolist() == [0]  # 4.85 mm
    assert hit(points((0, 2.9, 2.9, 2.9, 1)), nodule).best_mark.tolist() == [-1]  # 5.02 mm


def test_a_negative_diameter_is_ten_millimetres():
    for diameter in (-1.0, -40.0):
        found = hit(points((0, 4.99, 0, 0, 1), (0, 0, 5.0, 0, 1)), balls((0, 0, 0, 0, diameter)))
        assert found.best_mark.tolist() == [0]
        assert found.fate.tolist() == [Fate.TRUE_POSITIVE, Fate.FALSE_POSITIVE]


def test_a_mark_of_another_scan_hits_nothing():
    found = hit(points((1, 0, 0, 0, 1)), balls((0, 0, 0, 0, 6)))
    assert found.best_mark.tolist() == [-1]
    assert found.fate.tolist() == [Fate.FALSE_POSITIVE]


def test_of_two_hits_the_surer_finds_the_nodule_and_the_other_counts_for_nothing():
    found = hit(points((0, 0, 0, 0, 0.4), (0, 1, 0, 0, 0.9), (0, 9, 9, 9, 0.5)), balls((0, 0, 0, 0, 6)))
    assert found.best_mark.tolist() == [1]
    assert found.fate.tolist() == [Fate.DOUBLE, Fate.TRUE_POSITIVE, Fate.FALSE_POSITIVE]
    assert (found.n_double, found.n_hits.tolist()) == (1, [2])


def test_of_equally_sure_hits_the_nearest_is_named():
    marks = points((0, 2, 0, 0, 0.5), (0, -1, 0, 0, 0.5), (0, 1, 0, 0, 0.5))
    assert hit(marks, balls((0, 0, 0, 0, 6))).best_mark.tolist() == [1]


def test_a_mark_on_two_nodules_finds_both():
    found = hit(points((0, 1, 0, 0, 0.9)), balls((0, 0, 0, 0, 6), (0, 2, 0, 0, 6)))
    assert found.best_mark.tolist() == [0, 0]
    assert (found.n_double, found.count(Fate.TRUE_POSITIVE)) == (0, 1)


def test_a_mark_on_an_excluded_finding_is_ignored():
    found = hit(points((0, 20, 0, 0, 0.9)), balls((0, 0, 0, 0, 6)), balls((0, 21, 0, 0, -1)))
    assert found.fate.tolist() == [Fate.IGNORED]


def test_a_nodule_goes_before_an_excluded_finding():
    found = hit(points((0, 1, 0, 0, 0.9), (0, 2, 0, 0, 0.1)), balls((0, 0, 0, 0, 6)), balls((0, 1, 0, 0, 6)))
    assert found.best_mark.tolist() == [0]
    assert found.fate.tolist() == [Fate.TRUE_POSITIVE, Fate.DOUBLE]


def test_two_excluded_findings_ignore_a_mark_once():
    found = hit(points((0, 20, 0, 0, 0.9)), balls((0, 0, 0, 0, 6)), balls((0, 20, 0, 0, 6), (0, 21, 0, 0, 6)))
    assert found.count(Fate.IGNORED) == 1


def test_only_the_hundred_best_marks_of_a_scan_count():
    rows = [(0, 50 + i, 0, 0, 1 - i / 1000) for i in range(100)]
    found = hit(points(*rows, (0, 0, 0, 0, 0.1), (1, 0, 0, 0, 0.1)), balls((0, 0, 0, 0, 6), (1, 0, 0, 0, 6)))
    assert found.fate[100] == Fate.OVER_CAP
    assert found.best_mark.tolist() == [-1, 101]
    assert found.count(Fate.FALSE_POSITIVE) == 100


def test_a_hundred_marks_are_not_too_many():
    rows = [(0, 50 + i, 0, 0, 0.5) for i in range(99)]
    assert hit(points(*rows, (0, 0, 0, 0, 0.1)), balls((0, 0, 0, 0, 6))).best_mark.tolist() == [99]


def test_marks_that_tie_with_the_first_too_many_go_too():
    # Officially a mark stays if its score is above that of rank 101: of 98 surer and 5 equal ones, 98 stay.
    rows = [(0, 50 + i, 0, 0, 0.9) for i in range(98)] + [(0, i, 300, 0, 0.5) for i in range(5)]
    assert hit(points(*rows), balls((0, 0, 0, 0, 6))).count(Fate.OVER_CAP) == 5


def test_of_over_a_hundred_equal_marks_none_stays():
    rows = [(0, i, 0, 0, 0.5) for i in range(101)]
    found = hit(points(*rows), balls((0, 0, 0, 0, 6)))
    assert found.count(Fate.OVER_CAP) == 101
    assert found.best_mark.tolist() == [-1]


@pytest.mark.parametrize("nodules", [balls(), balls((0, 0, 0, 0, 6))])
def test_no_marks_at_all(nodules):
    found = hit(points(), nodules)
    assert found.fate.size == 0
    assert (found.best_mark == -1).all()
