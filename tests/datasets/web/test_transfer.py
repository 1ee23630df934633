import email.utils
import errno
import hashlib
import json
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from medseg.datasets.specs import FileSpec
from medseg.datasets.transfer import Rules, Stopped, fetch
from medseg.errors import DataError

CONTENT = random.Random(3).randbytes(40_000)


def _leftovers(target):
    return sorted(path.name for path in target.parent.iterdir() if path.name != target.name)


def test_the_file_comes_whole_and_leaves_nothing_beside_it(site, rules, spec_of, tmp_path):
    heard = []
    target = tmp_path / "scan.bin"
    url = site.put("/a", CONTENT)
    assert fetch(spec_of(CONTENT, url), target, rules=rules, on_bytes=heard.append) == url
    assert target.read_bytes() == CONTENT
    assert sum(heard) == len(CONTENT)
    assert _leftovers(target) == []


def test_a_right_file_is_not_asked_for_again(site, rules, spec_of, tmp_path):
    target = tmp_path / "scan.bin"
    target.write_bytes(CONTENT)
    assert fetch(spec_of(CONTENT, site.put("/a", CONTENT)), target, rules=rules) == ""
    assert site.asked == []


def test_a_cut_connection_is_resumed_where_it_ended(site, rules, spec_of, tmp_path):
    target = tmp_path / "scan.bin"
    fetch(spec_of(CONTENT, site.put("/cut", CONTENT, "cut:12345", "ok")), target, rules=rules)
    assert target.read_bytes() == CONTENT
    assert site.bodies("/cut") == [(None, "cut"), ("bytes=12345-", "ok")]


def test_the_part_is_kept_and_resumed_by_the_next_call(site, rules, spec_of, tmp_path):
    target = tmp_path / "scan.bin"
    file = spec_of(CONTENT, site.put("/b", CONTENT, "cut:30000", "503"))
    with pytest.raises(
        DataError, match=r"scan.bin: no address gave it \(127.0.0.1: it answered 503.* are kept and will"
    ):
        fetch(file, target, rules=rules)
    assert not target.exists()
    assert (tmp_path / "scan.bin.part").read_bytes() == CONTENT[:30000]
    site.put("/b", CONTENT)
    site.asked.clear()
    fetch(file, target, rules=rules)
    assert target.read_bytes() == CONTENT
    assert site.bodies("/b") == [("bytes=30000-", "ok")]


def test_mirrors_come_in_order_and_go_on_with_the_part(site, rules, spec_of, tmp_path):
    target = tmp_path / "scan.bin"
    first = site.put("/m1", CONTENT, "cut:10000", "404")
    second = site.put("/m2", CONTENT)
    assert fetch(spec_of(CONTENT, first, second), target, rules=rules) == second
    assert site.bodies("/m2") == [("bytes=10000-", "ok")]


def test_without_a_checksum_no_other_mirror_continues_a_part(site, rules, spec_of, tmp_path):
    target = tmp_path / "scan.bin"
    first = site.put("/m3", CONTENT, "cut:10000", "404")
    second = site.put("/m4", CONTENT)
    assert fetch(spec_of(CONTENT, first, second, checksum=None, length=False), target, rules=rules) == second
    assert site.bodies("/m4") == [(None, "ok")]
    assert target.read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_is_not_glued(site, rules, spec_of, tmp_path):
    target, other = tmp_path / "scan.bin", CONTENT[::-1]
    file = spec_of(CONTENT, site.put("/v", CONTENT, "cut:10000", "503"), checksum=None, length=False)
    with pytest.raises(DataError):
        fetch(file, target, rules=rules)
    site.put("/v", other)
    fetch(file, target, rules=rules)
    assert target.read_bytes() == other


def test_corrupt_bytes_never_get_the_name(site, rules, spec_of, tmp_path):
    target = tmp_path / "scan.bin"
    with pytest.raises(DataError, match="its md5 is [0-9a-f]{32}, [0-9a-f]{32} is published"):
        fetch(spec_of(CONTENT, site.put("/x", CONTENT, "corrupt:77")), target, rules=rules)
    assert list(tmp_path.iterdir()) == []


def test_a_corrupt_part_of_an_earlier_run_is_fetched_anew(site, rules, spec_of, tmp_path):
    target = tmp_path / "scan.bin"
    (tmp_path / "scan.bin.part").write_bytes(b"\0" * 5000)
    fetch(spec_of(CONTENT, site.put("/y", CONTENT)), target, rules=rules)
    assert target.read_bytes() == CONTENT
    assert [asked for asked, _ in site.bodies("/y")] == ["bytes=5000-", None]


def test_bytes_from_another_place_are_not_glued(site, rules, spec_of, tmp_path):
    url = site.put("/q", CONTENT, "cut:10000", "wrongpart", "ok")
    fetch(spec_of(CONTENT, url, checksum=None), tmp_path / "scan.bin", rules=rules)
    assert (tmp_path / "scan.bin").read_bytes() == CONTENT
    assert [asked for asked, _ in site.bodies("/q")] == [None, "bytes=10000-", None]


@pytest.mark.parametrize("length", [True, False])
def test_a_part_longer_than_the_file_is_fetched_anew(site, rules, spec_of, tmp_path, length):
    (tmp_path / "scan.bin.part").write_bytes(CONTENT + b"rest of another file")
    fetch(spec_of(CONTENT, site.put("/l", CONTENT), length=length), tmp_path / "scan.bin", rules=rules)
    assert (tmp_path / "scan.bin").read_bytes() == CONTENT


def test_a_folder_that_cannot_be_written_is_told(site, rules, spec_of, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="scan.bin: .*mend the folder"):
        fetch(spec_of(CONTENT, site.put("/o", CONTENT)), tmp_path / "file" / "scan.bin", rules=rules)


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        ("longer:9", "the server has 40010 bytes, 40000 are published"),
        ("shorter:100", "the server has 100 bytes, 40000 are published"),
        ("gzip", "comes encoded as gzip"),
        ("404", "it answered 404 Not Found"),
        ("403", "it answered 403 Forbidden"),
        ("redirect:http://example.invalid/scan", "it redirects to http://example.invalid, only https is taken"),
        ("redirect:file:///etc/passwd", "Redirection to url .* is not allowed"),
        ("redirect:ftp://example.invalid/scan", "it redirects to ftp://example.invalid, only https is taken"),
    ],
)
def test_what_will_not_get_better_is_asked_once(site, rules, spec_of, tmp_path, waits, mood, reason):
    with pytest.raises(DataError, match=reason):
        fetch(spec_of(CONTENT, site.put("/z", CONTENT, mood)), tmp_path / "scan.bin", rules=rules)
    assert len(site.asked) == 1
    assert waits == []


def test_plain_http_is_refused_unless_allowed(site, spec_of, tmp_path):
    with pytest.raises(DataError, match=r"it is http://127\.0\.0\.1, only https is taken"):
        fetch(spec_of(CONTENT, site.put("/p", CONTENT)), tmp_path / "scan.bin", rules=Rules())
    assert site.asked == []


def test_a_cut_part_of_an_unknown_whole_is_resumed(site, rules, spec_of, tmp_path):
    url = site.put("/star", CONTENT, "star:3", "star:4", "star:100000")
    fetch(spec_of(CONTENT, url, length=False), tmp_path / "scan.bin", rules=rules)
    assert (tmp_path / "scan.bin").read_bytes() == CONTENT
    assert [asked for asked, _ in site.bodies("/star")] == [None, "bytes=3-", "bytes=7-"]


def test_a_web_page_is_not_taken_for_the_file(site, rules, spec_of, tmp_path):
    url = site.put("/page", CONTENT, "page")
    with pytest.raises(DataError, match="it sent a web page in place of the file"):
        fetch(spec_of(CONTENT, url, length=False, checksum=None), tmp_path / "scan.bin", rules=rules)
    assert not list(tmp_path.iterdir())


def test_a_redirect_in_a_circle_is_one_line(site, rules, spec_of, tmp_path):
    url = site.put("/circle", b"", f"redirect:{site.url('/circle')}")
    with pytest.raises(DataError, match="infinite loop") as caught:
        fetch(spec_of(CONTENT, url), tmp_path / "scan.bin", rules=rules)
    assert "\n" not in str(caught.value)


def test_redirects_keep_the_range(site, rules, spec_of, tmp_path):
    target = tmp_path / "scan.bin"
    (tmp_path / "scan.bin.part").write_bytes(CONTENT[:7])
    there = site.put("/there", CONTENT)
    fetch(spec_of(CONTENT, site.put("/here", b"", f"redirect:{there}")), target, rules=rules)
    assert target.read_bytes() == CONTENT
    assert site.bodies("/there") == [("bytes=7-", "ok")]


def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(site, rules, spec_of, tmp_path, waits):
    date = email.utils.formatdate(time.time() + 90, usegmt=True)
    url = site.put("/busy", CONTENT, "busy:7", f"busy:{date}", "503", "ok")
    fetch(spec_of(CONTENT, url), tmp_path / "scan.bin", rules=rules)
    assert waits[0] == 7
    assert waits[1] == pytest.approx(90, abs=3)
    assert waits[2] == rules.backoff_s * 4


def test_a_server_that_wants_hours_is_left_for_the_mirror(site, rules, spec_of, tmp_path, waits):
    first, second = site.put("/b1", CONTENT, "busy:86400"), site.put("/b2", CONTENT)
    assert fetch(spec_of(CONTENT, first, second), tmp_path / "scan.bin", rules=rules) == second
    assert waits == []


def test_the_wait_doubles(site, rules, spec_of, tmp_path, waits):
    with pytest.raises(DataError, match="503"):
        fetch(spec_of(CONTENT, site.put("/w", CONTENT, "503")), tmp_path / "scan.bin", rules=rules)
    assert waits == [1, 2, 4]


@pytest.mark.parametrize(("mood", "reason"), [("drip", "bytes a second came"), ("silent", "silent|ended|Remote end")])
def test_drips_and_silence_do_not_hold_a_transfer(site, rules, spec_of, tmp_path, mood, reason):
    began = time.monotonic()
    with pytest.raises(DataError, match=reason):
        fetch(spec_of(CONTENT, site.put("/s", CONTENT, mood)), tmp_path / "scan.bin", rules=rules)
    assert time.monotonic() - began < 3


def test_a_length_is_wanted_where_no_checksum_is(site, rules, spec_of, tmp_path):
    url = site.put("/e", CONTENT, "endless")
    with pytest.raises(DataError, match="tells no length and no checksum is published"):
        fetch(spec_of(CONTENT, url, checksum=None, length=False), tmp_path / "scan.bin", rules=rules)
    fetch(spec_of(CONTENT, url, length=False), tmp_path / "scan.bin", rules=rules)
    assert (tmp_path / "scan.bin").read_bytes() == CONTENT


def test_a_full_disk_is_told_early(site, rules, spec_of, tmp_path):
    file = replace(spec_of(CONTENT, site.put("/big", CONTENT)), checksum=None)
    with pytest.raises(DataError, match=r"scan.bin: needs .* are free. Free some space, or choose another disk"):
        fetch(file, tmp_path / "scan.bin", rules=replace(rules, spare_bytes=1 << 60))
    assert not (tmp_path / "scan.bin").exists()


def test_a_disk_that_fills_up_keeps_the_part(site, rules, spec_of, tmp_path, monkeypatch):
    real = Path.open

    def filling(self, mode="r", *args, **kwargs):
        stream = real(self, mode, *args, **kwargs)
        return _Filling(stream, 15_000) if mode == "ab" else stream

    monkeypatch.setattr(Path, "open", filling)
    target, file = tmp_path / "scan.bin", spec_of(CONTENT, site.put("/f", CONTENT))
    with pytest.raises(DataError, match="No space left on device. 0.015 MB of it are kept .* Free some space"):
        fetch(file, target, rules=rules)
    monkeypatch.undo()
    fetch(file, target, rules=rules)
    assert target.read_bytes() == CONTENT
    assert site.bodies("/f")[-1] == ("bytes=15000-", "ok")


class _Filling:
    def __init__(self, stream, room):
        self.stream, self.room = stream, room

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()

    def write(self, block):
        self.stream.write(block[: self.room])
        self.room -= len(block)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_stopped_transfer_keeps_its_part(site, rules, spec_of, tmp_path):
    rules.stop.set()
    with pytest.raises(Stopped, match="scan.bin: stopped"):
        fetch(spec_of(CONTENT, site.put("/t", CONTENT)), tmp_path / "scan.bin", rules=rules)


def test_sha256_is_checked_too(site, rules, spec_of, tmp_path):
    fetch(spec_of(CONTENT, site.put("/sha", CONTENT), checksum="sha256"), tmp_path / "scan.bin", rules=rules)
    wrong = FileSpec(name="scan.bin", urls=(site.url("/sha"),), checksum="sha256:" + "0" * 64)
    with pytest.raises(DataError, match="its sha256 is"):
        fetch(wrong, tmp_path / "other.bin", rules=rules)


def test_an_empty_file_is_a_file(site, rules, spec_of, tmp_path):
    fetch(spec_of(b"", site.put("/empty", b"")), tmp_path / "empty", rules=rules)
    assert (tmp_path / "empty").read_bytes() == b""


HONEST = (
    "ok",
    "norange",
    "cut",
    "503",
    "busy:0",
    "404",
    "wrongpart",
    "chunked",
    "chunked:cut",
    "redirect",
    "evil",
    "star",
    "page",
)
TOLD_BY_CHECKSUM = ("corrupt", "longer", "shorter", "lying", "endless")


@pytest.mark.parametrize("block", range(8))
def test_whatever_the_web_does_the_file_is_right_or_absent(site, rules, spec_of, tmp_path, block):
    """400 runs: random sizes, one to three mirrors, random misbehaviour, with and without length and checksum."""
    came = 0
    for seed in range(block * 50, block * 50 + 50):
        draw = random.Random(seed)
        content = draw.randbytes(draw.choice((0, 1, 700, draw.randrange(90_000))))
        checksum = draw.choice(("md5", "sha256", None))
        moods = HONEST + (TOLD_BY_CHECKSUM if checksum else ())
        urls = [_mirror(site, f"/{seed}/{number}", content, moods, draw) for number in range(draw.randint(1, 3))]
        file = spec_of(content, *urls, checksum=checksum, length=draw.random() < 0.5)
        target = tmp_path / f"{seed}.bin"
        for _ in range(draw.randint(1, 3)):
            came += _right_or_absent(file, target, content, rules)
        for url in urls:
            site.put(url.removeprefix(site.url("")), content)
        fetch(file, target, rules=rules)
        assert target.read_bytes() == content, seed
        assert not list(tmp_path.glob(f"{seed}.bin.part*"))
    assert came > 10  # the misbehaviour does not drown everything


def _mirror(site, path, content, moods, draw):
    script = []
    for _ in range(draw.randint(1, 6)):
        mood = draw.choice(moods)
        if mood == "redirect":
            mood = f"redirect:{site.put(path + '/moved', content)}"
        elif mood == "evil":
            mood = "redirect:http://example.invalid/"
        elif mood in ("cut", "star", "corrupt", "longer", "shorter"):
            mood += f":{draw.randrange(100_000)}"
        script.append(mood)
    return site.put(path, content, *script)


def _right_or_absent(file, target, content, rules):
    try:
        fetch(file, target, rules=rules)
    except DataError:
        assert not target.exists()
        return False
    assert target.read_bytes() == content
    return True


def test_the_note_beside_a_part_names_its_version(site, rules, spec_of, tmp_path):
    url = site.put("/note", CONTENT, "cut:10", "503")
    with pytest.raises(DataError):
        fetch(spec_of(CONTENT, url), tmp_path / "scan.bin", rules=rules)
    note = json.loads((tmp_path / "scan.bin.part.json").read_text())
    assert note == {"url": url, "validator": f'"{hashlib.sha256(CONTENT).hexdigest()[:16]}"'}
