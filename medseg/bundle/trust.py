"""Whether a bundle may run: what it can execute is listed, and refused unless the user trusts this very content.

Nobody's bundle is trusted for its name or its place. A bundle whose config stays within the table of `allowed.py` and
the grammar of `grammar.py` needs no trust, whoever made it; `docs/security.md` says what that does not cover.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

from medseg.bundle import ids
from medseg.bundle.allowed import config_home
from medseg.bundle.check import require_clean
from medseg.bundle.compose import Composition
from medseg.bundle.documents import read_document
from medseg.bundle.findings import printable
from medseg.bundle.logging_files import logging_powers
from medseg.bundle.pickles import pickle_powers
from medseg.bundle.powers import Power, config_powers
from medseg.errors import ConfigError, TrustError
from medseg.record import write_text_atomically

_META = "_meta_"
# What a run leaves in a bundle's folder is no part of the bundle.
_NOT_OURS = frozenset({"runs", "eval", "__pycache__", ".git"})
_CODE = frozenset({".py", ".pyd", ".so", ".dylib", ".dll", ".zip", ".egg"})
_BLOCK = 1 << 20


def bundle_powers(composition: Composition) -> list[Power]:
    """Everything that the composed config, the metadata and the other files of the bundle can execute."""
    root = composition.bundle_root
    meta = read_document(root / "configs" / "metadata.json")
    found = config_powers({**composition.config, _META: meta.content})
    if _META in composition.config:
        # MONAI puts the metadata there, but not for every verb.
        found.append(Power(_META, "hides behind the key that the metadata takes"))
    lines = {f"{_META}{ids.SEP}{id_}": f"configs/metadata.json:{line}" for id_, line in meta.lines.items()}
    placed = [replace(power, id_=_where(composition, lines, power.id_)) for power in found]
    files = [Power(where, what) for where, what in (*logging_powers(root), *pickle_powers(root))]
    return list(dict.fromkeys([*placed, *files]))


def require_trust(composition: Composition, *, trust: bool = False) -> bool:
    """Refuses a bundle that can execute what it should not, unless it is trusted.

    Args:
        composition: The composed config, presets and overrides included.
        trust: Whether the user says so now. Remembered for this content of the bundle's files, presets and run.

    Returns:
        Whether the bundle ran on trust.

    Raises:
        TrustError: With what the bundle can execute, one line each.
        ConfigError: When all of that are components of known packages that do not exist.
    """
    powers = bundle_powers(composition)
    if not powers:
        return False
    mark = fingerprint(composition, powers)
    if trust:
        _remember(mark, composition.name)
    elif mark not in _remembered():
        if all(power.absent for power in powers):
            require_clean(composition)  # says what was probably meant
        name = printable(composition.name)
        items = tuple(printable(f"{power.id_}: {power.what}") for power in powers)
        msg = (
            f"{name}: the bundle can execute {len(items)} thing{'s' * (len(items) != 1)} not known "
            "to be harmless, so it does not run. Read them; if you trust whoever wrote them, add --trust."
        )
        raise TrustError(msg, items)
    return True


def fingerprint(composition: Composition, powers: list[Power]) -> str:
    """The sha256 that trust is remembered by.

    It covers every file of the bundle but what runs leave in it, its code wherever that is, the presets and the run
    that were laid over it, and, of the overrides on the command line, those that can execute something.
    """
    root, digest = composition.bundle_root, hashlib.sha256()
    for path in sorted(root.rglob("*")):
        shown = path.relative_to(root)
        if path.is_file() and (path.suffix.lower() in _CODE or not _NOT_OURS.intersection(shown.parts)):
            digest.update(f"{shown.as_posix()}\0{_sha256(path)}\0".encode())
    others = {d.path for d in composition.sources.values() if not d.path.is_relative_to(root)}
    for text in sorted({_sha256(path) for path in others}):
        digest.update(f"{text}\0".encode())
    for power in powers:
        if power.id_.startswith("override"):
            digest.update(f"{power.id_}\0{power.what}\0".encode())
    return digest.hexdigest()


def remember(composition: Composition) -> None:
    """Trusts this content from now on; for a run that a trusted bundle has made."""
    powers = bundle_powers(composition)
    if powers:
        _remember(fingerprint(composition, powers), composition.name)


def _where(composition: Composition, lines: dict[str, str], id_: str) -> str:
    if not id_.startswith(_META + ids.SEP):
        return composition.where(id_)
    parts = id_.split(ids.SEP)
    known = (lines.get(ids.SEP.join(parts[:n])) for n in range(len(parts), 0, -1))
    return f"{next(filter(None, known), 'configs/metadata.json')}: {id_.removeprefix(_META + ids.SEP)}"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in _blocks(file):
            digest.update(block)
    return digest.hexdigest()


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _store() -> Path:
    return config_home() / "trusted.json"


def _remembered() -> dict[str, dict[str, str]]:
    path = _store()
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{path}: the list of trusted bundles cannot be read ({error}). Mend or delete it."
        raise ConfigError(msg) from error
    return content if isinstance(content, dict) else {}


def _remember(mark: str, name: str) -> None:
    entry = {"bundle": name, "trusted": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    path = _store()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{path.parent}: cannot be made ({error.strerror}), so trust cannot be remembered. Set XDG_CONFIG_HOME."
        raise ConfigError(msg) from error
    write_text_atomically(path, json.dumps({**_remembered(), mark: entry}, indent=1) + "\n")
