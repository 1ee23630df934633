"""`medseg evaluate`: score predictions against references."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from medseg.cli.failure import Traceback
from medseg.cli.regions import read_regions

if TYPE_CHECKING:
    from rich.table import Table

    from medseg.evaluation import Summary
    from medseg.evaluation.detection import Coco3dSummary, Luna16Summary

_COLUMNS = {"hd95_mm": "HD95 mm", "nsd": "NSD", "assd_mm": "ASSD mm", "volume_error_ml": "error ml"}


def evaluate(
    pred: Annotated[
        Path,
        typer.Option(
            help="Predictions: a file, a folder of files, or a folder per case. Detection: a LUNA16 submission CSV, "
            "detections.json, or a folder of those."
        ),
    ],
    ref: Annotated[
        Path,
        typer.Option(
            help="References, likewise; files are matched by case id. Detection: annotations.csv, or a datalist JSON "
            "with box_ras_mm."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for summary.json and the tables.")],
    task: Annotated[Literal["segmentation", "detection"], typer.Option(help="What is scored.")] = "segmentation",
    regions: Annotated[
        str | None,
        typer.Option(
            help="What is scored: a label convention, NAME=VALUE[+VALUE],..., or a file that declares labels; default: "
            "every label value."
        ),
    ] = None,
    tolerance_mm: Annotated[float, typer.Option(help="Tolerance of the normalised surface Dice, mm.")] = 1.0,
    surface: Annotated[
        Literal["deepmind", "voxel"], typer.Option(help="Surface elements: sub-voxel with areas, or border voxels.")
    ] = "deepmind",
    protocol: Annotated[
        Literal["luna16", "coco3d"],
        typer.Option(help="Detection: FROC and CPM by LUNA16's rules, or AP and AR of boxes at IoU 0.1 to 0.5."),
    ] = "luna16",
    lesion_wise: Annotated[
        str | None,
        typer.Option(
            metavar="RULES",
            help="Score lesion by lesion too, by the rules of brats2023 (gliomas), brats2023_ssa, _men, _ped, _met, or "
            "brats2024_men_rt.",
        ),
    ] = None,
    probabilities: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Probabilities, CASE.nii.gz with a channel for each region: calibration."),
    ] = None,
    exclude: Annotated[
        Path | None, typer.Option(help="Detection, luna16: annotations_excluded.csv; marks on these do not count.")
    ] = None,
    series: Annotated[
        Path | None, typer.Option(help="Detection: seriesuids.csv, all scans, also those without nodules.")
    ] = None,
    subset: Annotated[
        bool, typer.Option("--subset", help="Detection: leave out rows of scans that --series does not list.")
    ] = False,
    traceback: Traceback = False,
) -> None:
    """Score predictions against references, from any tool.

    Segmentation writes cases.csv and summary.json. Detection writes summary.json and, by LUNA16's rules, nodules.csv,
    false_positives.csv, froc.csv and froc.svg.
    """
    from medseg.errors import ConfigError

    given = {"--exclude": exclude, "--series": series, "--subset": subset or None}
    if task == "detection":
        for option, wanted in {
            "--regions": regions,
            "--lesion-wise": lesion_wise,
            "--probabilities": probabilities,
        }.items():
            if wanted is not None:
                msg = f"{option}: detections have none. Leave it out, or set --task segmentation."
                raise ConfigError(msg)
        _evaluate_detection(pred, ref, output, protocol=protocol, exclude=exclude, series=series, subset=subset)
        return
    for name, value in given.items():
        if value is not None:
            msg = f"{name}: goes with detection only. Add --task detection, or leave it out."
            raise ConfigError(msg)
    _evaluate_segmentation(
        pred,
        ref,
        output,
        regions=regions,
        tolerance_mm=tolerance_mm,
        surface=surface,
        lesion_wise=lesion_wise,
        probabilities=probabilities,
    )


def _evaluate_segmentation(
    pred: Path,
    ref: Path,
    output: Path,
    *,
    regions: str | None,
    tolerance_mm: float,
    surface: Literal["deepmind", "voxel"],
    lesion_wise: str | None,
    probabilities: Path | None,
) -> None:
    from rich.console import Console

    from medseg.errors import DataError
    from medseg.evaluation import evaluate_folders

    summary = evaluate_folders(
        pred,
        ref,
        out_dir=output,
        regions=read_regions(regions) if regions is not None else None,
        tolerance_mm=tolerance_mm,
        surface=surface,
        lesion_wise=lesion_wise,
        probabilities=probabilities,
        show_progress=sys.stderr.isatty(),
    )
    Console().print(_table(summary))
    if summary.lesion_rules:
        Console().print(_lesion_table(summary))
    if summary.calibration:
        found = summary.calibration.regions.items()
        typer.echo("Calibration error: " + ", ".join(f"{name} {region.ece:.4f}" for name, region in found))
    for case in summary.missing_predictions:
        typer.echo(f"warning: {case}: no prediction in {pred}; scored as the worst.", err=True)
    typer.echo(f"Scores in {output / 'summary.json'} and {output / 'cases.csv'}")
    if summary.errors:
        *others, last = summary.errors
        for line in others:
            typer.echo(f"error: {line}", err=True)
        raise DataError(last)


def _table(summary: Summary) -> Table:
    from rich.table import Table

    settings = f"{summary.surface_definition} surfaces; NSD at {summary.tolerance_mm:g} mm"
    table = Table(title=f"Means over {len(summary.cases)} cases; {settings}")
    table.add_column("region", no_wrap=True)
    for heading in ("Dice", "95 % CI", *_COLUMNS.values()):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, scores in [*summary.regions.items(), ("all regions", summary.mean)]:
        dice = scores["dice"]
        interval = f"{dice.ci95[0]:.3f}-{dice.ci95[1]:.3f}"
        table.add_row(name, f"{dice.mean:.3f}", interval, *(f"{scores[column].mean:.3f}" for column in _COLUMNS))
    return table


def _lesion_table(summary: Summary) -> Table:
    from rich.table import Table

    counts = summary.to_json()["lesion_wise"]["counts"]
    table = Table(title=f"Lesion by lesion, by the rules of {summary.lesion_rules}")
    table.add_column("region", no_wrap=True)
    for heading in ("Dice", "HD95 mm", "F1", "PQ", "found", "false", "missed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, scores in summary.regions.items():
        means = [f"{scores[metric].mean:.3f}" for metric in ("lesion_dice", "lesion_hd95_mm", "lesion_f1")]
        numbers = [str(counts[name][count]) for count in ("lesion_tp", "lesion_fp", "lesion_fn")]
        table.add_row(name, *means, f"{scores['panoptic_quality'].mean:.3f}", *numbers)
    return table


def _evaluate_detection(
    pred: Path,
    ref: Path,
    output: Path,
    *,
    protocol: Literal["luna16", "coco3d"],
    exclude: Path | None,
    series: Path | None,
    subset: bool,
) -> None:
    from rich.console import Console

    from medseg.errors import ConfigError
    from medseg.evaluation.detection import evaluate_coco3d, evaluate_luna16

    if subset and series is None:
        msg = "--subset: says to leave out what --series does not list, but there is no --series. Add it."
        raise ConfigError(msg)
    if protocol == "coco3d":
        if exclude is not None:
            msg = "--exclude: goes with --protocol luna16 only. Leave it out."
            raise ConfigError(msg)
        boxes = evaluate_coco3d(pred, ref, out_dir=output, series=series, subset=subset)
        table, warnings = _box_table(boxes), boxes.warnings
    else:
        marks = evaluate_luna16(pred, ref, out_dir=output, exclude=exclude, series=series, subset=subset)
        table, warnings = _froc_table(marks), marks.warnings
    Console().print(table)
    for line in warnings:
        typer.echo(f"warning: {line}", err=True)
    typer.echo(f"Scores in {output / 'summary.json'}")


def _froc_table(summary: Luna16Summary) -> Table:
    from rich.table import Table

    low, high = summary.bootstrap.cpm_ci95
    counts = summary.counts
    table = Table(
        title=f"CPM {summary.cpm:.4f} (95 % CI {low:.4f}-{high:.4f}): {counts['n_nodules']} nodules, "
        f"{counts['n_scans']} scans",
        caption=f"{counts['n_tp']} found, {counts['n_missed']} missed, {counts['n_fp']} false positives, "
        f"{counts['n_ignored']} ignored, {counts['n_double']} double",
    )
    for heading in ("FP per scan", "sensitivity", "95 % CI"):
        table.add_column(heading, justify="right", no_wrap=True)
    intervals = summary.bootstrap.sensitivity_ci95.tolist()
    for (name, value), (lower, upper) in zip(summary.sensitivity_at_fp.items(), intervals, strict=True):
        table.add_row(name, f"{value:.4f}", f"{lower:.4f}-{upper:.4f}")
    return table


def _box_table(summary: Coco3dSummary) -> Table:
    from rich.table import Table

    counts = summary.counts
    table = Table(
        title=f"mAP {summary.map:.4f}, mAR {summary.mar:.4f}: {counts['n_true']} boxes, {counts['n_scans']} scans"
    )
    for heading in ("IoU", "AP", "AR"):
        table.add_column(heading, justify="right", no_wrap=True)
    for iou, precision in summary.ap_at_iou.items():
        table.add_row(iou, f"{precision:.4f}", f"{summary.ar_at_iou[iou]:.4f}")
    return table
