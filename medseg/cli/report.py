"""`medseg report`: the HTML report of a run or of a suite."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder, or the folder of a suite.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="The file to write [default: RUN/report.html]."),
    ] = None,
    jobs: Annotated[
        bool, typer.Option("--jobs", help="Of a suite: write the report of each job too, and link to them.")
    ] = False,
) -> None:
    """Write a run's report: one HTML file with scores, plots and a slice viewer that opens without a network.

    A suite's report has its table, verdicts and published results, fold by fold.
    """
    from medseg.report import write_report

    typer.echo(write_report(run, output, jobs=jobs))
