"""`medseg data prepare`: scans made ready for a detector to train on."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from medseg.datasets.preparation import Preparation
    from medseg.datasets.scan_workers import Outcome


def prepare(
    dataset: Annotated[
        str, typer.Argument(metavar="FOLDER_OR_NAME", help="LUNA16, or a folder whose cases have boxes.")
    ],
    out: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for images and datalist.")],
    spacing: Annotated[
        str | None, typer.Option(metavar="X,Y,Z", help="Voxel size in mm; default: 0.703125,0.703125,1.25.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "-j", min=1, help="Processes; default: the machine's cores, 16 at most.")
    ] = None,
    compress: Annotated[
        bool, typer.Option("--compress", help="Write .nii.gz: half the size, slower to write and to read.")
    ] = False,
) -> None:
    """Resample every scan once, in parallel; run it again to go on after an interruption."""
    from rich.console import Console
    from rich.progress import Progress

    from medseg.datasets.preparation import prepare_dataset
    from medseg.datasets.prepared_scan import LUNA16_SPACING_MM
    from medseg.datasets.shelf import dataset_folder

    console = Console(stderr=True)
    start = time.perf_counter()
    # Where stdout goes elsewhere, its lines must not land among the bar's.
    to_screen = sys.stdout.isatty()
    with Progress(
        console=console, disable=not console.is_terminal, transient=True, redirect_stdout=to_screen
    ) as progress:
        bar = progress.add_task("scans", total=None)

        def show(outcome: Outcome) -> None:
            typer.echo(_line(outcome))
            progress.advance(bar)

        try:
            found = prepare_dataset(
                dataset_folder(dataset),
                out,
                spacing_mm=_sizes(spacing) if spacing else LUNA16_SPACING_MM,
                compress=compress,
                workers=workers,
                on_start=lambda todo, kept: progress.update(bar, total=todo + kept, completed=kept),
                on_scan=show,
            )
        except KeyboardInterrupt:
            progress.stop()
            typer.echo("stopped; what is done stays. Run the same command to go on.", err=True)
            raise typer.Exit(130) from None
    _conclude(found, seconds=time.perf_counter() - start)


def _line(outcome: Outcome) -> str:
    if not outcome.done:
        return f"{outcome.case_id}: failed: {outcome.error}"
    old, new = ("x".join(str(size) for size in shape) for shape in (outcome.old_shape, outcome.shape))
    return f"{outcome.case_id}: {old} -> {new} in {outcome.seconds:.2f} s"


def _conclude(found: Preparation, *, seconds: float) -> None:
    """The sum of it, the scans that failed, and the exit code."""
    typer.echo(f"{len(found.made)} scans made in {seconds:.1f} s, {found.kept} were there, {len(found.failed)} failed")
    if found.made:
        each = statistics.median(outcome.seconds for outcome in found.made)
        typer.echo(f"{each:.2f} s a scan (median), {len(found.made) / seconds:.1f} scans a second in all")
    if found.datalist:
        typer.echo(f"listed in {found.datalist}")
    for case_id, reason in found.failed.items():
        typer.echo(f"failed: {case_id}: {reason}", err=True)
    if found.failed:
        raise typer.Exit(1)


def _sizes(text: str) -> tuple[float, float, float]:
    from medseg.errors import ConfigError

    try:
        x, y, z = (float(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        msg = f"--spacing: {text!r} is not three sizes. Wanted X,Y,Z in mm, such as 0.703125,0.703125,1.25."
        raise ConfigError(msg) from None
    return x, y, z
