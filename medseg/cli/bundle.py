"""`medseg bundle list` and `medseg bundle check`."""

from __future__ import annotations

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
