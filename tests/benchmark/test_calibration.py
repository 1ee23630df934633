"""Calibration in a suite."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from medseg.benchmark.local import run_suite
from medseg.benchmark.suite import read_suite
from medseg.errors import ConfigError
from medseg.evaluation.calibration import Calibration, read_calibration
from medseg.metrics.calibration import merge, reliability
from medseg.report import write_report

_SPEC = importlib.util.spec_from_file_location("stub_suite", Path(__file__).parent / "stub_suite.py")
stub = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(stub)

SUITE = """
name: stub
dataset: {folder: DATA}
folds: {run: [0, 1]}
seeds: [0, 1]
calibration: true
regions: {blob: 1}
entries:
- {name: good, bundle: hippocampus_mri_segmentation, overrides: {modalities: [t1], regions: [blob]}}
"""


@pytest.fixture
def data(tmp_path):
    return stub.write_dataset(tmp_path / "data")


def results(out):
    return json.loads((out / "results.json").read_text())


def test_the_curves_of_all_folds_and_seeds_are_one(tmp_path, data):
    out = tmp_path / "out"
    table, _ = run_suite(stub.write_suite(tmp_path / "s.yaml", data, SUITE), out, heavy=stub.Stub())
    parts = []
    for job in sorted((out / "jobs").iterdir()):
        for case in sorted((job / "predictions" / "probabilities").iterdir()):
            label, found = data / case.name.replace(".nii", "_seg.nii"), stub.nib.load(case)
            parts.append(reliability(np.asarray(found.dataobj)[..., 0], np.asarray(stub.nib.load(label).dataobj) > 0))
    assert len(parts) == 2 * 2 * 2
    told = results(out)["calibration"]["good"]["regions"]["blob"]
    assert told["ece"] == pytest.approx(merge(parts).ece)
    assert told["brier"] == pytest.approx(merge(parts).brier)
    assert sum(row["voxels"] for row in told["curve"]) == 8 * 8**3
    assert f"| good | blob | {told['ece']:.4f} | {told['mce']:.4f} | {told['brier']:.4f} |" in table.read_text()
    assert "Reliability diagram" in write_report(out).read_text()


def test_without_it_nothing_changes_and_no_probabilities_are_written(tmp_path, data):
    out = tmp_path / "out"
    run_suite(stub.write_suite(tmp_path / "s.yaml", data, SUITE.replace("true", "false")), out, heavy=stub.Stub())
    assert "calibration" not in results(out)
    assert not list(out.rglob("probabilities"))


def test_cases_of_a_failed_training_have_none_and_are_named(tmp_path, data):
    out = tmp_path / "out"
    failing = stub.Stub(fail_training=["good-fold0-seed0"], fail_cases=["p1"])
    run_suite(stub.write_suite(tmp_path / "s.yaml", data, SUITE), out, heavy=failing)
    assert results(out)["calibration"]["good"]["missing"] == ["p0", "p1", "p3"]


def other_bundle(text):
    return text.partition("- {name")[0] + "- {name: good, bundle: lung_nodule_ct_detection}\n"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda text: text.replace("[blob]", "[other]"), r"channels are \['other'\], the regions \['blob'\]"),
        (lambda text: text.replace("true", "maybe"), "calibration: 'maybe'. Wanted true or false"),
        (other_bundle, "has no save_probabilities"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(tmp_path, data, change, match):
    heavy = stub.Stub()
    (tmp_path / "s.yaml").write_text(change(SUITE).replace("DATA", str(data)))
    with pytest.raises(ConfigError, match=match):
        run_suite(read_suite(tmp_path / "s.yaml"), tmp_path / "out", heavy=heavy)
    assert heavy.trained == []


def test_a_detector_has_none(tmp_path, data):
    (tmp_path / "s.yaml").write_text(SUITE.replace("DATA", str(data)) + "task: detection\nmetrics: [cpm]\n")
    with pytest.raises(ConfigError, match="true for segmentation only"):
        read_suite(tmp_path / "s.yaml")


def test_what_is_written_is_read_again():
    rng = np.random.default_rng(0)
    probabilities = np.concatenate([rng.random(500), np.arange(16) / 15])  # also on the bins' borders
    found = Calibration(regions={"a": reliability(probabilities, rng.random(516) < probabilities)}, missing=("x",))
    again = read_calibration(json.loads(json.dumps(found.to_json())))
    assert again.missing == ("x",)
    assert again.regions["a"].ece == pytest.approx(found.regions["a"].ece)
    assert again.regions["a"].brier == pytest.approx(found.regions["a"].brier)
    assert again.regions["a"].count.tolist() == found.regions["a"].count.tolist()
    assert again.regions["a"].positive.tolist() == found.regions["a"].positive.tolist()
