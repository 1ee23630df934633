import errno
import json
import os
import subprocess
import sys

import pytest

from medseg.errors import DataError
from medseg.record import RunRecord, git_commit, peak_memory_mb, usable_cores, versions, write_text_atomically


def content(folder):
    return json.loads((folder / "run.json").read_text())


def test_a_run_says_what_it_is_and_how_it_ended(tmp_path):
    record = RunRecord.start(tmp_path / "run", verb="train", bundle="b", config_sha256="ab", seed=3, device="cpu", n=2)
    assert content(tmp_path / "run")["status"] == "running"
    record.finish("finished", peak_gpu_memory_mb=5.0)
    done = content(tmp_path / "run")
    assert (done["verb"], done["bundle"], done["config_sha256"], done["seed"], done["n"]) == ("train", "b", "ab", 3, 2)
    assert (done["status"], done["resumed"], done["peak_gpu_memory_mb"]) == ("finished", 0, 5.0)
    assert done["device_name"]
    assert done["wall_s"] >= 0
    assert done["peak_memory_mb"] > 1
    assert done["started"] <= done["ended"]
    assert set(versions()) >= {"python", "medseg", "torch", "monai", "numpy"}


def test_a_resumed_run_keeps_its_sessions(tmp_path):
    first = RunRecord.start(tmp_path, verb="train")
    first.finish("interrupted")
    RunRecord.start(tmp_path, verb="train", resume=True)  # killed
    last = RunRecord.start(tmp_path, verb="train", resume=True)
    last.finish("finished")
    done = content(tmp_path)
    assert done["resumed"] == 2
    assert [s["status"] for s in done["sessions"]] == ["interrupted", "killed", "finished"]
    assert done["started"] == first.content["started"]
    RunRecord.start(tmp_path, verb="train")
    assert content(tmp_path)["resumed"] == 0


def test_the_command_that_began_a_run_outlives_its_resumes(tmp_path, monkeypatch):
    for command in (["medseg", "train", "b"], ["medseg", "train", "--resume", "r"]):
        monkeypatch.setattr(sys, "argv", command)
        RunRecord.start(tmp_path, verb="train", resume="--resume" in command).finish("finished")
    done = content(tmp_path)
    assert done["command"] == ["medseg", "train", "b"]
    assert [session["command"][2] for session in done["sessions"]] == ["b", "--resume"]


def test_what_changes_during_a_run_is_noted(tmp_path):
    RunRecord.start(tmp_path, verb="train", config_sha256="ab").note(config_sha256="cd")
    assert content(tmp_path)["config_sha256"] == "cd"


def test_a_damaged_record_does_not_stop_a_resume(tmp_path):
    (tmp_path / "run.json").write_text("{half")
    RunRecord.start(tmp_path, verb="train", resume=True).finish("finished")
    assert content(tmp_path)["status"] == "finished"


def test_the_commit_of_the_source_tree(tmp_path):
    assert git_commit(tmp_path) is None
    here = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    (tmp_path / "f").write_text("1")
    for arguments in (["init", "-q"], ["add", "f"], ["commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, env=os.environ | here)
    clean = git_commit(tmp_path)
    assert clean is not None
    assert len(clean) == 40
    (tmp_path / "f").write_text("2")
    assert git_commit(tmp_path) == clean + "+changes"


@pytest.mark.parametrize("old", ["old", None])
def test_a_file_that_cannot_be_written_is_one_line_and_leaves_the_old_one(tmp_path, monkeypatch, old):
    path = tmp_path / "f.txt"
    if old:
        write_text_atomically(path, old)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("medseg.record.os.fsync", full)
    state = "what was there is intact" if old else "nothing was there before"
    with pytest.raises(DataError, match=rf"could not be written: No space left on device; {state}\. Free some space"):
        write_text_atomically(path, "new")
    assert [p.read_text() for p in tmp_path.iterdir()] == ([old] if old else [])


def test_a_place_below_a_file_or_on_a_folder_is_one_line(tmp_path):
    (tmp_path / "f").write_text("a file")
    with pytest.raises(DataError, match=r"x\.txt could not be written: .*; nothing was there before\. Choose another"):
        write_text_atomically(tmp_path / "f" / "x.txt", "new")
    (tmp_path / "d").mkdir()
    with pytest.raises(DataError, match="d could not be written: .*; what was there is intact"):
        write_text_atomically(tmp_path / "d", "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "f"]


def test_there_is_a_core_to_run_on():
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_the_record_imports_nothing_heavy():
    code = "import sys, medseg.record; print([m for m in ('torch', 'numpy', 'monai') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert peak_memory_mb() > 1
