import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import numpy as np
import pytest

from medseg.datasets.boxed import detection_items
from medseg.datasets.layouts import take_inventory
from medseg.datasets.phantoms import write_luna16_phantoms
from medseg.datasets.preparation import JOURNAL, prepare_dataset
from medseg.datasets.prepared_scan import resampled_to_ras
from medseg.datasets.scan_workers import Task, run_tasks
from medseg.datasets.verify import verify_dataset
from medseg.errors import ConfigError, DataError
from medseg.volumes import axis_codes, read_volume, spacing_from_affine

SMALL = {"shape": (48, 40, 24), "spacing_mm": 4.5}
COARSE = (3.0, 3.0, 3.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("luna16")
    write_luna16_phantoms(folder, cases=6, seed=3, **SMALL)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made, tmp_path / "raw")
    return tmp_path / "raw"


def _prepare(folder, out, **options):
    return prepare_dataset(folder, out, **{"spacing_mm": COARSE, "workers": 1, **options})


def _with_a_list(folder, *, times=1):
    """A datalist of the scans in place of LUNA16's table, each so many times."""
    (folder / "annotations.csv").unlink()
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.glob("subset*/*.mhd"))] * times
    boxes = {"box_ras_mm": [[0, 0, 0, 9, 9, 9]]}
    entries = [{"case_id": f"scan{i}", "image": name, **boxes} for i, name in enumerate(names)]
    (folder / "datalist.json").write_text(json.dumps({"modality": {"0": "ct"}, "training": entries}))
    return folder


def _times(out):
    return {path.name: path.stat().st_mtime_ns for path in (out / "images").iterdir()}


def test_what_is_prepared_is_listed_verified_and_trains(folder, tmp_path):
    out = tmp_path / "out"
    started, scans = [], []
    done = _prepare(folder, out, on_start=lambda *n: started.append(n), on_scan=lambda one: scans.append(one.case_id))
    assert (len(done.made), done.kept, dict(done.failed), started) == (6, 0, {}, [(6, 0)])
    raw = {case.case_id: case for case in take_inventory(folder).cases}
    assert sorted(scans) == sorted(raw)
    assert verify_dataset(out, workers=1).findings == ()
    items = detection_items(dataset_dir=out, section="all")
    for item in items:
        volume, source = read_volume(item["image"]), read_volume(raw[item["case_id"]].scans[0])
        assert Path(item["image"]).parent == out / "images"
        assert axis_codes(volume.affine_ras_mm) == ("R", "A", "S")
        assert spacing_from_affine(volume.affine_ras_mm) == pytest.approx(COARSE)
        made = resampled_to_ras(source.array, source.affine_ras_mm, spacing_mm=COARSE)
        np.testing.assert_array_equal(volume.array, made.array)
        assert volume.array.dtype == np.int16
        assert item["box_ras_mm"] == raw[item["case_id"]].facts["box_ras_mm"]
        assert item["fold"] == raw[item["case_id"]].fold
    content = json.loads(done.datalist.read_text())
    assert content["preparation"]["spacing_mm"] == list(COARSE)
    assert content["split"]["rule"] == "listed"


def test_a_second_run_keeps_what_is_there_and_redoes_what_changed(folder, tmp_path):
    out = tmp_path / "out"
    _prepare(folder, out)
    before, listing = _times(out), (out / "datalist.json").read_bytes()
    again = _prepare(folder, out)
    assert (again.made, again.kept) == ((), 6)
    assert _times(out) == before
    assert (out / "datalist.json").read_bytes() == listing
    raws = sorted(folder.glob("subset*/*.raw"))
    touched, removed, cut = (raw.stem for raw in raws[:3])
    os.utime(raws[0], ns=(1, 1))  # another source
    (out / "images" / f"{removed}.nii").unlink()
    with (out / "images" / f"{cut}.nii").open("ab") as file:
        file.write(b"x")  # not what was written
    third = _prepare(folder, out)
    assert sorted(one.case_id for one in third.made) == sorted([touched, removed, cut])
    after = _times(out)
    assert all(after[name] == before[name] for name in before if Path(name).stem not in (touched, removed, cut))
    finer = _prepare(folder, out, spacing_mm=(2.5, 3.0, 3.0))
    assert len(finer.made) == 6


def test_compressed_files_replace_plain_ones(folder, tmp_path):
    out = tmp_path / "out"
    _prepare(folder, out)
    plain = {path.stem: read_volume(path).array for path in (out / "images").iterdir()}
    assert len(_prepare(folder, out, compress=True).made) == 6
    assert {path.name for path in (out / "images").iterdir()} == {f"{name}.nii.gz" for name in plain}
    for name, array in plain.items():
        np.testing.assert_array_equal(read_volume(out / "images" / f"{name}.nii.gz").array, array)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_scan_stops_no_other_and_is_made_when_mended(folder, tmp_path, workers):
    raws = sorted(folder.glob("subset*/*.raw"))
    whole = raws[0].read_bytes()
    raws[0].write_bytes(whole[:-5])
    raws[1].rename(tmp_path / "away.raw")
    out = tmp_path / "out"
    done = _prepare(folder, out, workers=workers)
    assert len(done.made) == 4
    assert set(done.failed) == {raws[0].stem, raws[1].stem}
    assert "bytes of voxels; its header wants" in done.failed[raws[0].stem]
    assert "are missing" in done.failed[raws[1].stem]
    assert len(detection_items(dataset_dir=out, section="all")) == 4
    assert verify_dataset(out, workers=1).findings == ()
    raws[0].write_bytes(whole)
    (tmp_path / "away.raw").rename(raws[1])
    mended = _prepare(folder, out)
    assert (len(mended.made), mended.kept, dict(mended.failed)) == (2, 4, {})
    assert len(detection_items(dataset_dir=out, section="all")) == 6


def test_nothing_ready_gives_no_datalist(folder, tmp_path):
    for raw in folder.glob("subset*/*.raw"):
        raw.unlink()
    done = _prepare(folder, tmp_path / "out")
    assert (done.datalist, len(done.failed)) == (None, 6)
    assert not (tmp_path / "out" / "datalist.json").exists()


def test_a_torn_journal_and_litter_of_a_killed_run(folder, tmp_path):
    out = tmp_path / "out"
    _prepare(folder, out)
    lines = (out / JOURNAL).read_bytes()
    (out / JOURNAL).write_bytes(lines[:-30])
    (out / "images" / ".77.tmp.x.nii").write_bytes(b"half")
    done = _prepare(folder, out)
    assert (len(done.made), done.kept) == (1, 5)
    assert not list((out / "images").glob(".*"))
    assert _prepare(folder, out).kept == 6


def test_a_datalist_of_ones_own_is_prepared_too(folder, tmp_path):
    _prepare(_with_a_list(folder), tmp_path / "out")
    items = detection_items(dataset_dir=tmp_path / "out", section="all")
    assert {Path(item["image"]).name for item in items} == {f"scan{i}.nii" for i in range(6)}
    assert len({item["fold"] for item in items}) == 5


def test_what_cannot_be_prepared_is_one_line(folder, tmp_path, touch_volumes):
    plain = touch_volumes("c1/c1_t1.nii.gz", "c1/c1_seg.nii.gz", root=tmp_path / "plain")
    with pytest.raises(DataError, match=r"case c1 has no boxes\. Preparation is for detection"):
        _prepare(plain, tmp_path / "out")
    with pytest.raises(DataError, match=r"the scans themselves are there\. Choose another folder"):
        _prepare(folder, folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "datalist.json").write_text("{}")
    with pytest.raises(DataError, match=r"holds another's datalist\.json"):
        _prepare(folder, tmp_path / "other")
    (tmp_path / "msd" / "imagesTr").mkdir(parents=True)
    with pytest.raises(DataError, match=r"holds another's imagesTr"):
        _prepare(folder, tmp_path / "msd")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file"):
        _prepare(folder, tmp_path / "file")
    for spacing in ((1, 1), (1, 1, 0), (1, 1, float("nan")), (1, 1, 0.001)):
        with pytest.raises(ConfigError, match=r"--spacing: .* is not three voxel sizes"):
            _prepare(folder, tmp_path / "out", spacing_mm=spacing)
    with pytest.raises(ConfigError, match="--workers: 0"):
        _prepare(folder, tmp_path / "out", workers=0)
    for file in (folder / "subset4").iterdir():
        shutil.copy(file, folder / "subset5")
    with pytest.raises(DataError, match=r"the id comes twice"):
        _prepare(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_disk_that_is_too_small_is_told_before_the_first_scan(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _path: shutil._ntuple_diskusage(10**9, 10**9, 10**5))
    with pytest.raises(DataError, match=r"about .* are needed, 0\.1 MB are free"):
        _prepare(folder, tmp_path / "out")
    assert not (tmp_path / "out" / "images").exists()


def test_a_second_process_is_refused(folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with (
        filelock.FileLock(out / ".preparation.lock"),
        pytest.raises(DataError, match="another process is preparing scans there"),
    ):
        _prepare(folder, out)


def _command(folder, out, workers=2):
    code = "from medseg.cli.main import main; main()"
    arguments = ["data", "prepare", folder, "-o", out, "--spacing", "1,1,1", "-j", workers]
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _members(group):
    """Processes of a process group that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = stat.read_text().rsplit(")", 1)[1].split()[:3]
        except OSError:
            continue
        if int(pgrp) == group and state != "Z":
            found.append(stat.parent.name)
    return found


def _all_end(group):
    """Helpers of multiprocessing end when they see that their parent has."""
    end = time.monotonic() + 20
    while _members(group) and time.monotonic() < end:
        time.sleep(0.1)
    assert not _members(group)


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(folder, tmp_path, workers):
    out = tmp_path / "out"
    running = _command(_with_a_list(folder, times=4), out, workers)
    first = running.stdout.readline()
    os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=120)
    assert " -> " in first
    assert running.returncode == 130, errors
    assert errors == "stopped; what is done stays. Run the same command to go on.\n"
    images = sorted(path.name for path in (out / "images").iterdir())
    noted = [json.loads(line) for line in (out / JOURNAL).read_text().splitlines()]
    assert images == sorted(record["target"][0] for record in noted)
    assert 1 <= len(images) < 24
    _all_end(running.pid)
    done = prepare_dataset(folder, out, spacing_mm=(1.0, 1.0, 1.0), workers=1)
    assert (done.kept, len(done.made)) == (len(images), 24 - len(images))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_workers_end_when_their_parent_is_killed(folder, tmp_path):
    running = _command(folder, tmp_path / "out")
    running.stdout.readline()
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    for _ in range(200):
        if not _members(running.pid):
            break
        time.sleep(0.1)
    running.communicate()
    assert not _members(running.pid)
    assert prepare_dataset(folder, tmp_path / "out", spacing_mm=COARSE, workers=1).failed == {}


def _die(_task):
    os._exit(9)


def test_a_worker_that_the_system_ends_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("medseg.datasets.scan_workers.do_task", _die)
    task = Task(case_id="a", source=tmp_path / "a.mhd", target=tmp_path / "a.nii", spacing_mm=COARSE)
    with pytest.raises(DataError, match=r"a worker was ended by the system, .* fewer --workers"):
        run_tasks([task, task], workers=2, take=lambda _outcome: None)
