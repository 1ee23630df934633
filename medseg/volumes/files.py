"""Names of volume files, and writing a file whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")


def volume_suffix(path: str | Path) -> str | None:
    """The volume suffix of a file name in lower case, None when it has none.

    >>> volume_suffix("a.b/case.NII.gz")
    '.nii.gz'
    """
    name = Path(path).name.lower()
    return next((suffix for suffix in VOLUME_SUFFIXES if name.endswith(suffix) and name != suffix), None)


def volume_stem(path: str | Path) -> str:
    """The file name without its volume suffix; without its last suffix when it is no volume.

    >>> volume_stem("scans/case.1_t1.nii.gz")
    'case.1_t1'
    """
    suffix = volume_suffix(path)
    return Path(path).name[: -len(suffix)] if suffix else Path(path).stem


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, with the same suffix, that takes its place when the block ends well.

    The folder is made. When the block raises, the temporary file goes and what stood at `path` stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.tmp.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
