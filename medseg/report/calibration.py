"""Calibration, where the evaluation has it: calibration errors and the reliability diagram."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from medseg.report.charts import COLOURS, RIGHT, TOP, Scale, figure, legend
from medseg.report.markup import number, table, to_float

LEFT, SIDE, BELOW = 50, 300, 36  # px; the diagram is a square
_HELP = (
    "A dot: the voxels whose probability falls into one of 15 bins; the larger, the more voxels. On the diagonal the "
    "model is right as often as it says. Below it, it is too sure of the region; above it, not sure enough."
)

Bin = tuple[float, float, float]


def calibration_section(summary: Mapping[str, Any]) -> str:
    """Table and diagram of `medseg evaluate --probabilities`; empty where there were none."""
    told = summary.get("calibration")
    regions = told.get("regions") if isinstance(told, Mapping) else None
    if not isinstance(told, Mapping) or not regions:
        return ""
    curves = {str(name): list(_bins(found)) for name, found in regions.items()}
    parts = [_table(regions, curves), f'<div class="charts">{_diagram(curves)}<p class="note">{_HELP}</p></div>']
    missing = told.get("missing", [])
    if missing:
        some = ", ".join(map(str, missing[:3])) + (", ..." if len(missing) > 3 else "")
        parts.append(f"<p>{len(missing)} cases have no file of probabilities and count nowhere: {escape(some)}</p>")
    meaning = str(told.get("meaning", ""))
    parts.append(f'<p class="note">{escape(meaning[:1].upper() + meaning[1:])}.</p>')
    return "\n".join(parts)


def _bins(found: Mapping[str, Any]) -> Iterator[Bin]:
    for one in found.get("curve", []):
        values = tuple(to_float(one.get(key)) for key in ("probability", "frequency", "voxels"))
        if all(map(math.isfinite, values)):
            yield values[0], values[1], values[2]


def _table(regions: Mapping[str, Mapping[str, Any]], curves: Mapping[str, Sequence[Bin]]) -> str:
    rows = []
    for name, found in regions.items():
        scores = [number(found.get(key), digits=4) for key in ("ece", "mce", "brier")]
        rows.append([escape(str(name)), *scores, *_bias(curves[str(name)])])
    header = ["Region", "Expected calibration error", "Largest error of a bin", "Brier score", "Too sure by", "Voxels"]
    return table("Calibration by region", header, rows)


def _bias(bins: Sequence[Bin]) -> tuple[str, str]:
    """Mean probability minus frequency, and the number of voxels."""
    count = sum(voxels for *_, voxels in bins)
    if not count:
        return "–", "0"
    return f"{sum((p - k) * n for p, k, n in bins) / count:+.4f}", f"{count:,.0f}".replace(",", "\u202f")


def _diagram(curves: Mapping[str, Sequence[Bin]]) -> str:
    across, up = Scale(0.0, 1.0, LEFT, LEFT + SIDE), Scale(0.0, 1.0, TOP + SIDE, TOP)
    most = max((voxels for bins in curves.values() for *_, voxels in bins), default=1.0)
    diagonal = f'<path class="ideal" d="M{across(0):.0f} {up(0):.0f}L{across(1):.0f} {up(1):.0f}"/>'
    lines = "".join(
        _curve(place, name, bins, across, up, most=most) for place, (name, bins) in enumerate(curves.items())
    )
    said = "; ".join(
        f"{name}: " + ", ".join(f"{p:.2f} is right in {k:.2f}" for p, k, _ in bins) for name, bins in curves.items()
    )
    drawing, height = _axes(across, up) + diagonal + lines, TOP + SIDE + BELOW
    below, width = legend(list(curves)), LEFT + SIDE + RIGHT
    return figure("Reliability diagram", drawing, below, said, height, width=width, kind="chart square")


def _curve(place: int, name: str, bins: Sequence[Bin], across: Scale, up: Scale, *, most: float) -> str:
    if not bins:
        return ""
    path = "M" + "L".join(f"{across(p):.1f} {up(k):.1f}" for p, k, _ in bins)
    dots = "".join(
        f'<circle cx="{across(p):.1f}" cy="{up(k):.1f}" r="{_radius(voxels, most):.1f}">'
        f"<title>{escape(name)}: probability {p:.3f}, right in {k:.3f} of {voxels:.0f} voxels</title></circle>"
        for p, k, voxels in bins
    )
    return f'<g class="c{place % COLOURS}"><path class="line" d="{path}"/>{dots}</g>'


def _radius(voxels: float, most: float) -> float:
    """From 2 to 6.5 px, by the logarithm: background fills the first bin by orders of magnitude."""
    return 2.0 + 4.5 * math.log1p(voxels) / math.log1p(max(most, 1.0))


def _axes(across: Scale, up: Scale) -> str:
    marks = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = across(tick), up(tick)
        marks.append(
            f'<line class="grid" x1="{across.start}" x2="{across.end}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{up.start}" y2="{up.end}"/>'
            f'<text class="tick" x="{across.start - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
            f'<text class="tick" x="{x:.1f}" y="{up.start + 17}" text-anchor="middle">{tick:g}</text>'
        )
    middle_x, middle_y = (across.start + across.end) / 2, (up.start + up.end) / 2
    return (
        "".join(marks)
        + f'<text class="tick" x="{middle_x}" y="{up.start + 33}" text-anchor="middle">mean probability</text>'
        f'<text class="tick" transform="translate(12 {middle_y}) rotate(-90)" text-anchor="middle">'
        "share of voxels in the region</text>"
    )
