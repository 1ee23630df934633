"""Positional tokens and the `--` that ends overrides."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand

_COUNT = "medseg.tokens.after_dashes"


class TokenCommand(TyperCommand):
    """A command that knows how many of its arguments stood behind `--`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Counts the arguments behind `--` before the parser swallows it."""
        ctx.meta[_COUNT] = len(args) - args.index("--") - 1 if "--" in args else 0
        rest: list[str] = super().parse_args(ctx, args)
        return rest


def after_dashes(ctx: typer.Context) -> int:
    """How many of the positional arguments stood behind `--`."""
    return int(ctx.meta.get(_COUNT, 0))
