import json
import os
import subprocess
import sys

import pytest

from medseg.errors import DataError
from medseg.record import RunRecord, git_commit, peak_memory_mb, versions, write_text_atomically


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


def test_a_file_that_cannot_be_written_is_one_line_and_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "f.txt"
    write_text_atomically(path, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medseg.record.os.fsync", full)
    with pytest.raises(DataError, match="could not be written: No space left"):
        write_text_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f.txt"]


def test_the_record_imports_nothing_heavy():
    code = "import sys, medseg.record; print([m for m in ('torch', 'numpy', 'monai') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert peak_memory_mb() > 1
