"""The `medseg` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from medseg import __version__
from medseg.cli.benchmark import benchmark
from medseg.cli.bundle import bundle_app
from medseg.cli.compare import compare
from medseg.cli.data import data_app
from medseg.cli.demo import demo
from medseg.cli.evaluate import evaluate
from medseg.cli.failure import show
from medseg.cli.info import info
from medseg.cli.predict import predict
from medseg.cli.report import report
from medseg.cli.tokens import TokenCommand
from medseg.cli.train import train
from medseg.errors import MedsegError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="3D segmentation in medical images, on MONAI bundles. Not for clinical use.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"medseg {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Nothing is shared by the commands but `--version`."""


app.command()(info)
app.command()(demo)
app.add_typer(data_app, name="data")
app.command(cls=TokenCommand)(train)
app.command(cls=TokenCommand)(predict)
app.command()(evaluate)
app.command()(compare)
app.command()(benchmark)
app.command()(report)
app.add_typer(bundle_app, name="bundle")


def main() -> None:
    """Runs the command. A failure is one screen: exit code 2 for what a user can mend, 1 for what nobody foresaw."""
    try:
        app()
    except Exception as error:
        show(error)
        sys.exit(2 if isinstance(error, MedsegError) else 1)
