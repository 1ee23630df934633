"""`medseg data list` and `medseg data get`: public datasets."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from medseg.datasets.specs import DatasetSpec, FileSpec
    from medseg.datasets.watch import Watch


_WIDE, _ROOMY = 200, 130  # characters


def list_datasets(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every address.")] = False,
) -> None:
    """Show the public datasets, and which are on disk."""
    from medseg.datasets.registry import DATASETS
    from medseg.datasets.shelf import data_home

    if as_json:
        import json

        typer.echo(json.dumps({name: _as_json(spec) for name, spec in DATASETS.items()}, indent=2))
        return
    from rich.console import Console

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDE  # nothing is cut for a pipe
    console.print(_table(DATASETS, width=console.width))
    console.print(f"kept in {data_home()} (MEDSEG_DATA changes it); get one: medseg data get NAME", highlight=False)


def get_dataset(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Dataset; see medseg data list.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder it gets.")] = None,
    given: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER_OR_ARCHIVE", help="What you have of it already."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=16, help="Files fetched at a time.")] = 4,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--keep",
            help="Unpack archives while they come, keeping no copy; default: where the disk is too small for both.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Fetch a dataset, verified; run it again to go on after an interruption."""
    from rich.console import Console

    from medseg.datasets.download import get_dataset as get
    from medseg.datasets.registry import get_spec

    spec = get_spec(name)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"{spec.title}\nlicence: {spec.licence}\ncite: {spec.citation}")
    with _progress(console) as progress:
        try:
            folder = get(spec, out, given=given, jobs=jobs, stream=stream, watch=_watch(progress, spec))
        except KeyboardInterrupt:
            progress.stop()
            console.print("stopped; what has come is kept. Run the same command to go on.")
            raise typer.Exit(130) from None
    typer.echo(f"{spec.name} is in {folder}")
    typer.echo(f"next: medseg data verify {shlex.quote(str(out or spec.name))}")


def _as_json(spec: DatasetSpec) -> dict[str, Any]:
    from dataclasses import asdict

    from medseg.datasets.shelf import shelf_of, state_of

    shelf = shelf_of(spec.name)
    return {**asdict(spec), "n_bytes": spec.n_bytes, "state": state_of(shelf), "folder": str(shelf)}


def _table(datasets: dict[str, DatasetSpec], *, width: int) -> Any:
    """One line for each; licences only where there is room for them."""
    from rich.table import Table

    from medseg.datasets.shelf import shelf_of, state_of

    titles = ["name", "what", "access", "size", "on disk"] + (["licence"] if width >= _ROOMY else [])
    rows = [titles]
    for name, spec in datasets.items():
        state = state_of(shelf_of(name))
        cells = [name, spec.title, spec.access, _size(spec), "" if state == "absent" else state, spec.licence]
        rows.append(cells[: len(titles)])
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    table = Table(box=None, pad_edge=False)
    for title, needed in zip(titles, widths, strict=True):
        # What does not fit is taken off the titles: names and sizes are read to the end.
        room = max(20, width - sum(widths) + needed) if title == "what" else None
        table.add_column(title, no_wrap=True, max_width=room)
    for row in rows[1:]:
        table.add_row(*row)
    return table


def _size(spec: DatasetSpec) -> str:
    from medseg.datasets.part import gigabytes

    known = sum(file.n_bytes or 0 for file in spec.files)
    if not known:
        return "?"
    return gigabytes(known) if spec.n_bytes else f"> {gigabytes(known)}"


def _progress(console: Any) -> Any:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def _watch(progress: Any, spec: DatasetSpec) -> Watch:
    """One line for everything and one for each file under way."""
    from medseg.datasets.watch import Watch

    whole = progress.add_task(spec.name, total=spec.n_bytes)
    tasks: dict[str, Any] = {}

    def begins(file: FileSpec) -> None:
        tasks[file.name] = progress.add_task(file.name, total=file.n_bytes)

    def bytes_came(file: FileSpec, n_bytes: int) -> None:
        progress.advance(tasks[file.name], n_bytes)
        progress.advance(whole, n_bytes)

    def unpacks(file: FileSpec) -> None:
        progress.update(tasks[file.name], description=f"unpacking {file.name}")

    def ends(file: FileSpec) -> None:
        progress.remove_task(tasks.pop(file.name))
        if progress.disable:
            progress.console.print(f"{file.name}: done")

    return Watch(
        begins=begins, bytes_came=bytes_came, unpacks=unpacks, ends=ends, says=lambda text: progress.console.print(text)
    )
