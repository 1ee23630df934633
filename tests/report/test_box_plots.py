import math
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.report.box_plots import box_chart, spread

ONE_TO_FIVE = [(value / 10, f"case {value}") for value in (1, 2, 3, 4, 5)]


def parts(chart: str, tag: str, kind: str) -> list[ElementTree.Element]:
    return [node for node in ElementTree.fromstring(chart).iter(tag) if node.get("class") == kind]


def test_the_box_spans_the_quartiles_with_the_median_in_the_middle() -> None:
    chart = box_chart("Dice", {"WT": {"network": ONE_TO_FIVE}}, best=1.0)
    (box,), (median,) = parts(chart, "rect", "box"), parts(chart, "line", "median")
    dots = [float(node.get("cx", "")) for node in parts(chart, "circle", "dot")]
    left, width = float(box.get("x", "")), float(box.get("width", ""))
    assert (left, left + width) == pytest.approx((dots[1], dots[3]), abs=0.15)
    assert float(median.get("x1", "")) == pytest.approx(dots[2], abs=0.15)


def test_whiskers_end_at_the_farthest_case_within_one_and_a_half_boxes() -> None:
    chart = box_chart(
        "HD95", {"WT": {"network": [*((float(value), "") for value in range(1, 10)), (40.0, "far")]}}, best=0
    )
    dots = [float(node.get("cx", "")) for node in parts(chart, "circle", "dot")]
    (whisker,) = parts(chart, "path", "whisker")
    assert f"H{dots[-2]:.1f}" in whisker.get("d", "")
    assert f"H{dots[-1]:.1f}" not in whisker.get("d", "")


def test_the_axis_reaches_from_the_best_value_to_the_worst() -> None:
    chart = box_chart("Dice", {"WT": {"network": [(0.82, "a"), (0.9, "b")]}}, best=1.0)
    ticks = [float(node.text or "") for node in parts(chart, "text", "tick")]
    assert ticks[-1] == 1.0
    assert 0.6 < ticks[0] <= 0.82


def test_an_infinite_value_is_drawn_at_the_edge_and_is_in_no_box() -> None:
    with_one = box_chart("HD95", {"WT": {"network": [(1.0, "a"), (3.0, "b"), (math.inf, "c")]}}, best=0.0)
    assert with_one.count("<circle") == 3
    assert "c: ∞" in with_one
    assert "mean 2.000 of 2" in with_one
    assert box_chart("HD95", {"WT": {"network": [(math.nan, "a"), (math.inf, "b")]}}, best=0.0) == ""


def test_names_are_escaped_and_each_dot_names_its_case() -> None:
    chart = box_chart("Dice", {"WT & more": {"<b>": [(0.5, "<case>")]}}, best=1.0)
    ElementTree.fromstring(chart)
    assert "&lt;case&gt;: 0.500" in chart


@given(st.lists(st.floats(0, 400), max_size=60))
def test_neighbouring_dots_lie_apart_as_long_as_there_is_room(places: list[float]) -> None:
    places.sort()
    steps = spread(places, apart=4.5)
    assert len(steps) == len(places)
    for here, there, a, b in zip(places, places[1:], steps, steps[1:], strict=False):
        assert a != b or there - here >= 4.5
