import math
import xml.etree.ElementTree as ElementTree

from hypothesis import given
from hypothesis import strategies as st

from medseg.report.charts import line_chart, nice_ticks


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_ticks_cover_the_values_and_are_few(low: float, width: float) -> None:
    ticks = nice_ticks(low, low + width)
    hair = 1e-8 * max(1.0, abs(low), width)
    assert ticks[0] <= low + hair
    assert ticks[-1] >= low + width - hair
    assert 2 <= len(ticks) <= 9
    assert ticks == sorted(set(ticks))


def test_a_line_goes_through_its_points_up_the_page() -> None:
    chart = ElementTree.fromstring(line_chart("Loss", {"a": [(0, 0.0), (1, 1.0)]}, x_label="epoch"))
    path = next(node.get("d", "") for node in chart.iter("path"))
    (x0, y0), (x1, y1) = (map(float, point.split()) for point in path[1:].split("L"))
    assert x1 > x0
    assert y1 < y0


def test_what_is_not_finite_is_left_out() -> None:
    assert line_chart("Loss", {"a": [(0, math.nan), (1, math.inf)]}, x_label="epoch") == ""
    assert "nan" not in line_chart("Loss", {"a": [(0, math.nan), (1, 2.0)]}, x_label="epoch")
