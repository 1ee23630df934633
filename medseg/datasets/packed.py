"""What is in a zip or a tar: its entries in the order of their bytes, from a file or while it comes.

Nothing is judged here but what only the format tells: links, devices, encryption, names that are no UTF-8.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from medseg.datasets.incoming import Incoming

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
_PACKED: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda source: gzip.GzipFile(fileobj=source),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}


@dataclass(frozen=True, kw_only=True)
class Member:
    """One entry.

    Attributes:
        name: As the archive has it.
        is_folder: Whether it is one.
        fault: What is wrong with it, empty where nothing is.
        open: Its content.
    """

    name: str
    is_folder: bool
    fault: str
    open: Callable[[], IO[bytes]]


@contextmanager
def members_in_file(archive: Path) -> Iterator[Iterator[Member]]:
    """The entries of an archive, in its order."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield _zip_members(opened)
    else:
        with _Tar.open(archive, encoding="utf-8", errorlevel=2) as tar:
            yield _tar_members(tar)


@contextmanager
def members_in_stream(source: Incoming) -> Iterator[Iterator[Member]]:
    """The entries of an archive that comes, in the order of their bytes."""
    first = source.peek(6)
    if first[:4] in (b"PK\3\4", b"PK\5\6"):
        source.scanning = True
        with zipfile.ZipFile(source) as opened:
            source.scanning = False
            yield _zip_members(opened)
        return
    reader: Any = next((make(source) for magic, make in _PACKED.items() if first.startswith(magic)), source)
    with _Tar.open(fileobj=reader, mode="r|", encoding="utf-8", errorlevel=2) as tar:
        yield _tar_members(tar)
    if reader is not source:
        _read_to_the_end(reader)


def _read_to_the_end(reader: IO[bytes]) -> None:
    """Have the packer's own checksum checked.

    Raises:
        ReadError: When more follows than pads a tar.
    """
    rest = 0
    while block := reader.read(_BLOCK):
        rest += len(block)
        if rest > _BLOCK:
            msg = "more follows its end"
            raise tarfile.ReadError(msg)


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        mode = info.external_attr >> 16
        yield Member(
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
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Header:
        """The next header; the block of zeros that ends a tar is noted."""
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            archive.saw_end = True  # type: ignore[attr-defined]
            raise

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


class _Tar(tarfile.TarFile):
    """A tar that knows whether it ended as one does."""

    tarinfo = _Header
    saw_end = False


def _tar_members(archive: _Tar) -> Iterator[Member]:
    for info in archive:
        yield Member(
            name=info.name,
            is_folder=info.isdir(),
            fault="" if info.isfile() or info.isdir() else "is a link or a device",
            open=lambda info=info: _tar_stream(archive, info),  # type: ignore[misc]
        )
    if not archive.saw_end:  # cut between two entries: tarfile takes that for its end
        msg = "it is cut short"
        raise tarfile.ReadError(msg)


def _tar_stream(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(info)
    if stream is None:
        msg = f"{info.name} has no content"
        raise tarfile.ReadError(msg)
    return stream
