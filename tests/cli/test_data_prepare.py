import pytest
from typer.testing import CliRunner

from medseg.cli.data import data_app
from medseg.datasets.phantoms import write_luna16_phantoms
from medseg.errors import ConfigError, DataError


def _run(*arguments):
    return CliRunner().invoke(data_app, [*map(str, arguments)])


@pytest.fixture
def folder(tmp_path):
    write_luna16_phantoms(tmp_path / "raw", cases=3, shape=(48, 40, 24), spacing_mm=4.5)
    return tmp_path / "raw"


def test_scans_are_told_with_their_time_and_a_second_run_makes_none(folder, tmp_path):
    result = _run("prepare", folder, "-o", tmp_path / "out", "--spacing", "3,3,3", "-j", 1)
    lines = result.output.splitlines()
    assert result.exit_code == 0
    assert sum(" -> " in line and line.endswith(" s") for line in lines) == 3
    assert lines[3].startswith("3 scans made in ")
    assert "s a scan (median)" in lines[4]
    assert lines[5] == f"listed in {tmp_path / 'out' / 'datalist.json'}"
    again = _run("prepare", folder, "-o", tmp_path / "out", "--spacing", "3x3x3", "-j", 1)
    assert "3 were there, 0 failed" in again.output
    assert _run("verify", tmp_path / "out").exit_code == 0


def test_a_bad_scan_is_listed_at_the_end_with_exit_code_1(folder, tmp_path):
    bad = next(folder.glob("subset1/*.raw"))
    bad.unlink()
    result = _run("prepare", folder, "-o", tmp_path / "out", "--spacing", "3,3,3", "-j", 1)
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith(f"failed: {bad.stem}: ")
    assert "2 scans made" in result.output


def test_bad_arguments_raise_one_line(folder, tmp_path):
    for spacing in ("1,2", "a,b,c", "1,1,-1"):
        result = _run("prepare", folder, "-o", tmp_path / "out", "--spacing", spacing)
        assert isinstance(result.exception, ConfigError), spacing
    assert isinstance(_run("prepare", tmp_path / "nowhere", "-o", tmp_path / "out").exception, ConfigError)
    assert isinstance(_run("prepare", tmp_path, "-o", tmp_path / "out").exception, DataError)
