"""`medseg data plan`: what a network for a dataset should look like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def plan(
    dataset: Annotated[str, typer.Argument(metavar="FOLDER_OR_NAME", help="A folder, or a dataset that was fetched.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the plan as YAML, for medseg train BUNDLE @FILE."),
    ] = None,
    memory_gb: Annotated[
        float, typer.Option(min=0.1, help="What a training step of two crops may take; nnU-Net's is 8.")
    ] = 1.5,
    channels: Annotated[int, typer.Option(min=1, help="Of the highest level; nnU-Net's are 32.")] = 16,
    cases: Annotated[int, typer.Option(min=1, help="How many cases are read, evenly spread.")] = 24,
    as_json: Annotated[bool, typer.Option("--json", help="Print fingerprint and plan as JSON.")] = False,
) -> None:
    """Read a dataset's fingerprint, and plan grid, patch, network and intensities by nnU-Net's rules.

    Example: medseg data plan msd_task09_spleen --memory-gb 8 --channels 32 -o plan.yaml
    """
    from medseg.bundle.new import declared_labels
    from medseg.bundle.plan import make_plan
    from medseg.bundle.plan_text import fingerprint_lines, flow, plan_values, plan_yaml, reasons
    from medseg.datasets.fingerprint import take_fingerprint
    from medseg.datasets.layouts import take_inventory
    from medseg.datasets.shelf import dataset_folder
    from medseg.record import write_text_atomically

    taken = take_inventory(dataset_folder(dataset).resolve())
    found = take_fingerprint(taken, most_cases=cases)
    made = make_plan(found, budget_gb=memory_gb, first_channels=channels)
    values = plan_values(made, found, convention=declared_labels(taken, found))
    why = reasons(made, found)
    if output is not None:
        title = f"Plan for {found.name} ({found.n_read} of {found.n_cases} cases read), by medseg data plan."
        write_text_atomically(output, plan_yaml(values, why, title=title))
    if as_json:
        import json
        from dataclasses import asdict

        typer.echo(json.dumps({"fingerprint": asdict(found), "plan": asdict(made), "config": values}, indent=2))
        return
    typer.echo("\n".join([found.name, *fingerprint_lines(found), ""]))
    for key, value in values.items():
        typer.echo(f"{key:<20} {flow(value)}\n{'':<20}   {why[key]}")
    if output is not None:
        typer.echo(f"\nin {output}; next: medseg train msd_organ_segmentation @{output} dataset_dir={dataset}")
