"""Every kind of bad input through the command line: exit code 2, one line that says it, and what is good stays."""

from __future__ import annotations

import csv
import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medseg.bundle.compose import compose
from medseg.cli.main import main

BUNDLE = "brats_mri_segmentation"
MODALITIES = ("t1", "t1c", "t2", "flair")
SIZE = 16
FULL_DEVICE = Path("/dev/full")
TINY = (
    "residual_unet::channels=[4, 8]",
    "residual_unet::strides=[2]",
    "residual_unet::num_res_units=0",
    f"roi_size=[{SIZE}, {SIZE}, {SIZE}]",
    "device=cpu",
    "amp=false",
)
SHORT = ("epochs=1", "val_interval=1", "batch_size=1", "samples_per_epoch=2", "num_workers=0")


def medseg(*words: object) -> int:
    """The exit code of the command line, run in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["medseg", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


def only_error(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, lines
    assert not [line for line in lines if "Traceback" in line or "Logging error" in line or line.startswith(" ")]
    return errors[0]


def voxels(*shape: int) -> Any:
    return np.random.default_rng(0).integers(1, 1000, shape or (SIZE, SIZE, SIZE)).astype(np.int16)


def labels(*values: int) -> Any:
    made = np.zeros((SIZE, SIZE, SIZE), dtype=np.uint8)
    for number, value in enumerate(values or (2, 1, 4)):
        made[4 + number : 12 - number, 4:12, 4:12] = value
    return made


def write(path: Path, array: Any, *, spacing_mm: float = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])), path)


def scan_of(folder: Path, case: str, modality: str) -> Path:
    return folder / case / f"{case}_{modality}.nii.gz"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three good cases with labels; b and c are trained on, a validates."""
    folder = tmp_path / "data"
    training = []
    for case in "abc":
        for modality in MODALITIES:
            write(scan_of(folder, case, modality), voxels())
        write(scan_of(folder, case, "seg"), labels())
        image = [f"{case}/{case}_{modality}.nii.gz" for modality in MODALITIES]
        training.append({"image": image, "label": f"{case}/{case}_seg.nii.gz", "fold": int(case != "a")})
    (folder / "datalist.json").write_text(json.dumps({"name": "three", "training": training}))
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from monai.bundle import ConfigParser

    path = tmp_path_factory.mktemp("weights") / "model.pt"
    parser = ConfigParser(compose(BUNDLE, "inference", overrides=TINY).config)
    torch.save(parser.get_parsed_content("network_def").state_dict(), path)
    return path


def cut(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def with_nan() -> Any:
    array = voxels().astype(np.float32)
    array[3, 4, 5] = np.nan
    return array


Spoil = Callable[[Path], None]
BAD_SCANS: dict[str, tuple[Spoil, str]] = {
    "shape": (lambda path: write(path, voxels(SIZE, SIZE, 15)), "b: image b_t2.nii.gz against b_t1.nii.gz: shape"),
    "affine": (lambda path: write(path, voxels(), spacing_mm=1.5), "same shape, but the affines differ"),
    "nan": (lambda path: write(path, with_nan()), "b: b_t2.nii.gz holds 1 voxel(s) that are NaN"),
    "channels": (lambda path: write(path, voxels(SIZE, SIZE, SIZE, 2)), "gives 5 channel(s), the network wants 4"),
    "truncated": (cut, "b_t2.nii.gz: truncated or damaged gzip"),
}
BAD_LABELS: dict[str, tuple[Spoil, str]] = {
    "shape": (lambda path: write(path, labels()[:15]), "shape 15x16x16 != 16x16x16"),
    "affine": (lambda path: write(path, labels(), spacing_mm=1.5), "same shape, but the affines differ"),
    "stray": (lambda path: write(path, labels(2, 9)), "label values [9] are outside the convention"),
    "truncated": (cut, "b_seg.nii.gz: truncated or damaged gzip"),
}


@pytest.mark.parametrize(("spoil", "line"), BAD_SCANS.values(), ids=BAD_SCANS)
def test_a_bad_scan_stops_no_other_prediction(
    data: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Spoil, line: str
) -> None:
    spoil(scan_of(data, "b", "t2"))
    assert medseg("predict", BUNDLE, data, "-o", tmp_path / "out", "--weights", weights, *TINY) == 2
    error = only_error(capsys)
    assert line in error
    assert "(2 of 3 cases are written to" in error
    assert sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz")) == ["a.nii.gz", "c.nii.gz"]


@pytest.mark.parametrize(("spoil", "line"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_a_bad_label_stops_the_training_before_it_learns_from_it(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Spoil, line: str
) -> None:
    spoil(scan_of(data, "b", "seg"))
    assert medseg("train", BUNDLE, "--run-dir", tmp_path / "run", f"dataset_dir={data}", *TINY, *SHORT) == 2
    error = only_error(capsys)
    assert error.startswith("error: b: ") or "b_seg.nii.gz" in error
    assert line in error
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"


@pytest.mark.parametrize(("spoil", "line"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_a_bad_label_stops_no_other_score(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Spoil, line: str
) -> None:
    for case in "abc":
        write(tmp_path / "pred" / f"{case}.nii.gz", labels())
    spoil(scan_of(data, "b", "seg"))
    sides = ("--pred", tmp_path / "pred", "--ref", data, "--regions", "brats2017")
    assert medseg("evaluate", *sides, "-o", tmp_path / "out") == 2
    error = only_error(capsys)
    assert "b: " in error
    assert line in error or "shape 16x16x16 != 15x16x16" in error  # here the prediction is the one that differs
    with (tmp_path / "out" / "cases.csv").open(newline="") as file:
        assert {row["case_id"] for row in csv.DictReader(file)} == {"a", "c"}


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (
            lambda data: scan_of(data, "b", "flair").unlink(),
            "case b (b_t1.nii.gz, b_t1c.nii.gz, b_t2.nii.gz): modality",
        ),
        (lambda data: [path.unlink() for path in data.rglob("*.nii.gz")], "data: no case here: the folder has no"),
    ],
    ids=["a missing modality", "a folder without cases"],
)
def test_scans_that_are_not_there_are_missed_before_anything_runs(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Spoil, line: str
) -> None:
    spoil(data)
    assert medseg("predict", BUNDLE, data, "-o", tmp_path / "out", *TINY) == 2
    assert line in only_error(capsys)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_cases_does_not_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    words = ("--run-dir", tmp_path / "run", f"dataset_dir={tmp_path / 'empty'}", *TINY, *SHORT)
    assert medseg("train", BUNDLE, *words) == 2
    assert "empty: no case here" in only_error(capsys)


def test_an_input_is_never_written_over(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "scans" / "x.nii.gz", voxels())
    before = (tmp_path / "scans" / "x.nii.gz").read_bytes()
    words = ("-o", tmp_path / "scans", "modalities=[t1]", *TINY)
    assert medseg("predict", BUNDLE, tmp_path / "scans", *words) == 2
    assert "x.nii.gz: is an input (case x)" in only_error(capsys)
    assert (tmp_path / "scans" / "x.nii.gz").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "line"),
    [({"conv.weight": (2, 2)}, "weights for another network"), (None, "damaged, or not a weights file")],
    ids=["foreign", "damaged"],
)
def test_weights_that_do_not_fit_are_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: dict[str, Any] | None, line: str
) -> None:
    import torch

    path = tmp_path / "weights.pt"
    path.write_bytes(b"no weights")
    if content:
        torch.save({name: torch.zeros(shape) for name, shape in content.items()}, path)
    assert medseg("predict", BUNDLE, data, "-o", tmp_path / "out", "--weights", path, *TINY) == 2
    error = only_error(capsys)
    assert f"weights.pt: {line}" in error
    assert not list((tmp_path / "out").glob("*.nii.gz"))


@pytest.mark.parametrize(
    ("token", "line"),
    [
        ("epohcs=3", "no key 'epohcs'. Did you mean 'epochs'?"),
        ("epochs=2.5", "epochs: 2.5 is no whole number"),
        ("epochs=0", "epochs: 0 is too small"),
        ("residual_unet::_target_=monai.networks.nets.UNett", "'monai.networks.nets.UNett' does not exist"),
        ("residual_unet::chanels=[4, 8]", "takes no argument 'chanels'. Did you mean 'channels'?"),
        ("network_def=@segresnett", "refers to a key that the config lacks. Did you mean @segresnet?"),
    ],
)
def test_a_config_that_cannot_be_is_refused_before_data_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], token: str, line: str
) -> None:
    assert medseg("train", BUNDLE, "--run-dir", tmp_path / "run", "dataset_dir=nowhere", token) == 2
    assert line in only_error(capsys)
    assert not (tmp_path / "run").exists()


def is_checkpoint(handle: int) -> bool:
    return ".pt." in Path(f"/proc/self/fd/{handle}").readlink().name


@pytest.mark.skipif(not FULL_DEVICE.exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, sync = tmp_path / "run", os.fsync
    run.mkdir()
    (run / "train.log").symlink_to(FULL_DEVICE)  # each line of the log fails

    def full(handle: int) -> None:
        if is_checkpoint(handle):
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr("os.fsync", full)
    assert medseg("train", BUNDLE, "--run-dir", run, f"dataset_dir={data}", *TINY, *SHORT) == 2
    error = only_error(capsys)
    assert "could not be written: No space left on device; nothing was there before. Free some space" in error
    assert f"medseg train --resume {run}" in error
    assert json.loads((run / "run.json").read_text())["status"] == "failed"
    monkeypatch.undo()
    assert medseg("train", "--resume", run) == 0
    assert (run / "checkpoints" / "last.pt").is_file()
