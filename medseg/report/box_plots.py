"""Box and strip plots as inline SVG: a box of quartiles, and under it every case as a dot.

Boxes are Tukey's (Exploratory Data Analysis, 1977): from the first to the third quartile with the median inside,
whiskers to the farthest case within 1.5 times the box's length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from medseg.report.charts import COLOURS, RIGHT, TOP, WIDTH, Scale, figure, legend, nice_ticks
from medseg.report.markup import metric_key, metric_name

ROW, GAP, BOX = 36, 12, 11
_BOX_UP, _DOTS_DOWN = 8, 9  # from the middle of the row, so that neither hides the other
_ENDLESS = 26  # room on the right for cases whose value is infinite
_STEPS = (0, 1, -1, 2, -2)  # where dots go that would hide each other

_SHARES = ("dice", "iou", "nsd", "precision", "recall", "lesion_dice", "lesion_f1", "panoptic_quality")
_BEST = dict.fromkeys(_SHARES, 1.0) | dict.fromkeys(("hd95", "assd", "lesion_hd95"), 0.0)

Cases = Sequence[tuple[float, str]]
NOTE = "Box: quartiles and median. Whiskers: the farthest case within 1.5 boxes. Diamond: mean. Dot: a case."


def case_chart(column: str, groups: Mapping[str, Mapping[str, Cases]]) -> str:
    """`box_chart` of a column of `cases.csv`; empty for a metric that has no best value to reach to."""
    best = _BEST.get(metric_key(column))
    if best is None:
        return ""
    name, _, unit = metric_name(column).partition(", ")
    return box_chart(f"{name} of every case{', in ' if unit else ''}{unit}", groups, best=best)


def box_chart(title: str, groups: Mapping[str, Mapping[str, Cases]], *, best: float) -> str:
    """A row per group and series: a box with its whiskers and the mean, and under it a dot for each case.

    Args:
        title: The heading of the chart.
        groups: `{region: {series: [(value, case), ...]}}`. An infinite value is drawn at the right edge and
            is in no box; a value that is no number is left out.
        best: The best value that there is, 1 for Dice and 0 for a distance: the axis reaches from there to the worst.
    """
    values = [value for rows in groups.values() for cases in rows.values() for value, _ in cases]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    ticks = nice_ticks(min(best, *finite), max(best, *finite))
    left = min(130, 18 + 7 * max(len(name) for name in groups))
    right = WIDTH - RIGHT - (_ENDLESS if math.inf in values else 0)
    across = Scale(ticks[0], ticks[-1], left, right)
    names = list(dict.fromkeys(name for rows in groups.values() for name in rows))
    rows_drawn, height = _rows(groups, names, across)
    below = legend(names) if len(names) > 1 else ""
    drawing = _grid(across, ticks, height, endless=math.inf in values) + rows_drawn
    return figure(title, drawing, below, _description(groups), height + 22)


def _rows(groups: Mapping[str, Mapping[str, Cases]], names: Sequence[str], across: Scale) -> tuple[str, float]:
    parts, height = [], float(TOP)
    for group, rows in groups.items():
        middle = height + ROW * len(rows) / 2
        shown = group if len(group) <= 16 else f"{group[:15]}…"
        parts.append(
            f'<text class="tick name" x="{across.start - 10:.0f}" y="{middle + 4:.0f}" text-anchor="end">'
            f"{escape(shown)}</text>"
        )
        for name, cases in rows.items():
            parts.append(f'<g class="c{names.index(name) % COLOURS}">{_row(cases, across, height + ROW / 2)}</g>')
            height += ROW
        height += GAP
    return "".join(parts), height


def _row(cases: Cases, across: Scale, y: float) -> str:
    finite = sorted((value, case) for value, case in cases if math.isfinite(value))
    endless = [(value, case) for value, case in cases if value == math.inf]
    places = [across(value) for value, _ in finite] + [WIDTH - RIGHT - _ENDLESS / 2] * len(endless)
    dots = "".join(
        f'<circle class="dot" cx="{x:.1f}" cy="{y + _DOTS_DOWN + step * 3:.1f}" r="2.6">'
        f"<title>{escape(case)}: {_said(value)}</title></circle>"
        for x, step, (value, case) in zip(places, spread(places), [*finite, *endless], strict=True)
    )
    return (_box([value for value, _ in finite], across, y - _BOX_UP) if finite else "") + dots


def _box(values: Sequence[float], across: Scale, y: float) -> str:
    low, middle, high = np.percentile(values, (25, 50, 75)).tolist()
    reach = 1.5 * (high - low)
    first = min(value for value in values if value >= low - reach)
    last = max(value for value in values if value <= high + reach)
    a, b, c, d, e = (across(value) for value in (first, low, middle, high, last))
    mean = across(sum(values) / len(values))
    top, bottom = y - BOX / 2, y + BOX / 2
    return (
        f'<path class="whisker" d="M{a:.1f} {y - 4:.1f}v8M{a:.1f} {y:.1f}H{b:.1f}M{d:.1f} {y:.1f}H{e:.1f}'
        f'M{e:.1f} {y - 4:.1f}v8"/>'
        f'<rect class="box" x="{b:.1f}" y="{top:.1f}" width="{max(d - b, 1):.1f}" height="{BOX}" rx="2"/>'
        f'<line class="median" x1="{c:.1f}" x2="{c:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>'
        f'<path class="mean" d="M{mean:.1f} {y - 4:.1f}l4 4-4 4-4-4z"/>'
    )


def spread(places: Sequence[float], *, apart: float = 4.5) -> list[int]:
    """Steps up or down for dots along a line, so that neighbours do not hide each other as long as there is room.

    >>> spread([0, 1, 2, 20])
    [0, 1, -1, 0]
    """
    last = dict.fromkeys(_STEPS, -math.inf)
    steps = []
    for place in places:
        step = next((step for step in _STEPS if place - last[step] >= apart), min(_STEPS, key=lambda one: last[one]))
        last[step] = place
        steps.append(step)
    return steps


def _grid(across: Scale, ticks: Sequence[float], height: float, *, endless: bool) -> str:
    marks = [(across(tick), f"{tick:g}") for tick in ticks]
    if endless:
        marks.append((WIDTH - RIGHT - _ENDLESS / 2, "∞"))
    return "".join(
        f'<line class="grid" x1="{x:.0f}" x2="{x:.0f}" y1="{TOP}" y2="{height - 4:.0f}"/>'
        f'<text class="tick" x="{x:.0f}" y="{height + 12:.0f}" text-anchor="middle">{text}</text>'
        for x, text in marks
    )


def _description(groups: Mapping[str, Mapping[str, Cases]]) -> str:
    said = []
    for group, rows in groups.items():
        for name, cases in rows.items():
            finite = [value for value, _ in cases if math.isfinite(value)]
            if finite:
                low, middle, high = np.percentile(finite, (25, 50, 75)).tolist()
                mean = sum(finite) / len(finite)
                said.append(
                    f"{group} {name}: mean {mean:.3f} of {len(finite)}, median {middle:.3f}, "
                    f"quartiles {low:.3f} and {high:.3f}"
                )
    return "; ".join(said)


def _said(value: float) -> str:
    return "∞" if value == math.inf else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
