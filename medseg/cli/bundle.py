"""`medseg bundle list` and `medseg bundle check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
