"""Archives that are unpacked while they come, from a server that misbehaves as told."""

import errno
import hashlib
import io
import random
import shutil
import tarfile
import zipfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from medseg.datasets.archive import Bounds, unpack_incoming
from medseg.datasets.download import get_dataset
from medseg.datasets.incoming import Incoming, NotStreamable
from medseg.datasets.shelf import read_record, staging_of
from medseg.datasets.specs import DatasetSpec
from medseg.datasets.transfer import Stopped
from medseg.datasets.watch import Watch
from medseg.errors import DataError

ROOM = Bounds(n_bytes=10_000_000, n_members=100)


def packed(kind, contents):
    """The bytes of an archive."""
    made = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
        return made.getvalue()
    with tarfile.open(fileobj=made, mode=f"w{kind.removeprefix('tar').replace('.', ':')}") as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def contents_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def scans():
    draw = random.Random(4)
    return {f"imagesTr/c{index}.nii.gz": draw.randbytes(9_000) for index in range(5)}


def stream(file, folder, rules):
    with Incoming(file, rules=rules, on_bytes=lambda _: None) as source:
        return unpack_incoming(source, folder, bounds=ROOM)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_an_archive_is_unpacked_without_a_copy(site, rules, spec_of, tmp_path, scans, kind):
    content = packed(kind, scans)
    file = spec_of(content, site.put("/a", content, "cut:7000", "cut:11000", "ok"), name="a", checksum="sha256")
    assert stream(file, tmp_path / "out", rules) == file.checksum
    assert contents_of(tmp_path / "out") == scans
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert site.bodies("/a")[-1][0].startswith("bytes=")  # a cut connection was gone on with


def test_a_wrong_checksum_leaves_nothing(site, rules, spec_of, tmp_path, scans):
    content = packed("tar", scans)
    file = replace(spec_of(content, site.put("/a", content), name="a.tar"), checksum="md5:" + "0" * 32)
    with pytest.raises(DataError, match="a.tar: its md5 is [0-9a-f]{32}, 0{32} is published"):
        stream(file, tmp_path / "out", rules)
    assert list(tmp_path.iterdir()) == []


def test_another_version_is_not_glued(site, rules, spec_of, tmp_path, scans):
    content, other = packed("tar", scans), packed("tar", dict.fromkeys(scans, b"x"))
    url = site.put("/v", content, "cut:20000", "ok")
    file = spec_of(content, url, name="a.tar", checksum=None, length=False)
    with Incoming(file, rules=rules, on_bytes=lambda _: None) as source:
        source.peek(6)
        site.files["/v"] = other
        with pytest.raises(DataError, match="the file has changed on the server"):
            unpack_incoming(source, tmp_path / "out", bounds=ROOM)
    assert not (tmp_path / "out").exists()


def test_without_a_checksum_no_other_mirror_goes_on(site, rules, spec_of, tmp_path, scans):
    content = packed("tar", scans)
    urls = site.put("/m1", content, "cut:20000", "404"), site.put("/m2", content)
    with pytest.raises(DataError, match="no address gave it"):
        stream(spec_of(content, *urls, name="a.tar", checksum=None), tmp_path / "out", rules)
    site.put("/m1", content, "cut:20000", "404")
    stream(spec_of(content, *urls, name="a.tar"), tmp_path / "out", rules)
    assert contents_of(tmp_path / "out") == scans


def test_a_zip_needs_parts_and_a_length(site, rules, spec_of, tmp_path, scans):
    content = packed("zip", scans)
    for mood in ("norange", "chunked"):
        with pytest.raises(NotStreamable):
            stream(spec_of(content, site.put("/n", content, mood), length=False), tmp_path / "out", rules)
    assert list(tmp_path.iterdir()) == []
    tar = packed("tar", scans)
    stream(spec_of(tar, site.put("/t", tar, "norange:", "cut:9000", "norange")), tmp_path / "out", rules)
    assert contents_of(tmp_path / "out") == scans


def test_a_full_disk_is_told_and_leaves_nothing(site, rules, spec_of, tmp_path, scans, monkeypatch):
    content = packed("tar", scans)
    real = Path.open

    class Filling(io.RawIOBase):
        def write(self, block):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda self, mode="r", *a: Filling() if mode == "xb" else real(self, mode, *a))
    with pytest.raises(DataError, match="could not be unpacked .No space left on device.. Free some space"):
        stream(spec_of(content, site.put("/f", content)), tmp_path / "out", rules)
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_stream_ends(site, rules, spec_of, tmp_path):
    # several chunks, so that a read follows the one that stops it
    content = packed("tar", {"t/large": random.Random(0).randbytes(3_000_000)})
    source = Incoming(spec_of(content, site.put("/s", content)), rules=rules, on_bytes=lambda _: rules.stop.set())
    with source, pytest.raises(Stopped):
        unpack_incoming(source, tmp_path / "out", bounds=ROOM)


def test_a_directory_that_comes_differently_a_second_time_is_refused(site, rules, spec_of, tmp_path, scans):
    content = packed("zip", scans)
    url = site.put("/d", content, "ok", f"corrupt:{len(content) - 3}")
    with pytest.raises(DataError, match="damaged|came differently a second time|do not follow each other"):
        stream(spec_of(content, url, checksum=None), tmp_path / "out", rules)
    assert list(tmp_path.iterdir()) == []


MOODS = ("ok", "norange", "cut", "503", "busy:0", "404", "wrongpart", "redirect", "evil")
TOLD_BY_CHECKSUM = ("corrupt", "longer", "shorter", "lying", "endless", "chunked", "chunked:cut")


@pytest.mark.parametrize("block", range(4))
def test_whatever_the_web_does_the_content_is_right_or_absent(site, rules, spec_of, tmp_path, block):
    """200 runs: zip and tar, random sizes, mirrors and misbehaviour, with and without length and checksum."""
    came = 0
    for seed in range(block * 50, block * 50 + 50):
        draw = random.Random(seed)
        scans = {f"t/{number}": draw.randbytes(draw.randrange(20_000)) for number in range(draw.randint(1, 5))}
        content = packed(draw.choice(("zip", "tar", "tar.gz")), scans)
        checksum = draw.choice(("md5", "sha256", None))
        moods = MOODS + (TOLD_BY_CHECKSUM if checksum else ())
        urls = [_mirror(site, f"/{seed}/{number}", content, moods, draw) for number in range(draw.randint(1, 3))]
        file = spec_of(content, *urls, checksum=checksum, length=draw.random() < 0.5)
        out = tmp_path / str(seed)
        try:
            stream(file, out, rules)
        except (DataError, NotStreamable):
            assert not out.exists(), seed
        else:
            came += 1
            assert contents_of(out) == scans, seed
    assert came > 8


def _mirror(site, path, content, moods, draw):
    script = []
    for _ in range(draw.randint(1, 6)):
        mood = draw.choice(moods)
        if mood == "redirect":
            mood = f"redirect:{site.put(path + '/moved', content)}"
        elif mood == "evil":
            mood = "redirect:http://example.invalid/"
        elif mood in ("cut", "corrupt", "longer", "shorter"):
            mood += f":{draw.randrange(100_000)}"
        script.append(mood)
    return site.put(path, content, *script)


@pytest.fixture
def dataset(spec_of, site, tmp_path, monkeypatch):
    """A dataset of one archive, at an address that misbehaves as told."""
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path / "home"))

    def make(content, *moods):
        facts = dict.fromkeys(("title", "licence", "citation", "homepage", "source"), "-")
        file = spec_of(content, site.put("/a", content, *moods), name="a.zip", unpack=True, inner="imagesTr")
        return DatasetSpec(name="adrenalmnist3d", access="open", layout="msd", files=(file,), **facts)

    return make


def test_a_dataset_is_the_same_either_way(dataset, rules, tmp_path, scans):
    content, heard = packed("zip", scans), []
    watch = Watch(bytes_came=lambda _, n_bytes: heard.append(n_bytes))
    folders = [
        get_dataset(dataset(content, "cut:12000", "ok"), tmp_path / str(way), rules=rules, stream=way, watch=watch)
        for way in (True, False)
    ]
    assert contents_of(folders[0]).keys() == contents_of(folders[1]).keys()
    assert (folders[0] / "c3.nii.gz").read_bytes() == scans["imagesTr/c3.nii.gz"]
    records = [read_record(folder)["files"]["a.zip"] for folder in folders]
    assert records[0] == records[1]
    assert records[0]["checksum"] == "md5:" + hashlib.md5(content).hexdigest()
    assert sum(heard) == 2 * len(content)


def test_a_server_without_parts_is_served_the_other_way(dataset, site, rules, tmp_path, scans):
    content, heard = packed("zip", scans), []
    watch = Watch(bytes_came=lambda _, n_bytes: heard.append(n_bytes))
    folder = get_dataset(dataset(content, "norange"), rules=rules, stream=True, watch=watch)
    assert len(contents_of(folder)) == 6
    assert sum(heard) == len(content)


def test_a_small_disk_is_served_without_a_copy(dataset, rules, tmp_path, scans, monkeypatch):
    content, said = packed("zip", scans), []
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, int(len(content) * 1.5)))
    folder = get_dataset(dataset(content), rules=rules, watch=Watch(says=said.append))
    assert len(contents_of(folder)) == 6
    assert said == ["the disk has no room for the archives too: they are unpacked while they come"]
    with pytest.raises(DataError, match="needs .* are free"):
        get_dataset(dataset(content), tmp_path / "kept", rules=rules, stream=False)


def test_a_failed_stream_leaves_no_dataset(dataset, rules, tmp_path, scans):
    spec = dataset(packed("zip", scans), "corrupt:3000")
    with pytest.raises(DataError, match="a.zip: "):
        get_dataset(spec, tmp_path / "d", rules=rules, stream=True)
    assert not (tmp_path / "d").exists()
    assert not staging_of(tmp_path / "d").exists()
