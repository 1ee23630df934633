"""`medseg train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.failure import Traceback
from medseg.errors import ConfigError


def train(
    bundle: Annotated[
        str | None, typer.Argument(metavar="BUNDLE", help="Name or path; left out with --resume.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Changes of the config, such as epochs=20; @FILE for a file of them."),
    ] = None,
    preset: Annotated[
        list[str] | None, typer.Option("--preset", metavar="P", help="How to run: smoke, cpu, gpu, ddp, or a file.")
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", metavar="DIR", help="Run folder.", show_default="runs/BUNDLE/TIMESTAMP")
    ] = None,
    resume: Annotated[Path | None, typer.Option("--resume", metavar="RUN", help="Go on with this run.")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Run what the bundle can execute; remembered.")] = False,
    traceback: Traceback = False,
) -> None:
    """Train a bundle, or go on with a run.

    A run folder holds the resolved config, run.json, metrics.csv, TensorBoard events, checkpoints and a log.
    Ctrl-C leaves a run that resumes exactly where it stopped.

    Example: medseg train brats_mri_segmentation --preset cpu dataset_dir=phantoms epochs=20
    """
    changes = list(overrides or [])
    if bundle is not None and resume is not None and "=" in bundle and not Path(bundle).exists():
        changes.insert(0, bundle)
        bundle = None
    from medseg.bundle.run_folder import RunInterrupted, rank

    try:
        if resume is not None:
            folder = _resume(resume, bundle, changes=changes, fresh=preset or run_dir, trust=trust)
        else:
            folder = _start(bundle, changes=changes, preset=preset or [], run_dir=run_dir, trust=trust)
    except RunInterrupted as interrupt:
        typer.echo(f"interrupted; resume with: medseg train --resume {_shown(interrupt.run_dir)}", err=True)
        raise typer.Exit(130) from None
    if rank() == 0:
        typer.echo(_shown(folder))


def _start(bundle: str | None, *, changes: list[str], preset: list[str], run_dir: Path | None, trust: bool) -> Path:
    from medseg.bundle.run import train

    if bundle is None:
        msg = "BUNDLE is missing. Name one (medseg bundle list), or give --resume RUN."
        raise ConfigError(msg)
    return train(bundle, presets=preset, overrides=changes, run_dir=run_dir, trust=trust)


def _resume(run: Path, bundle: str | None, *, changes: list[str], fresh: object, trust: bool) -> Path:
    from medseg.bundle.run import resume

    if fresh:
        msg = "--resume goes on in its own folder with its own config; leave --preset and --run-dir out."
        raise ConfigError(msg)
    return resume(run, overrides=changes, bundle=bundle, trust=trust)


def _shown(folder: Path) -> Path:
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
