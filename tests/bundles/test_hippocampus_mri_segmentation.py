"""The weights that ship with the hippocampus bundle: what they have seen, and what they give on real scans."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from medseg.benchmark.splitting import check_unseen, folds_of
from medseg.benchmark.suite import read_suite
from medseg.bundle.split_record import read_split
from medseg.cli.main import main
from medseg.datasets.datalist import case_id_of
from medseg.datasets.splits import ids_sha256
from medseg.errors import ConfigError
from medseg.volumes import read_volume

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundles" / "hippocampus_mri_segmentation"
DATA = ROOT.parent / "shared" / "data"
SPLIT = json.loads((BUNDLE / "docs" / "split.json").read_text())
ANTERIOR, POSTERIOR = 1, 2


def ids(section: str) -> list[str]:
    return [case_id_of(entry) for entry in SPLIT[section]]


def medseg(*words: object) -> int | None:
    """The command line, in this process; its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["medseg", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
    return ended.value.code  # type: ignore[return-value]


def voxels(path: Path) -> npt.NDArray[Any]:
    return np.asarray(nib.load(path).dataobj)


def dice(one: npt.NDArray[Any], other: npt.NDArray[Any], label: int) -> float:
    return float(2 * ((one == label) & (other == label)).sum() / ((one == label).sum() + (other == label).sum()))


def test_the_lists_are_those_whose_hashes_stand_beside_them_and_share_no_case() -> None:
    lists = {name: ids(name) for name in ("training", "validation", "testing")}
    assert {name: ids_sha256(cases) for name, cases in lists.items()} == SPLIT["split"]["ids_sha256"]
    assert {name: len(cases) for name, cases in lists.items()} == {"training": 126, "validation": 14, "testing": 60}
    assert len(set().union(*lists.values())) == 200


def test_the_weights_say_that_they_have_seen_none_of_the_60() -> None:
    seen = read_split(BUNDLE / "models")
    assert seen is not None
    assert seen == {name: sorted(ids(name)) for name in ("training", "validation")}
    check_unseen(ids("testing"), seen, where="models")
    with pytest.raises(ConfigError, match=ids("training")[0]):
        check_unseen(ids("training"), seen, where="models")


def test_the_weights_are_small_and_those_of_the_network() -> None:
    from monai.bundle import ConfigParser

    from medseg.engines.weights import read_weights

    path = BUNDLE / "models" / "model.safetensors"
    assert path.stat().st_size < 6e6
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "common.yaml"))
    wanted = {name: tuple(value.shape) for name, value in parser.get_parsed_content("network_def").state_dict().items()}
    assert {name: tuple(value.shape) for name, value in read_weights(path).items()} == wanted


def test_freezing_writes_the_weights_as_consumers_of_monai_read_them(tmp_path: Path) -> None:
    import torch

    from medseg.engines.weights import read_weights

    assert not medseg("bundle", "freeze", BUNDLE, "-o", tmp_path / "frozen_segmentation")
    frozen = torch.load(tmp_path / "frozen_segmentation" / "models" / "model.pt", weights_only=True)
    shipped = read_weights(BUNDLE / "models" / "model.safetensors")
    assert frozen.keys() == shipped.keys()
    assert all(torch.equal(frozen[name], shipped[name]) for name in shipped)
    config = json.loads((tmp_path / "frozen_segmentation" / "configs" / "inference.json").read_text())
    assert config["ckpt_path"].endswith("/models/model.pt'")


@pytest.fixture(scope="module")
def unseen() -> list[str]:
    """Some of the 60 cases that neither trained nor chose the weights."""
    if not (DATA / "msd_task04_hippocampus").is_dir():
        pytest.skip("MSD Task04 is not on this machine (../shared/data/msd_task04_hippocampus)")
    return sorted(ids("testing"))[::10]


def test_the_suite_of_the_card_tests_the_60_and_nothing_else(unseen: list[str]) -> None:
    suite = read_suite(BUNDLE / "docs" / "suite.yaml")
    (fold,) = folds_of(suite, DATA / "msd_task04_hippocampus", modalities=["mr"])
    assert set(unseen) <= set(fold.ids("test")) == set(ids("testing"))


def test_unseen_scans_are_segmented_in_their_own_grid(unseen: list[str], tmp_path: Path) -> None:
    folder = DATA / "msd_task04_hippocampus"
    scans = [folder / "imagesTr" / f"{case}.nii.gz" for case in unseen]
    assert not medseg("predict", "hippocampus_mri_segmentation", *scans, "-o", tmp_path, "device=cpu")
    scores = []
    for case, scan in zip(unseen, scans, strict=True):
        found, wanted = nib.load(tmp_path / f"{case}.nii.gz"), voxels(folder / "labelsTr" / f"{case}.nii.gz")
        np.testing.assert_array_equal(found.affine, nib.load(scan).affine)
        assert found.shape == wanted.shape
        scores.append([dice(voxels(tmp_path / f"{case}.nii.gz"), wanted, label) for label in (ANTERIOR, POSTERIOR)])
    assert np.mean(scores, axis=0).min() > 0.85
    assert np.min(scores) > 0.7


def test_a_case_that_cannot_be_written_costs_no_other_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draws = np.random.default_rng(0)
    for case in ("a", "b", "c", "d"):
        scan = draws.integers(0, 200, (30, 40, 30)).astype(np.int16)
        nib.save(nib.Nifti1Image(scan, np.eye(4)), tmp_path / f"{case}.nii.gz")
    scans = [tmp_path / f"{case}.nii.gz" for case in ("a", "b", "c", "d")]
    out = tmp_path / "out"
    (out / "b.nii.gz" / "in the way").mkdir(parents=True)
    words = ["predict", "hippocampus_mri_segmentation", *scans, "-o", out, "device=cpu", "placement=foreground"]
    assert medseg(*words) == 2
    assert "b.nii.gz" in capsys.readouterr().err
    assert all((out / f"{case}.nii.gz").is_file() for case in ("a", "c", "d"))
    told = [line for line in (out / "predict.log").read_text().splitlines() if ": predicted (" in line]
    assert [line.split()[-5].rstrip(":") for line in told] == ["a", "c", "d"]
    record = json.loads((out / "run.json").read_text())
    assert (record["status"], record["can_change_masks"]["placement"]) == ("failed", "foreground")
    assert record["overrides"] == ["device=cpu", "placement=foreground"]


def test_a_dicom_series_is_segmented_where_it_lies(tmp_path: Path) -> None:
    series = DATA / "dicom" / "hippocrop_t1"
    if not series.is_dir():
        pytest.skip("the DICOM series is not on this machine (../shared/data/dicom/hippocrop_t1)")
    pytest.importorskip("pydicom", reason="reading DICOM needs the extra medseg[dicom]")
    assert not medseg("predict", "hippocampus_mri_segmentation", series, "-o", tmp_path, "device=cpu")
    found = read_volume(tmp_path / "hippocrop.nii.gz")
    np.testing.assert_allclose(found.affine_ras_mm, read_volume(series).affine_ras_mm, atol=1e-5)
    world_y = {label: _middle_ras_mm(found.array == label, found.affine_ras_mm)[1] for label in (ANTERIOR, POSTERIOR)}
    assert world_y[ANTERIOR] > world_y[POSTERIOR] + 10
    # Hippocampi of Task04 have 2 to 5 ml.
    assert 1500 < (found.array > 0).sum() < 6000


def _middle_ras_mm(mask: npt.NDArray[np.bool_], affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + affine[:3, 3]


def test_a_series_with_a_missing_slice_ends_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    series = DATA / "dicom" / "prostatex_missing_slice"
    if not series.is_dir():
        pytest.skip("the DICOM series is not on this machine (../shared/data/dicom/prostatex_missing_slice)")
    pytest.importorskip("pydicom", reason="reading DICOM needs the extra medseg[dicom]")
    assert medseg("predict", "hippocampus_mri_segmentation", series, "-o", tmp_path / "out") == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert "1 slice missing: 1-07.dcm and 1-05.dcm are 6 mm apart, the others 3 mm" in told[0]
