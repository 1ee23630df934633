"""`medseg data split`: folds for a dataset."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

_RULES = {
    "listed": "the dataset's own",
    "lists": "the dataset's own lists",
    "splits_final": "nnU-Net's splits_final.json",
    "nnunet": "nnU-Net's published rule",
    "patients": "dealt by patient",
}


def split(
    dataset: Annotated[str, typer.Argument(metavar="FOLDER_OR_NAME", help="A folder, or a dataset that was fetched.")],
    folds: Annotated[
        int | None, typer.Option(min=2, help="Deal so many by patient; default: the official folds, else 5.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Deal by patient with this seed; default: 0.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: datalist.json in the folder.")
    ] = None,
    modalities: Annotated[
        str | None, typer.Option(metavar="A,B,..", help="What each case must have; default: what most have.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
) -> None:
    """Write a datalist with folds: the official ones where there are some, else dealt by patient."""
    from medseg.datasets.layouts import take_inventory
    from medseg.datasets.shelf import dataset_folder
    from medseg.datasets.splits import datalist_of, split_cases, write_datalist

    folder = dataset_folder(dataset)
    inventory = take_inventory(folder, modalities=modalities.split(",") if modalities else None)
    dealt = split_cases(inventory, folds=folds, seed=seed)
    file = output or folder / "datalist.json"
    content = datalist_of(inventory, dealt)
    write_datalist(file, content, force=force)
    sizes = Counter(dealt.fold_of.values())
    counts = ", ".join(str(sizes[fold]) for fold in sorted(sizes))
    parts = f"{dealt.folds} folds of {counts} cases" if sizes else _sections(content)
    seeded = "" if dealt.seed is None else f", seed {dealt.seed}"
    typer.echo(f"{inventory.name}: {parts} ({_RULES[dealt.rule]}{seeded}) in {file}")
    typer.echo(f"sha256 of the training ids: {content['split']['ids_sha256']['training']}")


def _sections(content: dict[str, Any]) -> str:
    """How many cases each list has."""
    return ", ".join(
        f"{len(content[name])} {name}" for name in ("training", "validation", "testing") if name in content
    )
