"""`medseg data verify`: what is wrong with a dataset on disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from medseg.datasets.findings import Finding

_SHOWN = 20
_WIDE = 1000  # characters, more than any finding has


def verify(
    dataset: Annotated[str, typer.Argument(metavar="FOLDER_OR_NAME", help="A folder, or a dataset that was fetched.")],
    convention: Annotated[
        str | None, typer.Option(metavar="NAME", help="Label convention that must hold; default: what is declared.")
    ] = None,
    datalist: Annotated[Path | None, typer.Option(metavar="FILE", help="Datalist to go by.")] = None,
    modalities: Annotated[
        str | None, typer.Option(metavar="A,B,..", help="What each case must have; default: what most have.")
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help=f"Show more than {_SHOWN} findings of a kind.")] = False,
) -> None:
    """Read every file of a dataset and show what is wrong; exit code 1 when something is."""
    from rich.console import Console
    from rich.progress import Progress

    from medseg.datasets.shelf import dataset_folder
    from medseg.datasets.verify import verify_dataset

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("cases", total=None)
        found = verify_dataset(
            dataset_folder(dataset),
            datalist=datalist,
            convention=convention,
            modalities=modalities.split(",") if modalities else None,
            on_start=lambda count: progress.update(task, total=count),
            on_case=lambda _case_id: progress.advance(task),
        )
    if found.findings:
        table = Console()
        if not table.is_terminal and "COLUMNS" not in os.environ:
            table.width = _WIDE  # a path is not broken for a pipe
        table.print(_table(found.findings, most=None if show_all else _SHOWN))
    counts = {"error": len(found.errors), "note": len(found.findings) - len(found.errors)}
    said = ", ".join(f"{count} {level}{'' if count == 1 else 's'}" for level, count in counts.items())
    typer.echo(f"{found.name}: {found.n_cases} cases, {found.n_files} files: {said}")
    if found.errors:
        raise typer.Exit(1)


def _table(findings: Sequence[Finding], *, most: int | None) -> Table:
    """Findings as they come, at most so many of each check."""
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for heading in ("", "check", "case"):
        table.add_column(heading, overflow="fold")
    table.add_column("what", overflow="fold", ratio=1)
    shown: Counter[str] = Counter()
    for found in findings:
        shown[found.check] += 1
        if most is None or shown[found.check] <= most:
            colour = "red" if found.level == "error" else "yellow"
            cells = (escape(text) for text in (found.check, found.case_id, found.message))
            table.add_row(f"[{colour}]{found.level}[/]", *cells)
    for check, count in shown.items():
        if most is not None and count > most:
            table.add_row("", check, "", f"and {count - most} more (--all shows them)")
    return table
