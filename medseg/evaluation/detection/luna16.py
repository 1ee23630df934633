"""Scoring by the rules of LUNA16, from files to `summary.json`, three tables and a plot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import DataError
from medseg.evaluation.detection.frames import frame_warning
from medseg.evaluation.detection.froc_chart import froc_svg
from medseg.evaluation.detection.luna16_tables import curve_table, false_positive_table, nodule_table
from medseg.evaluation.detection.output import make_folder, write_json
from medseg.evaluation.detection.predictions import missing_files, points_of, read_marks, same_place
from medseg.evaluation.detection.references import DetectionReference, read_reference
from medseg.metrics.froc import (
    FP_POINTS,
    RESAMPLES,
    FrocBootstrap,
    FrocCurve,
    bootstrap_froc,
    froc_curve,
    froc_entries,
)
from medseg.metrics.nodule_hits import MOST_MARKS, UNKNOWN_DIAMETER_MM, Fate, NoduleHits, Points, hit_nodules
from medseg.record import versions, write_text_atomically

RULES = {
    "hit": "squared distance of mark and nodule centre below the squared radius, mm",
    "diameter_mm": f"a negative diameter counts as {UNKNOWN_DIAMETER_MM:g} mm",
    "true_positive": "a nodule that a mark hits; its score is that of its best mark. A mark on two nodules finds both",
    "double": "further marks on a nodule count neither as true nor as false positives",
    "ignored": "a mark on an excluded finding counts for nothing, unless it hits a nodule too",
    "missed": "a nodule without a mark stays in the denominator of every sensitivity",
    "cap": f"of a scan with more than {MOST_MARKS} marks those count whose score is above the {MOST_MARKS + 1}st",
    "fp_per_scan": "false positives over all scans, those without nodules or marks too",
    "ties": "marks of equal score pass a threshold together",
    "sensitivity_at_fp": "linear between the points of the curve; beyond its last point, that point's",
    "cpm": "mean of the sensitivities at 0.125, 0.25, 0.5, 1, 2, 4 and 8 false positives per scan",
    "ci95": f"{RESAMPLES} resamples of scans, seed 0: sorted values of rank floor(0.025 n) and floor(0.975 n) from 0",
}
SOURCES = (
    "https://luna16.grand-challenge.org/Evaluation/",
    "Setio et al. 2017, https://doi.org/10.1016/j.media.2017.06.015",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Luna16Summary:
    """An evaluation.

    Attributes:
        reference: Scans and nodules.
        points: The marks.
        hits: What each mark and nodule came to.
        curve: The FROC.
        bootstrap: Its intervals.
        n_marks_left_out: Marks left out as they belong to other scans.
        warnings: What may be wrong, one line each.
    """

    reference: DetectionReference
    points: Points
    hits: NoduleHits
    curve: FrocCurve
    bootstrap: FrocBootstrap
    n_marks_left_out: int
    warnings: tuple[str, ...]

    @property
    def cpm(self) -> float:
        """The competition performance metric, 0 to 1."""
        return self.curve.cpm

    @property
    def sensitivity_at_fp(self) -> dict[str, float]:
        """Sensitivity by false positives per scan."""
        return dict(zip(map(_key, FP_POINTS), self.curve.at(FP_POINTS).tolist(), strict=True))

    @property
    def counts(self) -> dict[str, int]:
        """Scans, nodules, and what became of each mark."""
        found = int(np.count_nonzero(self.hits.best_mark >= 0))
        return {
            "n_scans": len(self.reference.case_ids),
            "n_nodules": len(self.reference.nodules.scan),
            "n_excluded": len(self.reference.excluded.scan),
            "n_marks": len(self.points.scan),
            "n_tp": found,
            "n_fp": self.hits.count(Fate.FALSE_POSITIVE),
            "n_ignored": self.hits.count(Fate.IGNORED),
            "n_double": self.hits.n_double,
            "n_missed": len(self.reference.nodules.scan) - found,
            "n_over_cap": self.hits.count(Fate.OVER_CAP),
            "n_marks_of_other_scans": self.n_marks_left_out,
            "n_nodules_of_other_scans": self.reference.n_left_out,
        }

    def to_json(self) -> dict[str, Any]:
        """What stands in summary.json: plain values, every number finite."""
        keys = list(map(_key, FP_POINTS))
        return {
            "task": "detection",
            "protocol": "luna16",
            "cpm": self.cpm,
            "cpm_ci95": list(self.bootstrap.cpm_ci95),
            "sensitivity_at_fp": self.sensitivity_at_fp,
            "sensitivity_at_fp_ci95": dict(zip(keys, self.bootstrap.sensitivity_ci95.tolist(), strict=True)),
            "sensitivity_at_fp_bootstrap_mean": dict(zip(keys, self.bootstrap.sensitivity_mean.tolist(), strict=True)),
            "sensitivity_of_all_marks": float(self.curve.sensitivity[-1]),
            "fp_per_scan_of_all_marks": float(self.curve.fp_per_scan[-1]),
            **self.counts,
            "n_resamples": self.bootstrap.n_resamples,
            "scans_listed": self.reference.listed,
            "rules": RULES,
            "sources": list(SOURCES),
            "versions": {name: value for name, value in versions().items() if name in ("python", "medseg", "numpy")},
            "warnings": list(self.warnings),
        }


def evaluate_luna16(
    pred: str | Path,
    ref: str | Path,
    *,
    out_dir: str | Path,
    exclude: str | Path | None = None,
    series: str | Path | None = None,
    subset: bool = False,
) -> Luna16Summary:
    """Score marks by LUNA16's rules and write summary.json, nodules.csv, false_positives.csv, froc.csv and froc.svg.

    Args:
        pred: A submission CSV, `detections.json`, or a folder of those.
        ref: `annotations.csv`, or a datalist JSON whose items have `box_ras_mm`.
        out_dir: Where the files go; made if need be.
        exclude: `annotations_excluded.csv`.
        series: `seriesuids.csv`. Without it the scans are the datalist's, or those that occur in any file.
        subset: Leave out findings and marks of scans that `series` does not list, rather than refuse them.

    Raises:
        DataError: When a file is not what it should be, or there is no nodule.
    """
    pred, ref = Path(pred), Path(ref)
    paths = {"exclude": Path(exclude) if exclude else None, "series": Path(series) if series else None}
    marks, files = read_marks(pred)
    predicted = marks.case_id.tolist() if files is None else files
    reference = read_reference(ref, **paths, subset=subset, predicted=predicted)
    if not len(reference.nodules.scan):
        msg = f"{ref}: no nodule in the {len(reference.case_ids)} scans that count, so there is no sensitivity."
        raise DataError(msg)
    points, left_out = points_of(marks, reference, pred=pred, listed_in=paths["series"] or ref)
    n_scans = len(reference.case_ids)
    hits = hit_nodules(points, reference.nodules, reference.excluded, n_scans=n_scans)
    entries = froc_entries(points, reference.nodules, hits, n_scans=n_scans)
    summary = Luna16Summary(
        reference=reference,
        points=points,
        hits=hits,
        curve=froc_curve(entries),
        bootstrap=bootstrap_froc(entries),
        n_marks_left_out=left_out,
        warnings=(
            *(missing_files(pred, reference.case_ids, files) if files is not None else ()),
            *_warnings(points, reference, hits, pred=pred),
        ),
    )
    _write(summary, Path(out_dir))
    return summary


def _warnings(points: Points, reference: DetectionReference, hits: NoduleHits, *, pred: Path) -> tuple[str, ...]:
    found = int(np.count_nonzero(hits.best_mark >= 0))
    n_scans = len(reference.case_ids)
    lines = []
    if not reference.listed:
        lines.append(
            f"nobody lists the scans, so the {n_scans} that occur in a file count. Give --series: false positives are "
            f"divided by all scans, also those without nodules and marks."
        )
    if not len(points.scan):
        lines.append(f"{pred}: no marks; every nodule is missed.")
    repeated = same_place(points)
    if repeated:
        lines.append(f"{pred}: {repeated} marks lie where another one of their scan does; each counts.")
    frame = frame_warning(points, reference.nodules, n_found=found, n_scans=n_scans)
    return (*lines, *([f"{pred}: {frame}"] if frame else []))


def _write(summary: Luna16Summary, out_dir: Path) -> None:
    make_folder(out_dir)
    write_json(out_dir / "summary.json", summary.to_json())
    reference, points, hits = summary.reference, summary.points, summary.hits
    write_text_atomically(out_dir / "nodules.csv", nodule_table(reference, points, hits, summary.curve))
    write_text_atomically(out_dir / "false_positives.csv", false_positive_table(reference, points, hits))
    write_text_atomically(out_dir / "froc.csv", curve_table(summary.curve))
    write_text_atomically(out_dir / "froc.svg", froc_svg(summary.curve, summary.bootstrap))


def _key(fp_per_scan: float) -> str:
    return f"{fp_per_scan:g}"
