"""How a demo shows its steps: numbered, timed, each with the command that does the same."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer

STEPS = 6


@contextmanager
def step(number: int, title: str) -> Iterator[None]:
    """Prints the title, and the seconds when the step is done."""
    started = time.monotonic()
    typer.echo(f"\n[{number}/{STEPS}] {title}")
    yield
    typer.echo(f"      {time.monotonic() - started:.0f} s")


def show(*words: object) -> None:
    """Prints the shell command that does the same."""
    typer.echo("      $ medseg " + shlex.join(str(word) for word in words))


def options(settings: Mapping[str, Any]) -> list[str]:
    """The settings as options of a command."""
    return [word for key, value in settings.items() for word in (f"--{key}", str(value))]


def overrides(settings: Mapping[str, Any]) -> list[str]:
    """The settings as overrides of a config."""
    return [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.items()]
