"""Files of command-line arguments in `configs/args`: whether stock MONAI takes from them what is meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from medseg.bundle import ids
from medseg.bundle.compose import LAYERS, Composition
from medseg.bundle.documents import Document, read_document
from medseg.bundle.findings import Finding
from medseg.errors import ConfigError

_RUN = "run_id init_id final_id meta_file config_file logging_file tracking args_file workflow_name workflow_type"
_RUN_ARGUMENTS = frozenset(_RUN.split())


def argument_files(root: Path, compositions: Iterable[Composition]) -> Iterator[Finding]:
    """Files of command-line arguments that name missing files, or keys that MONAI would ignore."""
    known = {c.workflow: c.config for c in compositions}
    for path in sorted((root / "configs" / "args").glob("*")):
        shown = path.relative_to(root)
        try:
            document = read_document(path)
        except ConfigError as error:
            yield Finding(str(shown), str(error).replace(f"{root}/", ""))
            continue
        listed = document.content.get("config_file", [])
        for n, name in enumerate(listed if isinstance(listed, list) else [listed]):
            if not (root / str(name)).is_file():
                line = document.lines.get(f"config_file::{n}", document.lines.get("config_file", 1))
                yield Finding(f"{shown}:{line}: config_file", f"the bundle has no file {name!r}.")
        yield from _order(document, path, shown)
        config = known.get(path.stem)
        for key in document.content if config is not None else ():
            if key not in _RUN_ARGUMENTS and not ids.contains(config, str(key)):
                close = ids.nearest_id(config or {}, str(key))
                hint = f" Did you mean {close!r}?" if close else ""
                where = f"{shown}:{document.lines.get(str(key), 1)}: {key}"
                yield Finding(where, f"the config has no such key, and MONAI would say nothing.{hint}")


def _order(document: Document, path: Path, shown: Path) -> Iterator[Finding]:
    """Configs in another order than that in which they lie over one another."""
    listed = document.content.get("config_file")
    wanted = LAYERS.get(path.stem, ())
    stems = [Path(str(name)).stem for name in listed] if isinstance(listed, list) else []
    ranks = [(n, wanted.index(stem)) for n, stem in enumerate(stems) if stem in wanted]
    present = {p.stem for p in path.parent.parent.glob("*.*") if p.suffix in (".yaml", ".yml", ".json")}
    for name in wanted if ranks else ():
        if name not in stems and name in present:
            line = document.lines.get("config_file", 1)
            yield Finding(f"{shown}:{line}: config_file", f"{name} is missing. Wanted: {', '.join(wanted)}.")
    for (_, before), (n, after) in pairwise(ranks):
        if after < before:
            line = document.lines.get(f"config_file::{n}", document.lines.get("config_file", 1))
            message = (
                f"{wanted[after]} comes after {wanted[before]}, and would lie over it. Wanted: {', '.join(wanted)}."
            )
            yield Finding(f"{shown}:{line}: config_file", message)
