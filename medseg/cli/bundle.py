"""The verbs of `medseg bundle`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

bundle_app = typer.Typer(no_args_is_help=True, help="List, check, make, freeze or export bundles.")


@bundle_app.command("list")
def list_() -> None:
    """List the bundles that a name can reach."""
    from medseg.bundle.documents import read_document
    from medseg.bundle.find import list_bundles
    from medseg.bundle.findings import printable

    for name, root in list_bundles().items():
        meta = read_document(root / "configs" / "metadata.json").content
        typer.echo(printable(f"{name}  {meta.get('version', '?')}  {meta.get('task', '')}  {root}"))


@bundle_app.command()
def check(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Name or path.")],
    fix: Annotated[bool, typer.Option("--fix", help="Mend what a rule can mend; say what was changed.")] = False,
    preset: Annotated[
        list[str] | None, typer.Option("--preset", metavar="P", help="Check it with this preset laid over it.")
    ] = None,
    notes: Annotated[bool, typer.Option("--notes", help="Show what cannot be helped, too.")] = False,
) -> None:
    """Check a bundle's files and configs without importing or running anything of it.

    Finds targets that do not exist, arguments that do not fit, references to nothing, keys that nothing reads, texts
    that YAML or MONAI reads as something else, channels, patches and labels that do not agree, and missing files,
    metadata or ids. Exit code 1 when there is an error.
    """
    from medseg.bundle.check import check_bundle
    from medseg.bundle.find import find_bundle
    from medseg.bundle.findings import printable
    from medseg.bundle.fix import mend

    found = check_bundle(bundle, presets=preset)
    if fix:
        for line in mend(find_bundle(bundle, whole=False), found):
            typer.echo(f"fixed: {line}")
        found = check_bundle(bundle, presets=preset)
    findings = [finding for finding in found if notes or finding.level != "note"]
    for finding in findings:
        typer.echo(printable(f"{finding.level}: {finding}"))
    errors = sum(finding.level == "error" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    typer.echo(f"{bundle}: {errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}")
    if errors:
        raise typer.Exit(1)


@bundle_app.command()
def get(
    source: Annotated[str, typer.Argument(metavar="BUNDLE", help="Name or path of a bundle, or a zip of one.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Where a zip is unpacked to.")
    ] = None,
) -> None:
    """Unpack a bundle that comes as a zip, and fetch the large files that a bundle lists, verified by their hashes."""
    from medseg.bundle.get import get_bundle

    typer.echo(get_bundle(source, output, says=lambda line: typer.echo(line, err=True)))


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
    typer.echo(f"next: medseg train {shlex.quote(name)} --preset smoke", err=True)


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


@bundle_app.command()
def export(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Name or path.")],
    format_: Annotated[
        Literal["torchscript", "onnx", "openvino", "tensorrt", "pt2"], typer.Option("--format", help="The file format.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes of the config.")] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="Weights file or run folder.", show_default="the bundle's own"),
    ] = None,
    network_only: Annotated[
        bool, typer.Option("--network-only", help="Leave out the pipeline around the network.")
    ] = False,
    int8: Annotated[
        list[Path] | None,
        typer.Option(
            "--int8",
            metavar="SCANS",
            help="Quantise to 8 bits on these scans too (openvino); changes masks, card says how far.",
        ),
    ] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Run what the bundle can execute.")] = False,
) -> None:
    """Write the network for other programs and, for onnx and openvino, a pipeline that needs neither torch nor MONAI.

    The pipeline is compared with the bundle on a phantom; the figures stand in the exported README.md.

    Example: medseg bundle export brats_mri_segmentation --format onnx --weights runs/brats -o brats_onnx
    """
    from medseg.bundle.export import export as write_export

    made = write_export(
        bundle,
        output,
        format_=format_,
        weights=weights,
        overrides=overrides or [],
        network_only=network_only,
        trust=trust,
        calibrate=int8 or [],
    )
    if made.parity is not None:
        typer.echo(f"Dice with the bundle on a phantom: {made.parity.worst:.6f}", err=True)
    typer.echo(made.folder)
