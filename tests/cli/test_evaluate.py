import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from medseg.cli.evaluate import evaluate
from medseg.errors import ConfigError, DataError

RUNNER = CliRunner()


@pytest.fixture
def app():
    application = typer.Typer()
    application.command()(evaluate)
    return application


@pytest.fixture
def folders(tmp_path):
    labels = np.zeros((12, 12, 12), dtype=np.uint8)
    labels[3:9, 3:9, 3:9] = 2
    labels[5:8, 5:8, 5:8] = 4
    for side in ("pred", "ref"):
        (tmp_path / side).mkdir()
        for name in "ab":
            nib.Nifti1Image(labels, np.eye(4)).to_filename(tmp_path / side / f"{name}.nii.gz")
    return tmp_path


def run(app, folders, *extra):
    sides = ["--pred", str(folders / "pred"), "--ref", str(folders / "ref")]
    return RUNNER.invoke(app, [*sides, "-o", str(folders / "out"), *extra])


def test_it_prints_a_table_and_writes_both_files(app, folders):
    result = run(app, folders, "--task", "segmentation", "--regions", "brats2017", "--tolerance-mm", "2")
    assert result.exit_code == 0, result.output
    assert "WT" in result.stdout
    assert "1.000" in result.stdout
    assert json.loads((folders / "out" / "summary.json").read_text())["tolerance_mm"] == 2
    assert (folders / "out" / "cases.csv").read_text().count("\n") == 1 + 2 * 3


def test_a_missing_prediction_is_a_warning(app, folders):
    (folders / "pred" / "b.nii.gz").unlink()
    result = run(app, folders)
    assert result.exit_code == 0
    assert "warning: b: no prediction" in result.stderr


def test_bad_cases_end_in_an_error_after_everything_is_saved(app, folders):
    (folders / "pred" / "b.nii.gz").write_bytes(b"no scan")
    nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4)).to_filename(folders / "pred" / "z.nii.gz")
    result = run(app, folders)
    assert isinstance(result.exception, DataError)
    assert "no reference for case z" in str(result.exception)
    assert "error: b: " in result.stderr
    assert json.loads((folders / "out" / "summary.json").read_text())["n_cases"] == 1


def test_an_unknown_convention_is_an_error_of_its_option(app, folders):
    result = run(app, folders, "--regions", "brats2071")
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith("--regions: no convention is named 'brats2071'. Known: brats2015")
    assert not (folders / "out").exists()


@pytest.mark.parametrize("option", [["--exclude", "e.csv"], ["--series", "s.csv"], ["--subset"]])
def test_options_of_detection_are_refused_in_segmentation(app, folders, option):
    result = run(app, folders, *option)
    assert isinstance(result.exception, ConfigError)
    assert "--task detection" in str(result.exception)


def test_importing_the_command_is_light_and_running_it_needs_no_torch():
    code = (
        "import sys, medseg.cli.evaluate\n"
        "assert not {'numpy', 'numba', 'scipy', 'nibabel'} & set(sys.modules)\n"
        "import medseg.evaluation\n"
        "assert not {'torch', 'monai'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
