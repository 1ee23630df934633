"""`medseg compare`: runs side by side, with tests."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli.failure import Traceback

if TYPE_CHECKING:
    from rich.table import Table

    from medseg.benchmark.comparison import Comparison
    from medseg.benchmark.scores import RunScores

_WIDE = 200  # columns where there is no terminal
_NAMED = 3  # ids that are printed of a run's cases that another lacks
_NAME = 7  # columns that a name keeps at least; a longer one is folded


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
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDE  # nothing is folded for a pipe
    console.print(_table(found))
    if found.left_out:
        typer.echo(_left_out(found, output))
    if found.verdicts:
        console.print(_verdict_table(found))
        typer.echo("Verdict:")
        for verdict in found.verdicts:
            typer.echo(f"  {verdict.metric}, {verdict.region}: {verdict.text}")
    if output:
        write_text_atomically(output, json.dumps(found.to_json(), indent=2, allow_nan=False) + "\n")
        typer.echo(f"All of it in {output}")


def _left_out(found: Comparison, output: Path | None) -> str:
    """How many cases each run lost to `--common`, the first few of them, and where all of them stand."""
    told = [
        f"{len(ids)} of {run} ({', '.join(ids[:_NAMED])}{', ...' if len(ids) > _NAMED else ''})"
        for run, ids in found.left_out.items()
    ]
    longer = any(len(ids) > _NAMED for ids in found.left_out.values())
    where = f"; all ids: left_out in {output or 'the file of -o FILE'}" if longer else ""
    return f"paired on {len(found.cases)} cases; left out: {'; '.join(told)}{where}"


def _read(word: str) -> RunScores:
    from medseg.benchmark.scores import read_scores

    named = re.fullmatch(r"([^=/\\]+)=(.+)", word)
    if named and not Path(word).exists():
        return read_scores(named[2], name=named[1])
    return read_scores(word)


def _table(found: Comparison) -> Table:
    rows = []
    for row in found.rows:
        whole = row.scores.over_cases
        spread = row.scores.between_seed_sd
        rows.append(
            {
                "metric": row.metric,
                "region": row.region,
                "run": row.run,
                "mean": f"{whole.mean:.4f}",
                "95 % CI": f"{whole.ci95[0]:.4f}-{whole.ci95[1]:.4f}",
                "SD": "" if whole.sd is None else f"{whole.sd:.4f}",
                "median": f"{whole.median:.4f}",
                "SD of\nseeds": "" if spread is None else f"{spread:.4f} ({len(row.scores.seed_means)})",
                "rank": f"{row.rank.rank:g} [{row.rank.ci95[0]:g}, {row.rank.ci95[1]:g}]",
                "first\nin": f"{100 * row.rank.best_share:.0f} %",
                "worst": str(row.n_worst or ""),
            }
        )
    return _printed(rows, title=f"{len(found.cases)} cases", names=("metric", "region", "run"))


def _verdict_table(found: Comparison) -> Table:
    rows = [
        {
            "metric": verdict.metric,
            "region": verdict.region,
            "first": verdict.first,
            "second": verdict.second,
            "differ-\nence": f"{verdict.test.mean_difference:+.4f}",
            "95 % CI": f"{verdict.test.ci95[0]:+.4f} {verdict.test.ci95[1]:+.4f}",
            "higher/\nlower": f"{verdict.test.higher}/{verdict.test.lower}",
            "Wilcoxon\np": f"{verdict.wilcoxon_holm:.2g}",
            "permut.\np": f"{verdict.permutation_holm:.2g}",
        }
        for verdict in found.verdicts
    ]
    title = "Paired tests, first minus second; p corrected by Holm"
    return _printed(rows, title=title, names=("metric", "region", "first", "second"))


def _printed(rows: list[dict[str, str]], *, title: str, names: tuple[str, ...]) -> Table:
    """A table that fits into 80 columns: names are folded, a column without a value is left out."""
    from rich.table import Table

    table = Table(title=title, box=None, pad_edge=False, collapse_padding=True)
    shown = [heading for heading in rows[0] if any(row[heading] for row in rows)]
    for heading in shown:
        if heading in names:
            longest = max(len(row[heading]) for row in rows)
            table.add_column(heading, overflow="fold", min_width=min(_NAME, longest))
        else:
            table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(row[heading] for heading in shown))
    return table
