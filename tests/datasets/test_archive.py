import io
import os
import random
import stat
import tarfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from medseg.datasets import archive, incoming
from medseg.datasets.archive import Bounds, is_archive
from medseg.datasets.connection import Answer
from medseg.datasets.specs import FileSpec
from medseg.datasets.transfer import Rules
from medseg.errors import DataError

ROOM = Bounds(n_bytes=1_000_000, n_members=100)


@pytest.fixture(params=["from the disk", "while it comes"], autouse=True)
def way(request, monkeypatch):
    """Every test of this file holds for an archive on the disk and for one that is unpacked while it comes."""
    monkeypatch.setitem(WAY, "unpack", archive.unpack if request.param == "from the disk" else unpack_as_it_comes)
    monkeypatch.setattr(incoming, "open_url", open_file)


WAY = {}


def unpack(path, folder, *, bounds):
    return WAY["unpack"](path, folder, bounds=bounds)


def unpack_as_it_comes(path, folder, *, bounds):
    file = FileSpec(name=path.name, urls=(str(path),), n_bytes=path.stat().st_size)
    with incoming.Incoming(file, rules=Rules(), on_bytes=lambda _: None) as source:
        archive.unpack_incoming(source, folder, bounds=bounds)
    return sum(file.is_file() for file in folder.rglob("*"))


@contextmanager
def open_file(url, *, offset, validator, timeout_s, hosts):
    """A file of the disk as a server would give it."""
    content = Path(url).read_bytes()
    yield Answer(response=io.BytesIO(content[offset:]), offset=offset, total=len(content), validator=validator)


def make_tar(path, *members, mode="w"):
    """A tar of (name, content or a change to its TarInfo)."""
    with tarfile.open(path, mode, encoding="utf-8") as made:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if callable(content):
                content(info)
                made.addfile(info)
            else:
                info.size = len(content)
                made.addfile(info, io.BytesIO(content))
    return path


def make_zip(path, *members):
    """A zip of (name, content, change to its ZipInfo or None)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content, change in members:
            info = zipfile.ZipInfo("placeholder")
            info.filename = info.orig_filename = name
            info.compress_type = zipfile.ZIP_DEFLATED
            if change:
                change(info)
            made.writestr(info, content)
    return path


def kind(type_, target=""):
    def change(info):
        info.type, info.linkname = type_, target

    return change


def unix_mode(mode):
    def change(info):
        info.external_attr = mode << 16

    return change


def all_files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_unpacked(tmp_path, mode):
    path = make_tar(tmp_path / "a.tar", ("t/dataset.json", b"{}"), ("t/imagesTr/a.nii.gz", b"scan"), mode=mode)
    assert unpack(path, tmp_path / "out", bounds=ROOM) == 2
    assert (tmp_path / "out/t/imagesTr/a.nii.gz").read_bytes() == b"scan"


def test_a_zip_is_unpacked(tmp_path):
    path = make_zip(tmp_path / "a.zip", ("s/", b"", None), ("s/ü.mhd", b"head", None), ("s/a.raw", b"raw", None))
    assert unpack(path, tmp_path / "out", bounds=ROOM) == 2
    assert (tmp_path / "out/s/ü.mhd").read_bytes() == b"head"


def test_resource_forks_are_left_out(tmp_path):
    path = make_tar(tmp_path / "a.tar", ("t/._a.nii.gz", b"fork"), ("__MACOSX/x", b"fork"), ("t/a.nii.gz", b"scan"))
    assert unpack(path, tmp_path / "out", bounds=ROOM) == 1
    assert all_files(tmp_path / "out") == ["t", "t/a.nii.gz"]


def test_nothing_runs_or_belongs_to_another_user(tmp_path):
    path = make_zip(tmp_path / "a.zip", ("run.sh", b"#!/bin/sh", unix_mode(stat.S_IFREG | 0o6777)))
    unpack(path, tmp_path / "out", bounds=ROOM)
    assert (tmp_path / "out/run.sh").stat().st_mode & 0o7111 == 0


BAD_NAMES = {
    "climbs": "../evil",
    "climbs in the middle": "a/../../evil",
    "climbs at the end": "a/..",
    "absolute": "/tmp/evil-absolute",
    "doubly absolute": "//evil",
    "drive": "C:/evil",
    "stream": "a:evil",
    "backslash": "..\\evil",
    "new line": "a\nevil",
    "escape sequence": "a\x1b[2Jevil",
    "right to left": "a\u202egpj.exe",
    "too long": "a" * 300,
}


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES.keys())
@pytest.mark.parametrize("make", ["tar", "zip"])
def test_names_that_lead_out_are_refused(tmp_path, name, make):
    path = tmp_path / f"bad.{make}"
    if make == "tar":
        make_tar(path, ("fine", b"fine"), (name, b"evil"))
    else:
        make_zip(path, ("fine", b"fine", None), (name, b"evil", None))
    refused(tmp_path, path, r"bad\.(tar|zip): entry .* Not unpacked")


def refused(tmp_path, path, match, bounds=ROOM):
    """The archive is refused, nothing of it is left, and nothing beside it has changed."""
    (tmp_path / "victim").write_text("intact")
    before = all_files(tmp_path)
    with pytest.raises(DataError, match=match) as told:
        unpack(path, tmp_path / "out", bounds=bounds)
    assert "\n" not in str(told.value)
    assert all_files(tmp_path) == before
    assert (tmp_path / "victim").read_text() == "intact"
    assert not os.path.lexists("/tmp/evil-absolute")


TAR_KINDS = {
    "link out": kind(tarfile.SYMTYPE, "../victim"),
    "link to root": kind(tarfile.SYMTYPE, "/etc/passwd"),
    "link inside": kind(tarfile.SYMTYPE, "fine"),
    "hard link out": kind(tarfile.LNKTYPE, "../victim"),
    "hard link to root": kind(tarfile.LNKTYPE, "/etc/passwd"),
    "character device": kind(tarfile.CHRTYPE),
    "block device": kind(tarfile.BLKTYPE),
    "pipe": kind(tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("change", TAR_KINDS.values(), ids=TAR_KINDS.keys())
def test_links_and_devices_in_a_tar_are_refused(tmp_path, change):
    path = make_tar(tmp_path / "bad.tar", ("fine", b"fine"), ("link", change), ("link/evil", b"evil"))
    refused(tmp_path, path, "'link' is a link or a device")


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, mode):
    path = make_zip(tmp_path / "bad.zip", ("link", b"../victim", unix_mode(mode | 0o777)))
    refused(tmp_path, path, "'link' is a link or a device")


@pytest.mark.parametrize(
    "names",
    [("a", "a"), ("a/b", "a/./b"), ("Case/a", "case/A"), ("\u00e9", "e\u0301"), ("a", "a/b"), ("a/b", "a")],
    ids=["same", "dot", "letter case", "accents", "file then folder", "folder then file"],
)
def test_a_name_twice_is_refused(tmp_path, names):
    path = make_tar(tmp_path / "bad.tar", *((name, b"x") for name in names))
    refused(tmp_path, path, "comes twice")


def test_a_folder_may_come_twice(tmp_path):
    folder = kind(tarfile.DIRTYPE)
    path = make_tar(tmp_path / "a.tar", ("./", folder), ("a", folder), ("a/b", b"x"), ("a", folder), ("./", folder))
    assert unpack(path, tmp_path / "out", bounds=ROOM) == 1


def test_names_that_are_no_utf8_are_refused(tmp_path):
    path = tmp_path / "bad.tar"
    make_tar(path, ("QQQ", b"x"))
    raw = bytearray(path.read_bytes())
    raw[0:3] = b"\xff\xfe\xfd"
    raw[148:156] = b"%06o\0 " % (sum(raw[:148]) + 8 * 32 + sum(raw[156:512]))
    path.write_bytes(raw)
    refused(tmp_path, path, "not readable UTF-8")
    path = make_zip(tmp_path / "bad.zip", ("QQQ", b"x", None))
    path.write_bytes(path.read_bytes().replace(b"QQQ", b"\xff\xfe\xfd"))
    refused(tmp_path, path, "not marked as UTF-8")


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_a_bomb_stops_at_its_bound(tmp_path, suffix):
    path, zeros = tmp_path / f"bomb.{suffix}", bytes(3_000_000)
    if suffix == "zip":
        make_zip(path, ("zeros", zeros, None))
    else:
        make_tar(path, ("zeros", zeros), mode="w:gz")
    assert path.stat().st_size < 20_000
    refused(tmp_path, path, "a bomb")


def test_a_zip_that_lies_about_its_length_is_still_counted(tmp_path):
    path = make_zip(tmp_path / "bomb.zip", ("zeros", bytes(3_000_000), None))
    size = (3_000_000).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, (10).to_bytes(4, "little")))
    refused(tmp_path, path, "damaged|a bomb")


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path):
    def change(info):
        info.pax_headers = {"comment": "x" * 3_000_000}

    path = make_tar(tmp_path / "bomb.tar.gz", ("fine", b"x"), ("a", change), mode="w:gz")
    assert path.stat().st_size < 20_000
    refused(tmp_path, path, "a header of 30000.. bytes")


def test_too_many_entries_are_refused(tmp_path):
    path = make_tar(tmp_path / "bomb.tar", *((f"{index}", b"") for index in range(101)))
    refused(tmp_path, path, "more than 100 entries")


def test_an_encrypted_zip_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", ("a", b"secret", None))
    raw = path.read_bytes()
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = raw.index(mark) + at
        raw = raw[:place] + bytes([raw[place] | 1]) + raw[place + 1 :]
    path.write_bytes(raw)
    refused(tmp_path, path, "is encrypted")


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
def test_a_damaged_archive_is_unpacked_right_or_not_at_all(tmp_path, name):
    draw = random.Random(5)
    contents = {f"t/{index}.nii.gz": draw.randbytes(3000) for index in range(4)}
    path = tmp_path / name
    if name.endswith("zip"):
        make_zip(path, *((key, value, None) for key, value in contents.items()))
    else:
        make_tar(path, *contents.items(), mode="w:gz" if name.endswith("gz") else "w")
    whole = path.read_bytes()
    refusals = 0
    for step in range(60):
        path.write_bytes(whole[: draw.randrange(len(whole))])
        out = tmp_path / f"out{step}"
        try:
            unpack(path, out, bounds=ROOM)
        except DataError:
            refusals += 1
            assert not out.exists()
        else:  # only the zeros that a tar is padded with were cut
            assert {f"t/{file.name}": file.read_bytes() for file in (out / "t").iterdir()} == contents
    assert refusals > 25


def test_what_is_no_archive_is_told(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(b"<html>Please log in</html>")
    refused(tmp_path, path, "a.zip: damaged, or no zip or tar archive")
    assert is_archive(path)
    assert not is_archive(tmp_path / "a.nii.gz")
