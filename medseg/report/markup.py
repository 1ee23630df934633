"""The few pieces of HTML that every section of the report is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

# What a metric is called on the page. The unit comes from the end of the key.
METRIC_NAMES = {
    "dice": "Dice",
    "hd95": "HD95",
    "nsd": "NSD",
    "assd": "ASSD",
    "iou": "IoU",
    "precision": "Precision",
    "recall": "Recall",
    "volume_error": "Volume error",
    "lesion_dice": "Lesion-wise Dice",
    "lesion_hd95": "Lesion-wise HD95",
    "lesion_f1": "Lesion F1",
    "panoptic_quality": "Panoptic quality",
    "cpm": "CPM",
}
_UNITS = {"_mm": "mm", "_ml": "ml"}


def metric_key(column: str) -> str:
    """The metric's name without its unit.

    >>> metric_key("hd95_mm")
    'hd95'
    """
    return next((column.removesuffix(end) for end in _UNITS if column.endswith(end)), column)


def metric_name(column: str, unit: str | None = None) -> str:
    """What a metric is called, with its unit.

    >>> metric_name("hd95_mm")
    'HD95, mm'
    """
    name = METRIC_NAMES.get(metric_key(column), column.replace("_", " "))
    unit = unit or next((unit for end, unit in _UNITS.items() if column.endswith(end)), None)
    return f"{name}, {unit}" if unit else name


def digits_of(column: str) -> int:
    """How many digits a metric's values deserve: two in mm or ml, three where 1 is the best."""
    return 2 if metric_key(column) != column else 3


def number(value: object, *, digits: int | None = None) -> str:
    """A number for a person: three digits below ten, fewer above; an en dash for what is no number.

    >>> number(0.87654), number(12.345), number(1234.5), number(None)
    ('0.877', '12.3', '1234', '–')
    """
    try:
        known = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "–"
    if not math.isfinite(known):
        return "∞" if known > 0 else "–"
    if digits is None:
        digits = 3 if abs(known) < 10 else 1 if abs(known) < 1000 else 0
    return f"{known:.{digits}f}"


def to_float(value: object) -> float:
    """The number in a CSV cell, NaN when there is none."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def section(title: str, body: str, *, anchor: str) -> str:
    """A section with its heading."""
    heading = f'<h2 id="{anchor}-title">{escape(title)}</h2>'
    return f'<section id="{anchor}" aria-labelledby="{anchor}-title">\n{heading}\n{body}\n</section>'


def absent(sentence: str) -> str:
    """The plain sentence that stands where something is missing."""
    return f'<p class="absent">{escape(sentence)}</p>'


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "plain") -> str:
    """A table that scrolls sideways by touch and by keyboard. Header is text; cells are markup already.

    `kind` is its class: `sortable` gets buttons in its headings, `facts` has words in its second column.
    """
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    lines = "\n".join(
        "<tr>" + f'<th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">\n'
        f'<table class="{kind}"><caption class="hidden">{escape(caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>"
    )
