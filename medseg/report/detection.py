"""The scores of a detector: the FROC with its seven points, or precision and recall of boxes."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from medseg.report.markup import number, table
from medseg.report.run_folder import Scores

Summary = Mapping[str, Any]
Card = tuple[str, str, str]


def is_detection(summary: Summary) -> bool:
    """Whether a `summary.json` is of marks or boxes."""
    return summary.get("task") == "detection"


def detection_cards(summary: Summary) -> Iterator[Card]:
    """Name, figure and note of what a reader looks for first."""
    if "cpm" in summary:
        low, high = _pair(summary.get("cpm_ci95"))
        yield "CPM", number(summary["cpm"]), f"LUNA16's rules; 95 % interval {number(low)} to {number(high)}"
        yield (
            "Nodules",
            escape(f"{summary.get('n_tp', 0)} of {summary.get('n_nodules', 0)}"),
            "hit by any mark that counts",
        )
    elif "map" in summary:
        yield "mAP", number(summary["map"]), "mean over IoU 0.1 to 0.5"
    if "n_scans" in summary:
        yield "Scans", escape(str(summary["n_scans"])), "scored, those without nodules too"


def detection_scores(scores: Scores) -> str:
    """The table of the scores, and the plot that lies beside them."""
    summary = scores.summary
    parts = [_froc_table(summary) if "sensitivity_at_fp" in summary else _box_table(summary)]
    plot = scores.folder / "froc.svg"
    if plot.is_file():
        data = base64.b64encode(plot.read_bytes()).decode("ascii")
        parts.append(
            f'<figure class="chart"><img alt="FROC: sensitivity against false positives per scan" width="640" '
            f'style="max-width:100%" src="data:image/svg+xml;base64,{data}"></figure>'
        )
    return "\n".join(parts)


def detection_notes(summary: Summary) -> Iterator[str]:
    """The warnings of the evaluation, as sentences."""
    for warning in summary.get("warnings", ()):
        yield f"Warning: {warning}"


def detection_tables(scores: Scores) -> str:
    """Where every nodule and every false positive is listed, as a sentence."""
    if (scores.folder / "nodules.csv").is_file():
        return "Every nodule is in nodules.csv, hit or missed; every false positive in false_positives.csv."
    return "Boxes are scored over all scans together; there is no score per case."


def _froc_table(summary: Summary) -> str:
    intervals = summary.get("sensitivity_at_fp_ci95", {})
    rows = []
    for rate, value in summary["sensitivity_at_fp"].items():
        low, high = _pair(intervals.get(rate))
        rows.append([escape(rate), number(value), f"{number(low)} to {number(high)}"])
    header = ["False positives per scan", "Sensitivity", "95 % interval"]
    return table("Sensitivity at the seven points of LUNA16", header, rows)


def _box_table(summary: Summary) -> str:
    recalls = summary.get("ar_at_iou", {})
    rows = [
        [escape(iou), number(value), number(recalls.get(iou))] for iou, value in summary.get("ap_at_iou", {}).items()
    ]
    return table("Average precision and recall by overlap", ["IoU", "AP", "AR"], rows)


def _pair(interval: Any) -> Sequence[Any]:
    return interval if isinstance(interval, list | tuple) and len(interval) == 2 else (None, None)
