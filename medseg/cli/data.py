"""`medseg data`: datasets and phantoms on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.data_split import split
from medseg.cli.data_verify import verify
from medseg.cli.datasets import get_dataset, list_datasets

data_app = typer.Typer(help="Get, check or make data to work on.", no_args_is_help=True)
data_app.command("list")(list_datasets)
data_app.command("get")(get_dataset)
data_app.command()(verify)
data_app.command()(split)


@data_app.callback()
def _data() -> None:
    """Get, check or make data to work on."""


@data_app.command()
def phantom(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Which phantoms: brats.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write to.")],
    cases: Annotated[int, typer.Option("--cases", "-n", min=1, help="How many cases.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other cases.")] = 0,
    shape: Annotated[str, typer.Option(metavar="X,Y,Z", help="Voxels along each axis.")] = "96,112,80",
    spacing_mm: Annotated[float, typer.Option(help="Size of a voxel in mm.")] = 1.75,
    convention: Annotated[str, typer.Option(metavar="NAME", help="Label convention.")] = "brats2017",
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that holds something else.")] = False,
) -> None:
    """Write made-up cases: the same voxels from a seed on every machine."""
    from rich.console import Console
    from rich.progress import Progress

    from medseg.datasets.phantoms import PHANTOMS
    from medseg.errors import ConfigError

    if kind not in PHANTOMS:
        msg = f"KIND: no phantoms are called {kind!r}. Known: {', '.join(PHANTOMS)}."
        raise ConfigError(msg)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(f"{kind} phantoms", total=cases)
        datalist = PHANTOMS[kind](
            out,
            cases=cases,
            seed=seed,
            shape=_sizes(shape),
            spacing_mm=spacing_mm,
            label_convention=convention,
            force=force,
            on_case=lambda _case_id: progress.advance(task),
        )
    typer.echo(f"{cases} {kind} phantoms (seed {seed}, labels {convention}) in {out}, folds in {datalist}")
    labels = "" if convention == "brats2017" else f" label_convention={convention}"
    typer.echo(f"next: medseg train brats_mri_segmentation dataset_dir={out}{labels}")


def _sizes(text: str) -> tuple[int, ...]:
    from medseg.errors import ConfigError

    try:
        return tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        msg = f"--shape: {text!r} is not three sizes. Wanted X,Y,Z such as 96,112,80."
        raise ConfigError(msg) from None
