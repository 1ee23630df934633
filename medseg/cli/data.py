"""`medseg data`: datasets and phantoms on disk."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.data_plan import plan
from medseg.cli.data_prepare import prepare
from medseg.cli.data_split import split
from medseg.cli.data_verify import verify
from medseg.cli.datasets import get_dataset, list_datasets

data_app = typer.Typer(help="Get, check or make data to work on.", no_args_is_help=True)
data_app.command("list")(list_datasets)
data_app.command("get")(get_dataset)
data_app.command()(verify)
data_app.command()(split)
data_app.command()(plan)
data_app.command()(prepare)


@data_app.callback()
def _data() -> None:
    """Get, check or make data to work on."""


@data_app.command()
def phantom(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Which phantoms: brats, luna16 or msd.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write to.")],
    cases: Annotated[int, typer.Option("--cases", "-n", min=1, help="How many cases.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other cases.")] = 0,
    shape: Annotated[
        str | None, typer.Option(metavar="X,Y,Z", help="Voxels along each axis; brats has 96,112,80 without.")
    ] = None,
    spacing_mm: Annotated[float | None, typer.Option(help="Size of a voxel in mm; brats has 1.75 without.")] = None,
    convention: Annotated[
        str | None, typer.Option(metavar="NAME", help="Label convention, for brats: brats2017 without.")
    ] = None,
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
    if convention is not None and kind != "brats":
        msg = f"--convention: {kind} phantoms have labels of their own. Leave the option out."
        raise ConfigError(msg)
    given = {"spacing_mm": spacing_mm, "label_convention": convention, "shape": _sizes(shape) if shape else None}
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(f"{kind} phantoms", total=cases)
        listing = PHANTOMS[kind](
            out,
            cases=cases,
            seed=seed,
            force=force,
            on_case=lambda _case_id: progress.advance(task),
            **{name: value for name, value in given.items() if value is not None},
        )
    typer.echo("\n".join(_done(kind, out, listing, cases=cases, seed=seed, convention=convention or "brats2017")))


def _done(kind: str, out: Path, listing: Path, *, cases: int, seed: int, convention: str) -> list[str]:
    """What was written, and the command that comes next where there is one."""
    if kind != "brats":
        folder = shlex.quote(str(out))
        step = f"prepare {folder} -o DIR" if kind == "luna16" else f"verify {folder}"
        return [f"{cases} {kind} phantoms (seed {seed}) in {out}, listed in {listing}", f"next: medseg data {step}"]
    labels = "" if convention == "brats2017" else f" label_convention={convention}"
    return [
        f"{cases} {kind} phantoms (seed {seed}, labels {convention}) in {out}, folds in {listing}",
        f"next: medseg train brats_mri_segmentation dataset_dir={shlex.quote(str(out))}{labels}",
    ]


def _sizes(text: str) -> tuple[int, ...]:
    from medseg.errors import ConfigError

    try:
        return tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        msg = f"--shape: {text!r} is not three sizes. Wanted X,Y,Z such as 96,112,80."
        raise ConfigError(msg) from None
