import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from medseg.datasets.download import get_dataset
from medseg.datasets.registry import DATASETS
from medseg.datasets.shelf import dataset_folder, read_record, staging_of, state_of
from medseg.datasets.specs import DatasetSpec, FileSpec
from medseg.datasets.watch import Watch
from medseg.errors import ConfigError, DataError


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def dataset():
    def make(*files, **facts):
        told = {"access": "open", "layout": "msd", "name": "adrenalmnist3d", **facts}
        return DatasetSpec(
            title="T", licence="CC0", citation="us", homepage="https://x", source="test", files=files, **told
        )

    return make


@pytest.fixture
def archive_of(tmp_path):
    """The bytes of a zip of these files."""
    import zipfile

    def make(**files):
        path = tmp_path / "made.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name.replace("__", "/"), content)
        return path.read_bytes()

    return make


def _files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_archives_and_files_become_one_folder(site, rules, spec_of, dataset, archive_of, home):
    one, two = archive_of(T__imagesTr__a="A", T__dataset="{}"), archive_of(T__imagesTr__b="B")
    spec = dataset(
        spec_of(one, site.put("/1", one), name="one.zip", unpack=True, inner="T"),
        spec_of(two, site.put("/2", two), name="two.zip", unpack=True, inner="T"),
        spec_of(b"csv", site.put("/3", b"csv"), name="tables/a.csv", checksum=None),
    )
    assert state_of(home / spec.name) == "absent"
    folder = get_dataset(spec, rules=rules)
    assert folder == home / spec.name == dataset_folder(spec.name)
    assert _files(folder) == [".medseg-dataset.json", "dataset", "imagesTr/a", "imagesTr/b", "tables/a.csv"]
    record = read_record(folder)
    assert record["licence"] == "CC0"
    assert record["files"]["one.zip"]["checksum"] == "md5:" + hashlib.md5(one).hexdigest()
    assert record["files"]["one.zip"]["origin"] == site.url("/1")
    # None is published: that of the first download is noted.
    assert record["files"]["tables/a.csv"]["checksum"] == "sha256:" + hashlib.sha256(b"csv").hexdigest()
    assert record["files"]["tables/a.csv"]["checksum_published"] is False
    assert sorted(path.name for path in home.iterdir()) == [f".{spec.name}.lock", spec.name]


def test_what_is_there_is_not_fetched_again(site, rules, spec_of, dataset, home):
    spec = dataset(spec_of(b"x", site.put("/x", b"x"), name="x.npz"))
    get_dataset(spec, rules=rules)
    site.asked.clear()
    get_dataset(spec, rules=rules)
    assert site.asked == []
    with pytest.raises(DataError, match="holds adrenalmnist3d, not other"):
        get_dataset(replace(spec, name="other"), home / "adrenalmnist3d", rules=rules)


def test_an_interrupted_fetch_goes_on(site, rules, spec_of, dataset, archive_of, home):
    one, two = archive_of(a="A" * 50_000), b"B" * 50_000
    spec = dataset(
        spec_of(one, site.put("/1", one), name="one.zip", unpack=True),
        spec_of(two, site.put("/2", two, "cut:20000", "503"), name="two.bin"),
    )
    with pytest.raises(DataError, match="two.bin: no address gave it"):
        get_dataset(spec, rules=rules, jobs=1)
    assert not (home / spec.name).exists()
    assert state_of(home / spec.name) == "partial"
    assert sorted(json.loads((staging_of(home / spec.name) / "state.json").read_text())) == ["one.zip"]
    site.put("/2", two)
    site.asked.clear()
    folder = get_dataset(spec, rules=rules, jobs=1)
    assert [(path, asked) for path, asked, _ in site.asked] == [("/2", "bytes=20000-")]
    assert _files(folder) == [".medseg-dataset.json", "a", "two.bin"]
    assert not staging_of(folder).exists()


def test_a_hostile_archive_makes_no_dataset(site, rules, spec_of, dataset, archive_of, home):
    bad = archive_of(**{"..__evil": "x"})
    with pytest.raises(DataError, match="climbs out"):
        get_dataset(dataset(spec_of(bad, site.put("/e", bad), name="e.zip", unpack=True)), rules=rules)
    assert not (home / "adrenalmnist3d").exists()
    assert not list(home.rglob("evil"))


def test_other_content_is_never_touched(site, rules, spec_of, dataset, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    with pytest.raises(DataError, match="holds something else"):
        get_dataset(dataset(spec_of(b"x", site.put("/x", b"x"))), tmp_path / "mine", rules=rules)
    assert _files(tmp_path / "mine") == ["thesis.txt"]


def test_the_disk_is_checked_for_all_files_together(site, rules, dataset, home):
    huge = FileSpec(name="a.zip", urls=(site.url("/a"),), n_bytes=1 << 60, unpack=True)
    with pytest.raises(DataError, match=r"adrenalmnist3d: needs .* GB in .* are free"):
        get_dataset(dataset(huge), rules=rules)
    assert site.asked == []
    assert state_of(home / "adrenalmnist3d") == "absent"


def test_the_watch_hears_everything(site, rules, spec_of, dataset, archive_of, home):
    one, heard = archive_of(a="A"), []
    watch = Watch(
        begins=lambda file: heard.append(f"begins {file.name}"),
        bytes_came=lambda _, n_bytes: heard.append(n_bytes),
        unpacks=lambda file: heard.append(f"unpacks {file.name}"),
        ends=lambda file: heard.append(f"ends {file.name}"),
    )
    get_dataset(dataset(spec_of(one, site.put("/1", one), name="one.zip", unpack=True)), rules=rules, watch=watch)
    assert sum(entry for entry in heard if isinstance(entry, int)) == len(one)
    assert [entry for entry in heard if isinstance(entry, str)] == ["begins one.zip", "unpacks one.zip", "ends one.zip"]


def test_a_request_only_dataset_says_where_to_apply(rules, dataset, home):
    spec = dataset(access="request", apply="write to brats@example.org")
    with pytest.raises(DataError, match="To get it, write to brats@example.org; then give it with --from"):
        get_dataset(spec, rules=rules)
    with pytest.raises(DataError, match="--from: .*nowhere does not exist"):
        get_dataset(spec, given=home / "nowhere", rules=rules)


def _brats_case(folder):
    folder.mkdir(parents=True)
    for name in ("t1", "t1ce", "t2", "flair", "seg"):
        nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), folder / f"{folder.name}_{name}.nii.gz")


BRATS = {"layout": "case_folders", "modalities": ("t1c", "t1", "t2", "flair"), "access": "request", "apply": "ask"}


def test_a_folder_of_scans_stays_where_it_is(rules, dataset, home, tmp_path):
    _brats_case(tmp_path / "given/BraTS_1")
    spec = dataset(**BRATS)
    assert get_dataset(spec, given=tmp_path / "given", rules=rules) == tmp_path / "given"
    assert dataset_folder(spec.name) == tmp_path / "given"
    assert state_of(home / spec.name) == "present"
    assert not (tmp_path / "given/.medseg-dataset.json").exists()
    assert get_dataset(spec, rules=rules) == tmp_path / "given"


def test_a_noted_folder_that_is_gone_can_be_given_anew(rules, dataset, home, tmp_path):
    spec = dataset(**BRATS)
    _brats_case(tmp_path / "given/BraTS_1")
    get_dataset(spec, given=tmp_path / "given", rules=rules)
    (tmp_path / "given").rename(tmp_path / "moved")
    assert state_of(home / spec.name) == "absent"
    with pytest.raises(DataError, match="not openly hosted"):
        get_dataset(spec, rules=rules)
    assert get_dataset(spec, given=tmp_path / "moved", rules=rules) == tmp_path / "moved"
    assert dataset_folder(spec.name) == tmp_path / "moved"


def test_an_archive_of_scans_is_unpacked(rules, dataset, home, tmp_path):
    _brats_case(tmp_path / "given/BraTS_1")
    archive = tmp_path / "Training.zip"
    shutil.make_archive(str(archive.with_suffix("")), "zip", tmp_path / "given")
    folder = get_dataset(dataset(**BRATS), given=archive, rules=rules)
    assert len(_files(folder)) == 6
    assert archive.exists()
    assert read_record(folder)["files"]["Training.zip"]["origin"].startswith("given:")


def test_an_archive_of_something_else_is_refused_and_forgotten(rules, dataset, archive_of, home, tmp_path):
    archive = tmp_path / "Training.zip"
    archive.write_bytes(archive_of(holiday__beach="jpg"))
    with pytest.raises(DataError, match=r"^Training.zip: not taken as adrenalmnist3d: no case here"):
        get_dataset(dataset(**BRATS), given=archive, rules=rules)
    assert state_of(home / "adrenalmnist3d") == "absent"
    _brats_case(tmp_path / "given/BraTS_1")
    shutil.make_archive(str(archive.with_suffix("")), "zip", tmp_path / "given")
    assert len(_files(get_dataset(dataset(**BRATS), given=archive, rules=rules))) == 6


def test_a_folder_of_something_else_is_refused(rules, dataset, home, tmp_path):
    (tmp_path / "given").mkdir()
    with pytest.raises(DataError, match="no case here"):
        get_dataset(dataset(**BRATS), given=tmp_path / "given", rules=rules)
    with pytest.raises(DataError, match="holds neither scans nor files of adrenalmnist3d"):
        get_dataset(dataset(), given=tmp_path / "given", rules=rules)
    assert not (home / "adrenalmnist3d").exists()


def test_given_archives_are_verified_and_the_rest_is_fetched(site, rules, spec_of, dataset, archive_of, home, tmp_path):
    one, two = archive_of(a="A"), archive_of(b="B")
    spec = dataset(
        spec_of(one, site.put("/1", one), name="one.zip", unpack=True),
        spec_of(two, site.put("/2", two), name="two.zip", unpack=True),
    )
    (tmp_path / "given").mkdir()
    (tmp_path / "given/one.zip").write_bytes(one[:-1])
    with pytest.raises(DataError, match=r"one.zip: \d+ bytes came, \d+ are published"):
        get_dataset(spec, given=tmp_path / "given", rules=rules)
    (tmp_path / "given/one.zip").write_bytes(one)
    folder = get_dataset(spec, given=tmp_path / "given", rules=rules)
    assert _files(folder) == [".medseg-dataset.json", "a", "b"]
    assert "/1" not in [path for path, _, _ in site.asked]


TWO = """
import sys
from pathlib import Path
from medseg.datasets.download import get_dataset
from medseg.datasets.transfer import Rules
from medseg.datasets.watch import Watch
from medseg.datasets.specs import DatasetSpec, FileSpec
url, md5, folder = sys.argv[1:]
file = FileSpec(name="a.npz", urls=(url,), checksum="md5:" + md5)
facts = dict.fromkeys(("title", "licence", "citation", "homepage", "source"), "-")
spec = DatasetSpec(name="two", access="open", layout="npz", files=(file,), **facts)
rules = Rules(plain_http_hosts=frozenset({"127.0.0.1"}), slow_window_s=5, backoff_s=0.01, spare_bytes=0)
print(get_dataset(spec, Path(folder), rules=rules, watch=Watch(says=print)))
"""


def test_two_processes_fetch_once(site, tmp_path):
    content = b"z" * 300_000
    # The first answer is slow and cut, so that both are under way together.
    url = site.put("/two", content, "drip", "ok")
    arguments = [sys.executable, "-c", TWO, url, hashlib.md5(content).hexdigest(), str(tmp_path / "two")]
    both = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=60)[0].strip().splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [lines[-1] for lines in told] == [str(tmp_path / "two")] * 2
    assert (tmp_path / "two/a.npz").read_bytes() == content
    assert [mood for _, mood in site.bodies("/two")] == ["drip", "ok"]


def test_an_interrupt_ends_it_and_keeps_what_has_come(site, tmp_path):
    content = b"z" * 300_000
    url = site.put("/stop", content, "cut:100000", "silent")
    arguments = [sys.executable, "-c", TWO, url, hashlib.md5(content).hexdigest(), str(tmp_path / "two")]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    _until(lambda: len(site.bodies("/stop")) >= 2)
    process.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in process.communicate(timeout=20)[1]
    assert not (tmp_path / "two").exists()
    assert next(tmp_path.rglob("a.npz.part")).stat().st_size == 100_000


def _until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_names_that_are_neither_folder_nor_dataset_are_told(home):
    with pytest.raises(DataError, match="luna16: not on disk .* medseg data get luna16"):
        dataset_folder("luna16")
    with pytest.raises(ConfigError, match=r"no dataset is called 'lune16'. Did you mean luna16"):
        dataset_folder("lune16")
    with pytest.raises(ConfigError, match="Did you mean msd_task04_hippocampus[?]"):
        dataset_folder("MSD_Task04")
    with pytest.raises(ConfigError, match="^scans/mine: no such folder. Check the path"):
        dataset_folder("scans/mine")
    with pytest.raises(ConfigError, match="^/dev/null: is no folder"):
        dataset_folder("/dev/null")


def test_a_folder_that_may_not_be_read_is_told(home, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DataError, match="not readable. Mend the folder's rights"):
        dataset_folder(tmp_path)


def test_who_waits_is_told_why(site, rules, spec_of, dataset, home):
    told = []
    url = site.put("/busy.bin", b"voxels", "busy:7", "ok")
    get_dataset(dataset(spec_of(b"voxels", url)), rules=rules, watch=Watch(says=told.append))
    (line,) = told
    assert "127.0.0.1: it answered 429" in line
    assert line.endswith("trying again in 7 s")


@pytest.mark.parametrize("name", ["kits23", "btcv", "totalsegmentator", "lidc_idri_annotations"])
def test_a_folder_in_another_layout_is_refused(home, tmp_path, name):
    _brats_case(tmp_path / "given/BraTS_1")
    with pytest.raises(DataError, match="matches|no subject of TotalSegmentator|no XML of LIDC-IDRI"):
        get_dataset(DATASETS[name], given=tmp_path / "given")
    assert state_of(home / name) == "absent"
