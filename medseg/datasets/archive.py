"""Unpack what strangers packed: nothing is written outside the folder, no link is made, no bomb goes off.

Every name is checked before a byte is written, and bytes are counted as they are unpacked, not as the archive announces
them. One bad entry refuses the whole archive.
"""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from medseg.errors import DataError

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_BLOCK = 1 << 20
_LONG_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_UTF8 = 0x800  # bit 11 of a zip entry's flags: its name is UTF-8
_ENCRYPTED = 0x1


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What an archive may unpack to."""

    n_bytes: int
    n_members: int


@dataclass(frozen=True, kw_only=True)
class _Member:
    name: str
    is_folder: bool
    fault: str
    open: Callable[[], IO[bytes]]


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
    folder.mkdir(parents=True)
    try:
        return _unpack(archive, folder, bounds)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        msg = f"{archive.name}: could not be unpacked ({error.strerror or error}). Free some space, then try again."
        raise DataError(msg) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _unpack(archive: Path, folder: Path, bounds: Bounds) -> int:
    seen: dict[str, bool] = {}
    n_members = n_files = n_bytes = 0
    with _members(archive) as members:
        for member in members:
            n_members += 1
            parts = _safe_parts(member, archive)
            if n_members > bounds.n_members:
                msg = f"{archive.name}: more than {bounds.n_members} entries. Not unpacked: this is not the dataset."
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


def _write(member: _Member, target: Path, archive: Path, *, room: int) -> int:
    written = 0
    with member.open() as source, target.open("xb") as stream:
        while block := source.read(_BLOCK):
            written += len(block)
            if written > room:
                msg = f"{archive.name}: unpacks to more than a dataset of its length can. Not unpacked: a bomb?"
                raise DataError(msg)
            stream.write(block)
    return written


def _safe_parts(member: _Member, archive: Path) -> tuple[str, ...]:
    """The parts of a name that stays inside, whatever system reads it.

    Raises:
        DataError: Otherwise.
    """
    name = member.name
    fault = member.fault or _fault_of_name(name)
    if fault:
        shown = name.encode("unicode_escape").decode("ascii")[:120]
        msg = f"{archive.name}: entry {shown!r} {fault}. Not unpacked; get the archive from its own page."
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


def _remember(parts: tuple[str, ...], member: _Member, seen: dict[str, bool], archive: Path) -> None:
    """Refuse a name twice, also where a disk takes two spellings for one.

    Raises:
        DataError: With the name.
    """
    keys = [unicodedata.normalize("NFC", "/".join(parts[: end + 1])).casefold() for end in range(len(parts))]
    if not keys and member.is_folder:
        return
    inside_file = any(seen.get(key) is False for key in keys[:-1])
    if not keys or inside_file or (keys[-1] in seen and not (member.is_folder and seen[keys[-1]])):
        msg = f"{archive.name}: entry {member.name!r} comes twice. Not unpacked; get the archive from its own page."
        raise DataError(msg)
    seen.update(dict.fromkeys(keys[:-1], True))
    seen[keys[-1]] = member.is_folder


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    """The entries of an archive, in its order.

    Raises:
        DataError: When it is damaged or no archive.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                yield _zip_members(opened)
        else:
            with tarfile.open(archive, encoding="utf-8", errorlevel=2, tarinfo=_Header) as tar:
                yield _tar_members(tar)
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
        msg = f"{archive.name}: damaged, or no zip or tar archive ({reason}). Get it again."
        raise DataError(msg) from error


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        mode = info.external_attr >> 16
        yield _Member(
            name=info.orig_filename,
            is_folder=info.is_dir(),
            fault=_fault_of_zip(info, stat.S_IFMT(mode)),
            open=lambda info=info: archive.open(info),  # type: ignore[misc]
        )


def _fault_of_zip(info: zipfile.ZipInfo, kind: int) -> str:
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if not info.flag_bits & _UTF8 and not info.orig_filename.isascii():
        return "has a name that is not marked as UTF-8"
    return ""


class _Header(tarfile.TarInfo):
    """A tar header; tarfile holds the long ones (names, attributes) in memory whole, so they are bounded here."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        """The header in a block.

        Raises:
            ReadError: When it announces more than any name needs.
        """
        header = super().frombuf(buf, encoding, errors)
        if header.type in _LONG_HEADERS and header.size > _BLOCK:
            msg = f"a header of {header.size} bytes"
            raise tarfile.ReadError(msg)
        return header


def _tar_members(archive: tarfile.TarFile) -> Iterator[_Member]:
    for info in archive:
        yield _Member(
            name=info.name,
            is_folder=info.isdir(),
            fault="" if info.isfile() or info.isdir() else "is a link or a device",
            open=lambda info=info: _tar_stream(archive, info),  # type: ignore[misc]
        )
    _check_end(archive)


def _tar_stream(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(info)
    if stream is None:
        msg = f"{info.name} has no content"
        raise tarfile.ReadError(msg)
    return stream


def _check_end(archive: tarfile.TarFile) -> None:
    """Refuse a tar cut between two entries: tarfile takes that for its end.

    Raises:
        ReadError: When the block of zeros that ends a tar is missing.
    """
    stream = archive.fileobj
    if stream:
        stream.seek(archive.offset)
    if stream and stream.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        msg = "it is cut short"
        raise tarfile.ReadError(msg)
