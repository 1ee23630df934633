"""Unpack what strangers packed: nothing is written outside the folder, no link is made, no bomb goes off.

Every name is checked before a byte is written, and bytes are counted as they are unpacked, not as the archive announces
them. One bad entry refuses the whole archive. All this holds for an archive on the disk and for one that is unpacked
while it comes.
"""

from __future__ import annotations

import gzip
import lzma
import shutil
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from medseg.datasets.incoming import Incoming
from medseg.datasets.packed import Member, members_in_file, members_in_stream
from medseg.errors import DataError

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What an archive may unpack to."""

    n_bytes: int
    n_members: int


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive that can be unpacked."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def unpack(archive: Path, folder: Path, *, bounds: Bounds) -> int:
    """Unpack into a new folder.

    Args:
        archive: A zip or tar file.
        folder: Made here, and removed again when the archive is refused. Mac resource forks (`._x`, `__MACOSX`) are
            left out.
        bounds: Most bytes and entries.

    Returns:
        How many files were written.

    Raises:
        DataError: When an entry has an unsafe or repeated name, is a link or a device, or is encrypted; when the
            archive is damaged or unpacks to more than its bounds; when the disk is full.
    """
    with _whole_or_gone(folder, archive.name):
        return _unpack(members_in_file(archive), archive.name, folder, bounds)


def unpack_incoming(source: Incoming, folder: Path, *, bounds: Bounds) -> str:
    """Unpack into a new folder what comes from the web, without a copy of the archive.

    Returns:
        Its checksum, as in `FileSpec`.

    Raises:
        DataError: As `unpack`; also when it does not come whole or has another checksum. The folder is removed then.
        NotStreamable: When it is a zip and the server gives no part of a file.
    """
    name = source.file.name
    with _whole_or_gone(folder, name):
        _unpack(members_in_stream(source), name, folder, bounds)
        return source.finish()


@contextmanager
def _whole_or_gone(folder: Path, name: str) -> Iterator[None]:
    """Make a folder, and remove it again when what fills it fails."""
    folder.mkdir(parents=True)
    try:
        yield
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        msg = f"{name}: could not be unpacked ({error.strerror or error}). Free some space, then try again."
        raise DataError(msg) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _unpack(opened: AbstractContextManager[Iterator[Member]], archive: str, folder: Path, bounds: Bounds) -> int:
    seen: dict[str, bool] = {}
    n_members = n_files = n_bytes = 0
    with _damage_told(archive), opened as members:
        for member in members:
            n_members += 1
            parts = _safe_parts(member, archive)
            if n_members > bounds.n_members:
                msg = f"{archive}: more than {bounds.n_members} entries. Not unpacked: this is not the dataset."
                raise DataError(msg)
            if parts and _is_resource_fork(parts):
                continue
            _remember(parts, member, seen, archive)
            target = folder.joinpath(*parts)
            if member.is_folder:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            n_bytes += _write(member, target, archive, room=bounds.n_bytes - n_bytes)
            n_files += 1
    return n_files


def _write(member: Member, target: Path, archive: str, *, room: int) -> int:
    written = 0
    with member.open() as source, target.open("xb") as stream:
        while block := source.read(_BLOCK):
            written += len(block)
            if written > room:
                msg = f"{archive}: unpacks to more than a dataset of its length can. Not unpacked: a bomb?"
                raise DataError(msg)
            stream.write(block)
    return written


def _safe_parts(member: Member, archive: str) -> tuple[str, ...]:
    """The parts of a name that stays inside, whatever system reads it.

    Raises:
        DataError: Otherwise.
    """
    name = member.name
    fault = member.fault or _fault_of_name(name)
    if fault:
        shown = name.encode("unicode_escape").decode("ascii")[:120]
        msg = f"{archive}: entry {shown!r} {fault}. Not unpacked; get the archive from its own page."
        raise DataError(msg)
    return tuple(part for part in PurePosixPath(name).parts if part != ".")


def _fault_of_name(name: str) -> str:
    parts = name.split("/")
    if not name or not name.isprintable():  # bytes that are no UTF-8 come as surrogates, which are not printable
        return "has a name that is not readable UTF-8"
    if name.startswith("/") or "\\" in name or ":" in name:
        return "has an absolute name, a drive or a backslash"
    if ".." in parts:
        return "climbs out of its folder"
    if any(len(part.encode()) > 255 for part in parts) or len(name.encode()) > 2048:
        return "has a name too long for a disk"
    return ""


def _is_resource_fork(parts: tuple[str, ...]) -> bool:
    return parts[0] == "__MACOSX" or parts[-1].startswith("._")


def _remember(parts: tuple[str, ...], member: Member, seen: dict[str, bool], archive: str) -> None:
    """Refuse a name twice, also where a disk takes two spellings for one.

    Raises:
        DataError: With the name.
    """
    keys = [unicodedata.normalize("NFC", "/".join(parts[: end + 1])).casefold() for end in range(len(parts))]
    if not keys and member.is_folder:
        return
    inside_file = any(seen.get(key) is False for key in keys[:-1])
    if not keys or inside_file or (keys[-1] in seen and not (member.is_folder and seen[keys[-1]])):
        msg = f"{archive}: entry {member.name!r} comes twice. Not unpacked; get the archive from its own page."
        raise DataError(msg)
    seen.update(dict.fromkeys(keys[:-1], True))
    seen[keys[-1]] = member.is_folder


@contextmanager
def _damage_told(archive: str) -> Iterator[None]:
    """Errors of the readers in one line.

    Raises:
        DataError: When the archive is damaged or none.
    """
    try:
        yield
    except (
        gzip.BadGzipFile,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        UnicodeError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")  # tarfile lists what it tried
        msg = f"{archive}: damaged, or no zip or tar archive ({reason}). Get it again."
        raise DataError(msg) from error
