"""`medseg compare`: runs side by side, with tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli.failure import Traceback

if TYPE_CHECKING:
    from rich.table import Table

    from medseg.benchmark.comparison import Comparison
    from medseg.benchmark.scores import RunScores


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Run folders, evaluation folders or cases.csv; NAME=PATH names one."),
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", "-m", metavar="M", help="Metric; may be repeated.", show_default="dice, hd95_mm, nsd"),
    ] = None,
    per_region: Annotated[bool, typer.Option("--per-region", help="Compare each region too.")] = False,
    common: Annotated[
        bool, typer.Option("--common", help="Compare runs with different cases on those that all have.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write all of it as JSON.")
    ] = None,
    traceback: Traceback = False,
) -> None:
    """Compare runs on the same cases: intervals, paired tests with Holm's correction, ranks and a verdict.

    Example: medseg compare baseline=runs/a new=runs/b --metric dice
    """
    import json

    from rich.console import Console

    from medseg.benchmark.comparison import compare_runs
    from medseg.record import write_text_atomically

    found = compare_runs([_read(word) for word in runs], metrics=metric or (), per_region=per_region, common=common)
    console = Console()
    console.print(_table(found))
    for run, left in found.left_out.items():
        typer.echo(f"paired on {len(found.cases)} cases; left out of {run}: {', '.join(left)}")
    if found.verdicts:
        console.print(_verdict_table(found))
        typer.echo("Verdict:")
        for verdict in found.verdicts:
            typer.echo(f"  {verdict.metric}, {verdict.region}: {verdict.text}")
    if output:
        write_text_atomically(output, json.dumps(found.to_json(), indent=2, allow_nan=False) + "\n")
        typer.echo(f"All of it in {output}")


def _read(word: str) -> RunScores:
    from medseg.benchmark.scores import read_scores

    named = re.fullmatch(r"([^=/\\]+)=(.+)", word)
    if named and not Path(word).exists():
        return read_scores(named[2], name=named[1])
    return read_scores(word)


def _table(found: Comparison) -> Table:
    from rich.table import Table

    table = Table(title=f"{len(found.cases)} cases")
    for heading in ("metric", "region", "run"):
        table.add_column(heading, overflow="fold")
    for heading in ("mean", "95 % CI", "SD", "median", "SD of seeds", "rank", "first in", "worst"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found.rows:
        whole = row.scores.over_cases
        spread = row.scores.between_seed_sd
        table.add_row(
            row.metric,
            row.region,
            row.run,
            f"{whole.mean:.4f}",
            f"{whole.ci95[0]:.4f}-{whole.ci95[1]:.4f}",
            "" if whole.sd is None else f"{whole.sd:.4f}",
            f"{whole.median:.4f}",
            "" if spread is None else f"{spread:.4f} ({len(row.scores.seed_means)})",
            f"{row.rank.rank:g} [{row.rank.ci95[0]:g}, {row.rank.ci95[1]:g}]",
            f"{100 * row.rank.best_share:.0f} %",
            str(row.n_worst or ""),
        )
    return table


def _verdict_table(found: Comparison) -> Table:
    from rich.table import Table

    table = Table(title="Paired tests, first minus second; p corrected by Holm")
    for heading in ("metric", "region", "first", "second"):
        table.add_column(heading, overflow="fold")
    for heading in ("difference", "95 % CI", "higher/lower", "Wilcoxon p", "permutation p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for verdict in found.verdicts:
        test = verdict.test
        table.add_row(
            verdict.metric,
            verdict.region,
            verdict.first,
            verdict.second,
            f"{test.mean_difference:+.4f}",
            f"{test.ci95[0]:+.4f} {test.ci95[1]:+.4f}",
            f"{test.higher}/{test.lower}",
            f"{verdict.wilcoxon_holm:.4g}",
            f"{verdict.permutation_holm:.4g}",
        )
    return table
