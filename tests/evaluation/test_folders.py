import csv
import json
from pathlib import Path

import numpy as np
import pytest

from medseg.errors import ConfigError, DataError
from medseg.evaluation import evaluate_folders
from medseg.evaluation.summary import COLUMNS


def read(out_dir):
    with (out_dir / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    return rows, json.loads((out_dir / "summary.json").read_text())


def test_scores_are_written_as_they_are_returned(tmp_path, folders):
    summary = evaluate_folders(*folders, out_dir=tmp_path / "new" / "out", regions="brats2017", tolerance_mm=0.5)
    rows, written = read(tmp_path / "new" / "out")
    assert written == summary.to_json()
    assert list(rows[0]) == list(COLUMNS)
    assert [(row["case_id"], row["region"]) for row in rows] == [(c, r) for c in "abc" for r in ("TC", "WT", "ET")]
    assert written["n_cases"] == 3
    assert (written["surface_definition"], written["tolerance_mm"]) == ("deepmind", 0.5)
    assert written["regions"]["WT"]["dice"]["median"] == 1
    assert written["regions"]["WT"]["hd95_mm"]["mean"] == pytest.approx(1 / 3)
    dice = [float(row["dice"]) for row in rows if row["region"] == "WT"]
    assert written["regions"]["WT"]["dice"]["mean"] == pytest.approx(np.mean(dice), rel=1e-15)
    assert written["regions"]["WT"]["dice"]["sd"] == pytest.approx(np.std(dice, ddof=1))
    assert summary.errors == ()


def test_where_the_references_lie_is_written_beside_the_scores(tmp_path, folders):
    evaluate_folders(*folders, out_dir=tmp_path / "out", regions="brats2017")
    written = json.loads((tmp_path / "out" / "references.json").read_text())
    assert sorted(written) == ["a", "b", "c"]
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in written.values())


def test_the_mean_is_over_regions_then_cases(tmp_path, folders):
    summary = evaluate_folders(*folders, out_dir=tmp_path / "out", regions="brats2017")
    by_region = [summary.regions[name]["nsd"].mean for name in ("TC", "WT", "ET")]
    assert summary.mean["nsd"].mean == pytest.approx(np.mean(by_region))
    assert summary.mean["nsd"].n == 3


def test_without_a_convention_the_label_values_of_all_files_are_the_regions(tmp_path, folders, save, labels):
    pred, _ = folders
    save(pred / "c.nii.gz", np.where(labels == 4, 30, labels))
    summary = evaluate_folders(*folders, out_dir=tmp_path / "out")
    assert summary.region_names == ("1", "2", "4", "30")
    states = {(row["case_id"], row["region"]): row["state"] for row in read(tmp_path / "out")[0]}
    assert states["a", "30"] == "both_empty"
    assert states["c", "30"] == "ref_empty"
    assert states["c", "4"] == "pred_empty"


def test_a_missing_prediction_is_scored_as_the_worst_and_listed(tmp_path, folders):
    (folders[0] / "b.nii.gz").unlink()
    summary = evaluate_folders(*folders, out_dir=tmp_path / "out", regions="brats2017")
    assert summary.missing_predictions == ("b",)
    assert summary.errors == ()
    assert summary.regions["ET"]["dice"].mean == pytest.approx(2 / 3)
    assert read(tmp_path / "out")[1]["missing_predictions"] == ["b"]


@pytest.mark.parametrize("workers", [1, 3])
def test_one_bad_case_loses_nothing(tmp_path, folders, save, labels, workers):
    save(folders[0] / "b.nii.gz", labels[1:])
    summary = evaluate_folders(*folders, out_dir=tmp_path / "out", regions="brats2017", workers=workers)
    assert list(summary.failed) == ["b"]
    assert len(summary.errors) == 1
    assert "shape 15x14x12 != 16x14x12" in summary.errors[0]
    rows, written = read(tmp_path / "out")
    assert sorted({row["case_id"] for row in rows}) == ["a", "c"]
    assert written["n_cases"] == 2
    assert written["failed"] == summary.failed


def test_a_prediction_without_a_reference_is_an_error_line(tmp_path, folders, save, labels):
    save(folders[0] / "z.nii.gz", labels)
    summary = evaluate_folders(*folders, out_dir=tmp_path / "out")
    assert len(summary.errors) == 1
    assert "no reference for case z" in summary.errors[0]
    assert read(tmp_path / "out")[1]["n_cases"] == 3


def test_cases_where_both_are_empty_count(tmp_path, folders, save, labels):
    for folder, name in zip(folders, ("c", "c_seg"), strict=True):
        save(folder / f"{name}.nii.gz", np.zeros_like(labels))
    summary = evaluate_folders(*folders, out_dir=tmp_path / "out", regions="brats2017")
    assert summary.regions["ET"]["dice"].n == 3
    assert summary.cases[2].regions["ET"].values["dice"] == 1


def test_results_do_not_depend_on_the_number_of_workers(tmp_path, folders):
    for workers in (1, 2, 5):
        evaluate_folders(*folders, out_dir=tmp_path / str(workers), workers=workers)
    for name in ("cases.csv", "summary.json"):
        assert len({(tmp_path / str(workers) / name).read_bytes() for workers in (1, 2, 5)}) == 1


def test_the_voxel_definition_is_stated(tmp_path, folders):
    summary = evaluate_folders(*folders, out_dir=tmp_path / "out", surface="voxel")
    assert read(tmp_path / "out")[1]["surface_definition"] == "voxel"
    assert "touch the background" in summary.to_json()["surface_definition_meaning"]


def test_when_no_case_can_be_scored_the_first_reason_is_given(tmp_path, folders, save, labels):
    for name in "abc":
        save(folders[0] / f"{name}.nii.gz", labels[1:])
    with pytest.raises(DataError, match=r"none of 3 cases could be scored. First: a: .*shape"):
        evaluate_folders(*folders, out_dir=tmp_path / "out")


def test_nothing_but_empty_maps_needs_a_convention(tmp_path, save, labels):
    for side in ("pred", "ref"):
        save(tmp_path / side / "a.nii.gz", np.zeros_like(labels))
    with pytest.raises(DataError, match="every label map is empty"):
        evaluate_folders(tmp_path / "pred", tmp_path / "ref", out_dir=tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"regions": "brats2016"}, "no convention is named 'brats2016'"),
        ({"tolerance_mm": -1}, "no tolerance"),
        ({"tolerance_mm": float("nan")}, "no tolerance"),
        ({"surface": "monai"}, "no definition is named 'monai'"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_read(tmp_path, settings, said):
    with pytest.raises(ConfigError, match=said):
        evaluate_folders(tmp_path / "gone", tmp_path / "gone", out_dir=tmp_path / "out", **settings)


def test_an_output_folder_that_cannot_be_made_is_one_line(tmp_path, folders):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="could not be made"):
        evaluate_folders(*folders, out_dir=tmp_path / "file" / "out")


def test_a_full_disk_is_one_line_and_keeps_the_old_results(tmp_path, folders, monkeypatch):
    evaluate_folders(*folders, out_dir=tmp_path / "out")
    before = (tmp_path / "out" / "cases.csv").read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medseg.evaluation.summary.csv.writer", full)
    with pytest.raises(DataError, match=r"cases.csv: could not be written \(No space left on device\)"):
        evaluate_folders(*folders, out_dir=tmp_path / "out", tolerance_mm=3)
    assert (tmp_path / "out" / "cases.csv").read_bytes() == before
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["cases.csv", "references.json", "summary.json"]
