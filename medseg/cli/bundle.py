"""`medseg bundle list` and `medseg bundle check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

bundle_app = typer.Typer(no_args_is_help=True, help="List bundles, or check one without running it.")


@bundle_app.command("list")
def list_() -> None:
    """List the bundles that a name can reach."""
    from medseg.bundle.documents import read_document
    from medseg.bundle.find import list_bundles

    for name, root in list_bundles().items():
        meta = read_document(root / "configs" / "metadata.json").content
        typer.echo(f"{name}  {meta.get('version', '?')}  {meta.get('task', '')}  {root}")


@bundle_app.command()
def check(bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Name or path.")]) -> None:
    """Check a bundle's files and configs without importing or running anything of it.

    Finds targets that do not exist, arguments that do not fit, references to nothing, bad expressions, circles,
    and missing files, metadata or ids. Exit code 1 when there is an error.
    """
    from medseg.bundle.check import check_bundle

    findings = check_bundle(bundle)
    for finding in findings:
        typer.echo(f"{finding.level}: {finding}")
    errors = sum(finding.level == "error" for finding in findings)
    warnings = len(findings) - errors
    typer.echo(f"{bundle}: {errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}")
    if errors:
        raise typer.Exit(1)


@bundle_app.command()
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the bundle, in ./bundles; or a path that ends in it.")
    ],
    task: Annotated[Literal["segmentation", "detection"], typer.Option(help="What it is to find.")],
    dataset: Annotated[str, typer.Option(metavar="FOLDER_OR_NAME", help="What it is to learn from.")],
    source: Annotated[
        str | None, typer.Option("--from", metavar="BUNDLE", help="Make a variant of this bundle.")
    ] = None,
) -> None:
    """Write a bundle that trains on a dataset: grid, window, network and labels as the data asks for.

    Example: medseg bundle new spleen_ct_segmentation --task segmentation --dataset msd_task09_spleen
    """
    from medseg.bundle.new import new_bundle

    made = new_bundle(name, task=task, dataset=dataset, source=source)
    for note in made.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(made.root)


@bundle_app.command()
def freeze(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Name or path.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Folder, or a file that ends in .zip.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes of the config, such as amp=false.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="Weights file or run folder.", show_default="the bundle's own"),
    ] = None,
) -> None:
    """Write the bundle as one JSON file per workflow, for MONAI Label, Deploy, NVFlare, the zoo and monai.bundle.load.

    Weights become models/model.pt. A zip file has the same bytes every time.

    Example: medseg bundle freeze brats_mri_segmentation --weights runs/brats -o brats_mri_segmentation.zip
    """
    from medseg.bundle.freeze import freeze as write_frozen

    typer.echo(write_frozen(bundle, output, weights=weights, overrides=overrides or []))
