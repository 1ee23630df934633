import io
import json
import zipfile

import nibabel as nib
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from medseg.cli.data import data_app
from medseg.cli.datasets import _progress, _watch
from medseg.datasets.registry import DATASETS
from medseg.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path / "home"


def _run(*arguments):
    return CliRunner().invoke(data_app, [*map(str, arguments)])


def test_the_list_shows_every_dataset_and_what_is_on_disk(home):
    (home / ".msd_task09_spleen.partial").mkdir(parents=True)
    result = _run("list")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.output.splitlines()[1:] if line.strip()}
    assert set(DATASETS) <= set(lines)
    assert "partial" in lines["msd_task09_spleen"]
    assert "7.6 GB" in lines["msd_task01_braintumour"]
    assert "request" in lines["brats2020"]
    assert str(home) in result.output.replace("\n", "")


def test_a_narrow_window_shortens_what_and_not_names_or_sizes(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = _run("list").output.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].split() == ["name", "what", "access", "size", "on", "disk"]
    (liver,) = (line for line in lines if line.startswith("msd_task03_liver "))
    assert "28.9 GB" in liver


def test_the_list_as_json_has_every_address(home):
    told = json.loads(_run("list", "--json").output)
    assert list(told) == list(DATASETS)
    assert told["luna16"]["state"] == "absent"
    assert told["luna16"]["n_bytes"] is None  # not every length is published
    assert told["adrenalmnist3d"]["files"][0]["checksum"] == "md5:bbd3c5a5576322bc4cdfea780653b1ce"


def test_get_takes_what_the_user_has(home, tmp_path):
    with zipfile.ZipFile(tmp_path / "readings.zip", "w") as archive:
        archive.writestr("LIDC-XML-only/157/158.xml", "<LidcReadMessage/>")
    result = _run("get", "lidc_idri_annotations", "--from", tmp_path / "readings.zip")
    assert result.exit_code == 0, result.exception
    assert "licence: CC BY 3.0" in result.output
    assert f"lidc_idri_annotations is in {home / 'lidc_idri_annotations'}" in result.output
    assert (home / "lidc_idri_annotations/LIDC-XML-only/157/158.xml").is_file()
    assert "next: medseg data verify lidc_idri_annotations" in result.output
    assert "present" in _run("list").output


def test_the_progress_shows_names_sizes_and_rates():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    spec = DATASETS["luna16"]
    with _progress(console) as progress:
        watch = _watch(progress, spec)
        for file in spec.files[:2]:
            watch.begins(file)
            watch.bytes_came(file, 100_000)
        watch.unpacks(spec.files[1])
        progress.refresh()
        watch.ends(spec.files[0])
    shown = console.file.getvalue()
    assert "annotations.csv" in shown
    assert "unpacking evaluationScript.zip" in shown
    assert "0.1/21.8 MB" in shown


def test_get_names_the_next_command(home, tmp_path):
    for index in range(2):
        save_case(tmp_path / f"given/case_{index:05d}")
    result = _run("get", "kits23", "--from", tmp_path / "given")
    assert result.exit_code == 0, result.exception
    assert result.output.splitlines()[-2:] == [f"kits23 is in {tmp_path / 'given'}", "next: medseg data verify kits23"]


def save_case(folder):
    folder.mkdir(parents=True)
    for name in ("imaging", "segmentation"):
        nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), folder / f"{name}.nii.gz")


def test_a_wrong_file_is_refused(home, tmp_path):
    (tmp_path / "adrenalmnist3d.npz").write_bytes(b"<html>")
    result = _run("get", "adrenalmnist3d", "--from", tmp_path / "adrenalmnist3d.npz")
    assert isinstance(result.exception, DataError)
    assert "6 bytes came, 276833 are published" in str(result.exception)
    assert not (home / "adrenalmnist3d").exists()


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["brats2020"], DataError, "brats2020: not openly hosted. To get it, fill in the registration"),
        (["brats2023"], DataError, "make a Synapse account, accept the terms at https://www.synapse.org/brats2023"),
        (["brats2222"], ConfigError, "no dataset is called 'brats2222'. Did you mean brats20"),
    ],
)
def test_what_cannot_be_fetched_is_one_line(arguments, kind, message):
    result = _run("get", *arguments)
    assert isinstance(result.exception, kind)
    assert message in str(result.exception)
