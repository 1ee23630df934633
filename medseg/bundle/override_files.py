"""`@FILE` on the command line: a file whose keys are overrides, such as a plan; a bundle's own by name."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from medseg.bundle.documents import read_document
from medseg.errors import ConfigError

PLANS = "configs/plans"  # in a bundle
_SUFFIXES = (".yaml", ".yml", ".json")


def is_override_file(token: str) -> bool:
    """Whether the token names a file of overrides.

    >>> is_override_file("@plan.yaml"), is_override_file("epochs=20")
    (True, False)
    """
    return token.startswith("@") and "=" not in token and token.endswith(_SUFFIXES)


def spread(
    tokens: Sequence[str], *, keys: Collection[str], elsewhere: Collection[str], plans: Path = Path(PLANS)
) -> list[str]:
    """The tokens, with every `@FILE` replaced by a `KEY=VALUE` for each of its keys.

    Args:
        tokens: From the command line.
        keys: Top-level keys of the config that they are meant for.
        elsewhere: Keys of the bundle's other workflows: what a file has for these is left out.
        plans: Folder of the bundle's own files, where one that is not found is looked for by its name.

    Raises:
        ConfigError: When a file is not there or cannot be read.
    """
    found: list[str] = []
    for token in tokens:
        if not is_override_file(token):
            found.append(token)
            continue
        content = read_document(_file(token, plans)).content
        found += [_token(key, value) for key, value in content.items() if key in keys or key not in elsewhere]
    return found


def _file(token: str, plans: Path) -> Path:
    path = Path(token[1:]).expanduser()
    for file in (path, plans / path):
        if file.is_file():
            return file
    there = ", ".join(f"@{file.name}" for file in sorted(plans.glob("*")) if file.suffix in _SUFFIXES)
    msg = f"{token}: there is no file {path}. Check the path behind the @."
    raise ConfigError(f"{msg} The bundle's own: {there}." if there else msg)


def _token(key: str, value: object) -> str:
    evaluated = isinstance(value, str) and value[:1] in ("$", "@", "%")
    return f"{key}={value if evaluated else json.dumps(value)}"
