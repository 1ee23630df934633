"""Where bundles and presets are."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from medseg.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent.parent
_PRESET_SUFFIXES = (".yaml", ".yml", ".json")


def find_bundle(name: str | os.PathLike[str], *, whole: bool = True) -> Path:
    """The root folder of a bundle.

    A path wins; then `$MEDSEG_BUNDLES`, `./bundles` and the bundles that came with medseg are searched by name.

    Args:
        name: Name or path.
        whole: Whether a folder with configs counts only with its metadata.json.

    Raises:
        ConfigError: When no bundle is there; names the nearest one.
    """
    path = Path(name).expanduser()
    if is_bundle(path) or (not whole and any((path / "configs").glob("*.*"))):
        return path.resolve()
    bundles = list_bundles()
    if str(name) in bundles:
        return bundles[str(name)]
    if path.is_dir():
        msg = f"{path}: this folder is no bundle, it has no configs/metadata.json."
        raise ConfigError(msg)
    msg = f"no bundle is named {str(name)!r}. {nearest(str(name), bundles)}"
    raise ConfigError(msg)


def list_bundles() -> dict[str, Path]:
    """Every bundle that a name can reach, by name; the first place that has a name wins."""
    found: dict[str, Path] = {}
    for place in _places("bundles"):
        for meta in sorted(place.glob("*/configs/metadata.json")):
            root = meta.parent.parent
            found.setdefault(root.name, root.resolve())
    return dict(sorted(found.items()))


def is_bundle(path: Path) -> bool:
    """Whether the folder is the root of a bundle."""
    return (path / "configs" / "metadata.json").is_file()


def links_out(root: Path) -> list[Path]:
    """What of a bundle's configs and papers is a link that leads out of the bundle, relative to it."""
    places = [root / name for name in ("LICENSE", "large_files.yml", "configs", "docs")]
    found = [path for place in places for path in (place, *sorted(place.rglob("*"))) if path.is_symlink()]
    return [path.relative_to(root) for path in found if not path.resolve().is_relative_to(root.resolve())]


def require_own_files(root: Path) -> None:
    """Refuses to copy from a bundle what is not its own: a link would put somebody's file into what is handed on.

    Raises:
        ConfigError: With the first link that leads out of the bundle.
    """
    for path in links_out(root):
        msg = f"{root.name}: {path} is a link that leads out of the bundle, to {(root / path).resolve()}. "
        msg += "Put the file itself there."
        raise ConfigError(msg)


def find_preset(name: str | os.PathLike[str]) -> Path:
    """The file of a preset, by path or by name.

    Raises:
        ConfigError: When no preset is there; names the nearest one.
    """
    path = Path(name).expanduser()
    if path.suffix in _PRESET_SUFFIXES and path.is_file():
        return path.resolve()
    presets = list_presets()
    if str(name) in presets:
        return presets[str(name)]
    msg = f"no preset is named {str(name)!r}. {nearest(str(name), presets)}"
    raise ConfigError(msg)


def list_presets() -> dict[str, Path]:
    """Every preset that a name can reach, by name; `./configs/presets` comes before those of medseg."""
    return _configs("presets")


def list_suites() -> dict[str, Path]:
    """Every benchmark suite that a name can reach, by name; `./configs/benchmarks` comes before those of medseg."""
    return _configs("benchmarks")


def _configs(kind: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for place in _places("configs"):
        for path in sorted((place / kind).glob("*")):
            if path.suffix in _PRESET_SUFFIXES:
                found.setdefault(path.stem, path.resolve())
    return dict(sorted(found.items()))


def nearest(name: str, known: dict[str, Path]) -> str:
    """The part of an error that says what was probably meant."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(known)}." if known else "None is installed; give a path."


def _places(folder: str) -> Iterator[Path]:
    if folder == "bundles":
        yield from (Path(p).expanduser() for p in os.environ.get("MEDSEG_BUNDLES", "").split(os.pathsep) if p)
    yield Path(folder)
    yield _PACKAGE / "_share" / folder
    # An editable install: the repository's own folder lies next to the package.
    if (_PACKAGE.parent / "pyproject.toml").is_file():
        yield _PACKAGE.parent / folder
