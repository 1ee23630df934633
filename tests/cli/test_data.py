import subprocess
import sys

import pytest
from typer.testing import CliRunner

from medseg.cli.data import data_app
from medseg.errors import ConfigError, DataError

SMALL = ["--shape", "24,28,24"]


def _run(*arguments):
    return CliRunner().invoke(data_app, ["phantom", *map(str, arguments)])


def test_phantoms_are_written_and_the_next_command_named(tmp_path):
    out = tmp_path / "phantoms"
    result = _run("brats", "--out", out, "--cases", 2, "--seed", 4, *SMALL, "--convention", "brats2023")
    assert result.exit_code == 0
    assert f"2 brats phantoms (seed 4, labels brats2023) in {out}" in result.output
    assert f"medseg train brats_mri_segmentation dataset_dir={out} label_convention=brats2023" in result.output
    assert len(list(out.glob("phantom_s4_00[01]/*.nii.gz"))) == 10
    again = _run("brats", "--out", out, "--cases", 2, "--seed", 4, *SMALL, "--convention", "brats2023")
    assert again.exit_code == 0


def test_an_organ_dataset_names_its_check(tmp_path):
    result = _run("msd", "--out", tmp_path / "d", "--cases", 1, *SMALL)
    assert result.exit_code == 0
    assert f"1 msd phantoms (seed 0) in {tmp_path / 'd'}" in result.output
    assert f"next: medseg data verify {tmp_path / 'd'}" in result.output
    assert (tmp_path / "d" / "imagesTr" / "organs_000.nii.gz").is_file()


def test_a_luna16_dataset_has_its_tables(tmp_path):
    result = _run("luna16", "--out", tmp_path / "d", "--cases", 2, "--spacing-mm", 6, *SMALL)
    assert result.exit_code == 0
    assert f"2 luna16 phantoms (seed 0) in {tmp_path / 'd'}, listed in" in result.output
    assert len(list(tmp_path.glob("d/subset[01]/*.mhd"))) == 2


def test_other_files_are_kept_unless_forced(tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    arguments = ["brats", "--out", tmp_path, "--cases", 1, *SMALL]
    refused = _run(*arguments)
    assert isinstance(refused.exception, DataError)
    assert list(tmp_path.iterdir()) == [tmp_path / "thesis.txt"]
    assert _run(*arguments, "--force").exit_code == 0
    assert (tmp_path / "thesis.txt").read_text() == "x"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lungs"], "no phantoms are called 'lungs'. Known: brats"),
        (["brats", "--shape", "big"], "--shape: 'big' is not three sizes"),
        (["brats", "--convention", "mine"], "no convention is named 'mine'"),
        (["msd", "--convention", "brats2017"], "--convention: msd phantoms have labels of their own"),
    ],
)
def test_bad_values_are_one_line(tmp_path, arguments, message):
    result = _run(*arguments, "--out", tmp_path / "d")
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; import medseg.cli.data; "
        "print([m for m in ('numpy', 'torch', 'monai', 'scipy', 'nibabel', 'medseg.datasets') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[]"


def test_the_next_command_can_be_copied(tmp_path):
    out = tmp_path / "two words"
    result = CliRunner().invoke(data_app, ["phantom", "msd", "-o", str(out), "-n", "1", "--shape", "24,24,24"])
    assert result.output.splitlines()[-1] == f"next: medseg data verify '{out}'"
