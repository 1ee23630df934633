"""What a prediction reads, and what it writes where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medseg.bundle.compose import Composition
from medseg.errors import ConfigError


def modalities_of(composition: Composition) -> list[str]:
    """The modalities that the network sees, in the order of its channels.

    Raises:
        ConfigError: When the config does not list them.
    """
    modalities = composition.config.get("modalities")
    if "modalities" not in composition.config:
        msg = f"{composition.name}: the config does not say which scan is which channel. Add a key such as "
        msg += "`modalities: [ct]`, with a name for each channel in their order, to its inference config."
        raise ConfigError(msg)
    if not isinstance(modalities, list) or not all(isinstance(name, str) for name in modalities):
        msg = f"{composition.where('modalities')}: {modalities!r} is no list of modalities, such as [t1c, flair]."
        raise ConfigError(msg)
    return modalities


def label_map_of(folder: Path, item: dict[str, Any]) -> Path:
    """Where the label map of a case goes."""
    return folder / f"{item['case_id']}.nii.gz"


def refuse_overwriting(items: Sequence[dict[str, Any]], folder: Path) -> None:
    """Refuses a folder in which a result would take the place of a file that is read.

    Raises:
        ConfigError: With the first such file.
    """
    written = {path for item in items for path in _results_of(folder.expanduser().resolve(), item)}
    for item in items:
        for source in _files_of(item):
            # Replacing either a link or what it leads to loses the scan.
            if not written.isdisjoint((source.parent.resolve() / source.name, source.resolve())):
                msg = f"{source}: is an input (case {item['case_id']}) that a result would replace in {folder}. "
                msg += "Give another folder with -o."
                raise ConfigError(msg)


def stamp_of(path: Path) -> int | None:
    """When the file was written, in nanoseconds; None when it is not there."""
    return path.stat().st_mtime_ns if path.is_file() else None


def _results_of(folder: Path, item: dict[str, Any]) -> Iterator[Path]:
    label_map = label_map_of(folder, item)
    yield label_map
    yield folder / "probabilities" / label_map.name


def _files_of(item: dict[str, Any]) -> Iterator[Path]:
    images = item["image"] if isinstance(item["image"], list) else [item["image"]]
    yield from map(Path, images)
    if "label" in item:
        yield Path(item["label"])
