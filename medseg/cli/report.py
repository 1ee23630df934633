"""`medseg report`: the HTML report of a run."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="The file to write [default: RUN/report.html]."),
    ] = None,
) -> None:
    """Write a run's report: one HTML file with scores, plots and a slice viewer that opens without a network."""
    from medseg.report import write_report

    typer.echo(write_report(run, output))
