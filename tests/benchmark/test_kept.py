"""Jobs that are kept: as each ends, taken instead of run again, and refused when they are of something else."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from medseg.benchmark.local import run_suite
from medseg.errors import ConfigError

_SPEC = importlib.util.spec_from_file_location("stub_suite", Path(__file__).parent / "stub_suite.py")
assert _SPEC is not None
assert _SPEC.loader is not None
stub = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(stub)

ONE = """
name: stub
dataset: {folder: DATA}
folds: {run: [FOLDS]}
regions: {blob: 1}
budget: {epochs: 3}
entries:
- {name: good, bundle: brats_mri_segmentation, overrides: {modalities: [t1]}}
"""


@pytest.fixture
def suite(tmp_path: Path):
    """Suites on one dataset, with some folds; and what was replaced in their text."""
    data = stub.write_dataset(tmp_path / "data")

    def make(folds: str, *, old: str = "", new: str = ""):
        text = ONE.replace("FOLDS", folds).replace(old, new) if old else ONE.replace("FOLDS", folds)
        return stub.write_suite(tmp_path / "suite.yaml", data, text)

    return make


def test_a_suite_goes_on_from_kept_folds_and_comes_to_the_same_table(tmp_path: Path, suite) -> None:
    whole, _ = run_suite(suite("0, 1"), tmp_path / "whole", heavy=stub.Stub())
    first, second = stub.Stub(), stub.Stub()
    run_suite(suite("0"), tmp_path / "a", heavy=first, kept_in=tmp_path / "kept")
    assert sorted(path.name for path in (tmp_path / "kept" / "good-fold0-seed0").iterdir()) == [
        "cases.csv",
        "kept.json",
        "summary.json",
    ]
    table, outcomes = run_suite(suite("0, 1"), tmp_path / "b", heavy=second, kept_in=tmp_path / "kept")
    assert (first.trained, second.trained) == (["good-fold0-seed0"], ["good-fold1-seed0"])
    assert table.read_text() == whole.read_text()
    assert all(outcome.problem is None and not outcome.failed for outcome in outcomes.values())
    facts = json.loads((tmp_path / "kept" / "good-fold1-seed0" / "kept.json").read_text())
    assert facts["epochs"] == 3
    assert facts["known_by"]["split"]["test"]["n"] == 2
    assert str(tmp_path) not in json.dumps(facts)


def test_what_was_kept_of_another_config_budget_or_scoring_is_refused(tmp_path: Path, suite) -> None:
    run_suite(suite("0"), tmp_path / "a", heavy=stub.Stub(), kept_in=tmp_path / "kept")
    for old, new, words in [
        ("modalities: [t1]", "modalities: [t1], learning_rate: 0.1", "training config"),
        ("epochs: 3", "epochs: 4", "budget"),
        ("blob: 1", "blob: 2", "regions"),
        ("regions:", "selection: 0.3\nregions:", "split"),
    ]:
        with pytest.raises(ConfigError, match=f"good-fold0-seed0: made with another {words} than the suite asks for"):
            run_suite(suite("0", old=old, new=new), tmp_path / words, heavy=stub.Stub(), kept_in=tmp_path / "kept")


def test_what_failed_is_not_kept(tmp_path: Path, suite) -> None:
    heavy = stub.Stub(fail_training=["good-fold0-seed0"])
    run_suite(suite("0, 1"), tmp_path / "a", heavy=heavy, kept_in=tmp_path / "kept")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["good-fold1-seed0"]
