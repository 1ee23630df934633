import pytest

from medseg.metrics.table import METRICS


@pytest.mark.parametrize("name", METRICS)
def test_names_carry_their_unit(name):
    unit = METRICS[name].unit
    assert name.endswith(f"_{unit}") if unit else not name.endswith(("_mm", "_ml"))


@pytest.mark.parametrize("name", METRICS)
def test_both_empty_is_the_best_and_one_empty_the_worst(name):
    metric = METRICS[name]
    if metric.better == "higher":
        assert (metric.both_empty, metric.one_empty) == (1.0, 0.0)
    elif metric.better == "lower":
        assert (metric.both_empty, metric.one_empty) == (0.0, float("inf"))
    else:
        assert (metric.both_empty, metric.one_empty) == (0.0, None)
