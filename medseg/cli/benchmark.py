"""`medseg benchmark`: a suite of trainings and tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medseg.cli.failure import Traceback

if TYPE_CHECKING:
    from medseg.benchmark.executors import Executor
    from medseg.benchmark.job import Outcome


def benchmark(
    suite: Annotated[
        str | None, typer.Argument(metavar="SUITE", help="A suite of configs/benchmarks, or a YAML file.")
    ] = None,
    reproduce: Annotated[
        str | None,
        typer.Option("--reproduce", metavar="BUNDLE", help="Run what made its model card's scores; fail on drift."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Its folder.", show_default="runs/benchmarks/NAME"),
    ] = None,
    dataset_dir: Annotated[
        Path | None, typer.Option("--dataset-dir", metavar="DIR", help="The dataset, in place of fetching it.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Trainings at a time.", show_default="one on each GPU, else one"),
    ] = None,
    executor: Annotated[
        str, typer.Option("--executor", metavar="E", help="Who runs them: local, ray or slurm.")
    ] = "local",
    executor_option: Annotated[
        list[str] | None,
        typer.Option(
            "--executor-option",
            metavar="KEY=VALUE",
            help="For ray: address, num_cpus, num_gpus; for slurm: submitit's, such as slurm_partition=gpu.",
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep", metavar="DIR", help="Keep each job's scores there as it ends; what is there is not run."
        ),
    ] = None,
    traceback: Traceback = False,
) -> None:
    """Fetch, train, predict, evaluate and compare, as a suite file says.

    What is done is not done again: start it anew after a stop, a crash or a change, and only what depends on that runs.
    A training that fails, or a case whose prediction fails, counts as the worst; exit code 2 then.

    Example: medseg benchmark smoke
    """
    from medseg.benchmark.executors import make_executor
    from medseg.benchmark.local import visible_gpus

    options = _options(executor_option or [])
    chosen = make_executor(executor, at_once=jobs, options=options, gpus=visible_gpus())
    if reproduce is not None:
        _reproduce(reproduce, suite, output, dataset_dir=dataset_dir, executor=chosen)
        return
    _require_done(_run(suite, output, dataset_dir=dataset_dir, executor=chosen, kept_in=keep)[1])


def _run(
    suite: str | Path | None,
    output: Path | None,
    *,
    dataset_dir: Path | None,
    executor: Executor,
    kept_in: Path | None = None,
) -> tuple[Path, dict[str, Outcome]]:
    from medseg.benchmark.local import run_suite
    from medseg.benchmark.suite import find_suite, read_suite
    from medseg.errors import ConfigError

    if suite is None:
        msg = "SUITE is missing. Name one of configs/benchmarks, give a file, or --reproduce BUNDLE."
        raise ConfigError(msg)
    read = read_suite(find_suite(str(suite)))
    folder = output or Path("runs/benchmarks") / read.name
    try:
        table, outcomes = run_suite(
            read,
            folder,
            dataset_dir=dataset_dir,
            executor=executor,
            kept_in=kept_in,
            say=lambda text: typer.echo(text, err=True),
        )
    except KeyboardInterrupt:
        typer.echo(f"stopped; go on with the same command, it finds what is done in {folder}", err=True)
        raise typer.Exit(130) from None
    typer.echo(table.read_text(encoding="utf-8"))
    typer.echo(f"Table: {table}   Everything: {folder / 'results.json'}")
    return folder, outcomes


def _reproduce(
    bundle: str, suite: str | None, output: Path | None, *, dataset_dir: Path | None, executor: Executor
) -> None:
    from medseg.benchmark.reproduce import compare, read_claims, require_held, shown
    from medseg.bundle.find import find_bundle
    from medseg.errors import ConfigError

    if suite is not None:
        msg = f"--reproduce {bundle}: the model card says which suite is run. Leave {suite!r} out."
        raise ConfigError(msg)
    claims, name = read_claims(bundle), find_bundle(bundle).name
    out = output or Path("runs/benchmarks") / f"reproduce_{name}"
    folder, outcomes = _run(claims.suite, out, dataset_dir=dataset_dir, executor=executor)
    _require_done(outcomes)
    rows = compare(claims, folder)
    shown(rows, say=typer.echo)
    require_held(rows, bundle=name)


def _require_done(outcomes: dict[str, Outcome]) -> None:
    from medseg.errors import DataError

    failed = [name for name, outcome in sorted(outcomes.items()) if outcome.problem or outcome.failed]
    if failed:
        first = outcomes[failed[0]]
        why = first.problem or next(iter(first.failed.values()))
        msg = f"{failed[0]} and {len(failed) - 1} other jobs failed at least in part, counted as the worst: {why}"
        raise DataError(msg)


def _options(tokens: list[str]) -> dict[str, Any]:
    import yaml

    from medseg.errors import ConfigError

    found = {}
    for token in tokens:
        key, equals, value = token.partition("=")
        if not equals or not key.isidentifier():
            msg = f"--executor-option: {token!r} is no KEY=VALUE, such as timeout_min=600."
            raise ConfigError(msg)
        found[key] = yaml.safe_load(value)
    return found
