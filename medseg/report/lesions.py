"""The scores lesion by lesion, where the evaluation has them: means, how many were found, and where they were not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from medseg.metrics.lesion_metrics import LESION_COUNTS, LESION_METRICS
from medseg.report.box_plots import NOTE, case_chart
from medseg.report.charts import RIGHT, WIDTH, figure, legend
from medseg.report.markup import metric_name, number, table, to_float
from medseg.report.run_folder import Row, Scores
from medseg.report.tables import with_interval

_KINDS = ("found", "missed", "made up")
_ROW, _BAR = 46, 14  # px; a line of text above each bar
_MOST = 12  # cases in the table of what went wrong; cases.csv has all


def lesion_section(scores: Scores) -> str:
    """Tables and charts of `medseg evaluate --lesion-wise`; empty where it was not asked for."""
    told = scores.summary.get("lesion_wise")
    if not isinstance(told, Mapping):
        return ""
    counts: Mapping[str, Mapping[str, int]] = told.get("counts", {})
    drawn = _bars(counts) + _boxes(scores.cases)
    parts = [_means(scores.summary.get("regions", {})), f'<div class="charts">{drawn}</div>']
    parts += [f'<p class="note">{NOTE}</p>', _errors(scores.cases), f'<p class="note">{escape(_rules(told))}</p>']
    return "\n".join(part for part in parts if part)


def _means(regions: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [escape(name), *(with_interval(values.get(metric), metric) for metric in LESION_METRICS)]
        for name, values in regions.items()
    ]
    header = ["Region", *map(metric_name, LESION_METRICS)]
    return table("Mean lesion-wise score and 95 % interval per region", header, rows)


def _bars(counts: Mapping[str, Mapping[str, int]]) -> str:
    """A bar for each region: lesions found, lesions missed, and components that are no lesion."""
    by_region = {name: _found_missed_made_up(row) for name, row in counts.items()}
    most = max((sum(row) for row in by_region.values()), default=0)
    if not most:
        return ""
    drawn, said = [], []
    for place, (name, row) in enumerate(by_region.items()):
        text = f"{row[0]} of {row[0] + row[1]} found, {row[2]} made up"
        said.append(f"{name}: {text}")
        y = place * _ROW + 14
        drawn.append(
            f'<text class="tick name" x="0" y="{y}">{escape(name)}</text>'
            f'<text class="tick" x="{WIDTH - RIGHT}" y="{y}" text-anchor="end">{text}</text>{_bar(row, y + 7, most)}'
        )
    return figure("Lesions over all cases", "".join(drawn), legend(_KINDS), "; ".join(said), len(by_region) * _ROW + 4)


def _bar(row: Sequence[int], y: float, most: int) -> str:
    parts, x = [], 0.0
    for place, value in enumerate(row):
        width = value / most * (WIDTH - RIGHT)
        if value:
            parts.append(
                f'<rect class="part c{place}" x="{x:.1f}" y="{y}" width="{max(width - 1.5, 1):.1f}" height="{_BAR}" '
                f'rx="2"><title>{value} {_KINDS[place]}</title></rect>'
            )
        x += width
    return "".join(parts)


def _found_missed_made_up(row: Mapping[str, Any]) -> tuple[int, int, int]:
    found, made_up, missed = (int(to_float(row.get(name) or 0)) for name in LESION_COUNTS)
    return found, missed, made_up


def _boxes(cases: Sequence[Row]) -> str:
    groups: dict[str, dict[str, list[tuple[float, str]]]] = {}
    for row in cases:
        dots = groups.setdefault(row["region"], {}).setdefault("network", [])
        dots.append((to_float(row.get("lesion_dice")), row["case_id"]))
    return case_chart("lesion_dice", groups)


def _errors(cases: Sequence[Row]) -> str:
    """The cases with most lesions missed or made up."""
    wrong = [(row, _found_missed_made_up(row)) for row in cases]
    wrong = sorted((one for one in wrong if sum(one[1][1:])), key=lambda one: -sum(one[1][1:]))
    if not wrong:
        return "<p>No lesion was missed and none was made up.</p>"
    rows = [
        [escape(row["case_id"]), escape(row["region"]), *map(str, counts), number(row.get("lesion_dice"))]
        for row, counts in wrong[:_MOST]
    ]
    header = ["Case", "Region", *(kind.capitalize() for kind in _KINDS), "Lesion-wise Dice"]
    rest = f'<p class="note">{len(wrong) - _MOST} more in cases.csv.</p>' if len(wrong) > _MOST else ""
    shown = table("Cases with most lesions missed or made up", header, rows, kind="sortable")
    return f"<h3>Where lesions were missed or made up</h3>{shown}{rest}"


def _rules(told: Mapping[str, Any]) -> str:
    missed = told.get("missed_hd95_mm")
    penalty = f"{missed:g} mm" if isinstance(missed, int | float) else "the diagonal of the grid in voxels"
    return (
        f"Rules of {told.get('rules')}: parts of the reference that {told.get('dilation')} steps of dilation join are "
        f"one lesion, and what is predicted within that reach belongs to it. Lesions of "
        f"{number(told.get('least_volume_mm3'), digits=0)} mm³ or less are not scored. One missed or made up counts "
        f"Dice 0 and HD95 {penalty}. Panoptic quality takes components as they are, matched above an IoU of 0.5. "
        f"Source: {told.get('source')}."
    )
