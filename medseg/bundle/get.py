"""Bundles that come as a zip, and the large files that a bundle only lists: nothing leaves its folder, hashes hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from medseg.bundle import ids
from medseg.bundle.documents import read_document
from medseg.bundle.files import path_fault
from medseg.bundle.find import find_bundle, is_bundle
from medseg.datasets.archive import Bounds, unpack
from medseg.datasets.specs import FileSpec
from medseg.datasets.transfer import Rules, fetch
from medseg.errors import ConfigError

_HASHES = ("sha256", "md5")
# A bundle is some text and at most one network of weights.
_BOUNDS = Bounds(n_bytes=20 * 2**30, n_members=10_000)


def get_bundle(
    source: str | Path, folder: Path | None = None, *, rules: Rules | None = None, says: Callable[[str], None] = print
) -> Path:
    """Unpacks a bundle if it comes as a zip, and fetches the large files that it lists.

    Args:
        source: Name or path of a bundle, or a zip of one.
        folder: Where a zip is unpacked to; a folder beside it, named like it, when None.
        rules: How patient the transfers are.
        says: Told what came.

    Returns:
        The bundle's folder.

    Raises:
        ConfigError: For a zip that holds no bundle, and a listed file without hash or with a path that leads elsewhere.
        DataError: For an archive with unsafe entries, and a file that does not come or has another hash.
    """
    path = Path(source).expanduser()
    root = _unpacked(path, folder) if path.suffix.lower() == ".zip" else find_bundle(source)
    for file in large_files(root):
        came_from = fetch(file, root / file.name, rules=rules)
        says(f"{file.name}: {f'came from {came_from}' if came_from else 'is there'}, {str(file.checksum)[:20]}… holds")
    return root


def large_files(root: Path) -> list[FileSpec]:
    """The files that the bundle lists, refused as a whole when one of them must not be fetched.

    Raises:
        ConfigError: For a path outside the bundle, a missing or unknown hash, or an address without TLS.
    """
    path = root / "large_files.yml"
    if not path.is_file():
        return []
    document = read_document(path)
    entries = document.content.get("large_files")
    return [
        _spec(root, entry, f"{path}:{document.lines.get(f'large_files{ids.SEP}{n}', 1)}")
        for n, entry in enumerate(entries if isinstance(entries, list) else [])
    ]


def _spec(root: Path, entry: Any, where: str) -> FileSpec:
    facts = entry if isinstance(entry, dict) else {}
    name, url, kind = str(facts.get("path", "")), str(facts.get("url", "")), facts.get("hash_type")
    fault = path_fault(name)
    if not fault and not (root / name).resolve().is_relative_to(root.resolve()):
        fault = "leads out of the bundle by a link"
    if fault:
        msg = f"{where}: the path {name!r} {fault}. Nothing is fetched."
        raise ConfigError(msg)
    if kind not in _HASHES or not facts.get("hash_val"):
        msg = f"{where}: {name} has no {' or '.join(_HASHES)}, so anything may come. Ask its publisher for one."
        raise ConfigError(msg)
    if not url.startswith("https://"):
        msg = f"{where}: {url!r} is no https:// address. Nothing is fetched."
        raise ConfigError(msg)
    return FileSpec(name=name, urls=(url,), checksum=f"{kind}:{str(facts['hash_val']).lower()}")


def _unpacked(archive: Path, folder: Path | None) -> Path:
    target = (folder or archive.with_suffix("")).expanduser()
    if not archive.is_file():
        msg = f"{archive}: no such file. Give a zip of a bundle."
        raise ConfigError(msg)
    if target.exists():
        msg = f"{target}: is there already. Give another folder with -o."
        raise ConfigError(msg)
    unpack(archive, target, bounds=_BOUNDS)
    found = [p for p in (target, *sorted(target.iterdir())) if p.is_dir() and is_bundle(p)]
    if not found:
        msg = f"{archive}: holds no bundle, there is no configs/metadata.json in it. It is unpacked in {target}."
        raise ConfigError(msg)
    return found[0]
