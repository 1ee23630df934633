import json

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from medseg.cli.data import data_app
from medseg.errors import ConfigError, DataError


def _run(*arguments):
    return CliRunner().invoke(data_app, [*map(str, arguments)])


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for case in ("c1", "c2"):
        (tmp_path / case).mkdir()
        for kind, values in (("t1", random.normal(size=(5, 5, 5))), ("seg", random.integers(0, 2, (5, 5, 5)))):
            nib.save(nib.Nifti1Image(values.astype(np.float32), np.eye(4)), tmp_path / case / f"{case}_{kind}.nii.gz")
    return tmp_path


def test_notes_leave_exit_code_0(folder):
    result = _run("verify", folder, "--convention", "msd_task01")
    assert result.exit_code == 0
    assert "unused-value" in result.output
    assert result.output.splitlines()[-1].endswith(": 2 cases, 4 files: 0 errors, 1 note")


def test_errors_set_exit_code_1_and_are_counted_when_many(folder):
    random = np.random.default_rng(1)
    for number in range(25):
        values = random.normal(size=(3, 3, 3)).astype(np.float32)
        nib.save(nib.Nifti1Image(values, np.eye(4)), folder / f"x{number:02d}_t1.nii.gz")
    result = _run("verify", folder, "--convention", "brats2021")
    assert result.exit_code == 1
    assert "and 5 more (--all shows them)" in result.output
    assert result.output.splitlines()[-1].endswith("25 errors, 1 note")
    assert _run("verify", folder, "--convention", "brats2021", "--all").output.count("x24") == 2


def test_names_with_brackets_are_shown_as_they_are(folder):
    (folder / "c1").rename(folder / "c[red]1")
    (folder / "c[red]1" / "c1_seg.nii.gz").unlink()
    (folder / "c[red]1" / "c1_t1.nii.gz").rename(folder / "c[red]1" / "t1.nii.gz")
    result = _run("verify", folder)
    assert result.exit_code == 1
    assert "c[red]1" in result.output


def test_what_cannot_be_verified_raises_one_line(tmp_path):
    assert isinstance(_run("verify", tmp_path / "nowhere").exception, ConfigError)
    assert isinstance(_run("verify", "nowhere").exception, ConfigError)
    assert isinstance(_run("verify", tmp_path).exception, DataError)
    assert isinstance(_run("verify", tmp_path, "--convention", "x").exception, ConfigError)


def test_split_writes_a_datalist_that_verify_takes(folder):
    result = _run("split", folder, "--folds", 2, "--seed", 3)
    assert result.exit_code == 0
    assert f"2 folds of 1, 1 cases (dealt by patient, seed 3) in {folder / 'datalist.json'}" in result.output
    assert {entry["fold"] for entry in json.loads((folder / "datalist.json").read_text())["training"]} == {0, 1}
    again = _run("split", folder)
    assert isinstance(again.exception, DataError)
    elsewhere = _run("split", folder, "-o", folder / "other.json")
    assert "(the dataset's own)" in elsewhere.output
    assert _run("verify", folder, "--convention", "msd_task01").exit_code == 0
    entries = json.loads((folder / "datalist.json").read_text())
    del entries["training"][0]
    (folder / "datalist.json").write_text(json.dumps(entries))
    assert _run("verify", folder, "--convention", "msd_task01").exit_code == 1


def test_a_pipe_gets_long_paths_whole(folder, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    long = folder / ("x" * 60) / ("y" * 60)
    long.mkdir(parents=True)
    (long / "c9_t1.nii.gz").write_bytes(b"no scan")
    assert "y" * 60 + "/c9_t1.nii.gz" in _run("verify", folder).output
