"""`medseg evaluate`: score predictions against references."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from medseg.evaluation import Summary

_COLUMNS = {"hd95_mm": "HD95 mm", "nsd": "NSD", "assd_mm": "ASSD mm", "volume_error_ml": "error ml"}


def evaluate(
    pred: Annotated[Path, typer.Option(help="Predictions: a file, a folder of files, or a folder per case.")],
    ref: Annotated[Path, typer.Option(help="References, likewise. Files are matched by case id.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for cases.csv and summary.json.")],
    task: Annotated[Literal["segmentation", "detection"], typer.Option(help="What is scored.")] = "segmentation",
    regions: Annotated[
        str | None, typer.Option(help="Label convention whose regions are scored; default: every label value.")
    ] = None,
    tolerance_mm: Annotated[float, typer.Option(help="Tolerance of the normalised surface Dice, mm.")] = 1.0,
    surface: Annotated[
        Literal["deepmind", "voxel"], typer.Option(help="Surface elements: sub-voxel with areas, or border voxels.")
    ] = "deepmind",
) -> None:
    """Score predictions against references, from any tool: cases.csv and summary.json."""
    from rich.console import Console

    from medseg.errors import ConfigError, DataError
    from medseg.evaluation import evaluate_folders
    from medseg.labels import get_convention

    if task == "detection":
        msg = "--task: detection cannot be scored yet. Wanted: segmentation."
        raise ConfigError(msg)
    if regions is not None:
        get_convention(regions, where="--regions")
    summary = evaluate_folders(
        pred,
        ref,
        out_dir=output,
        regions=regions,
        tolerance_mm=tolerance_mm,
        surface=surface,
        show_progress=sys.stderr.isatty(),
    )
    Console().print(_table(summary))
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
