"""A suite from data to table, with heavy stages that cost nothing."""

import importlib.util
import json
from pathlib import Path

import pytest

from medseg.benchmark.local import run_suite
from medseg.benchmark.scores import read_scores
from medseg.errors import ConfigError, DataError

HERE = Path(__file__).parent
_SPEC = importlib.util.spec_from_file_location("stub_suite", HERE / "stub_suite.py")
stub = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(stub)

ONE = stub.SUITE.split("- {name: poor")[0]


@pytest.fixture
def data(tmp_path):
    return stub.write_dataset(tmp_path / "data")


@pytest.fixture
def suite(tmp_path, data):
    return stub.write_suite(tmp_path / "suite.yaml", data)


@pytest.fixture
def small(tmp_path, data):
    return stub.write_suite(tmp_path / "small.yaml", data, ONE.replace("seeds: [0, 1]", "seeds: [0]"))


def results(out):
    return json.loads((out / "results.json").read_text())


def test_a_suite_makes_a_table(suite, tmp_path):
    heavy = stub.Stub()
    table, outcomes = run_suite(suite, tmp_path / "out", heavy=heavy)
    assert len(heavy.trained) == 2 * 2 * 2
    assert not any(outcome.failed or outcome.problem for outcome in outcomes.values())
    text = table.read_text()
    assert "4 cases, each tested once for each seed." in text
    assert "| dice | blob | good |" in text
    found = results(tmp_path / "out")
    assert found["comparison"]["cases"] == ["p0", "p1", "p3", "p4"]
    rows = {row["run"]: row for row in found["comparison"]["rows"] if row["metric"] == "dice"}
    assert rows["good"]["scores"]["over_cases"]["mean"] > rows["poor"]["scores"]["over_cases"]["mean"]
    assert rows["good"]["scores"]["between_seed_sd"] is not None
    assert set(read_scores(tmp_path / "out" / "results" / "good").by_seed) == {0, 1}
    with pytest.raises(DataError, match=r"is a suite\. Give one of its entries: .*results/good, .*results/poor"):
        read_scores(tmp_path / "out")


def test_what_is_done_is_not_done_again(suite, tmp_path):
    run_suite(suite, tmp_path / "out", heavy=stub.Stub())
    before = (tmp_path / "out" / "results.json").read_bytes()
    again = stub.Stub()
    run_suite(suite, tmp_path / "out", heavy=again)
    assert again.trained == again.predicted == []
    assert (tmp_path / "out" / "results.json").read_bytes() == before


def test_a_change_runs_what_depends_on_it_and_nothing_else(suite, small, data, tmp_path):
    run_suite(suite, tmp_path / "out", heavy=stub.Stub())
    changed = stub.write_suite(
        tmp_path / "suite.yaml", data, stub.SUITE.replace("learning_rate: 0.1", "learning_rate: 0.2")
    )
    heavy = stub.Stub()
    run_suite(changed, tmp_path / "out", heavy=heavy)
    assert {name.split("-")[0] for name in heavy.trained} == {"poor"}
    # Another label changes the score of its fold, not its prediction; it trains the others.
    (data / "p2_seg.nii.gz").write_bytes((data / "p0_seg.nii.gz").read_bytes())
    heavy = stub.Stub()
    run_suite(changed, tmp_path / "out", heavy=heavy)
    assert set(heavy.trained) == {job for job in heavy.trained if "fold0" in job or "fold1" in job}
    assert len(heavy.trained) == 8, "p2 is in fold 2, which both other folds learn from"


def test_the_tested_cases_are_in_no_list_that_a_training_sees(suite, tmp_path):
    run_suite(suite, tmp_path / "out", heavy=stub.Stub())
    seen = json.loads((tmp_path / "out" / "jobs" / "good-fold0-seed0" / "datalist.json").read_text())
    assert [e["case_id"] for e in seen["validation"]] == ["p1", "p4"], "the next fold chooses the weights"
    assert [e["case_id"] for e in seen["training"]] == ["p2", "p5"]
    assert "p0" not in json.dumps(seen)


def test_a_share_of_the_other_cases_may_choose_the_weights(tmp_path, data):
    suite = stub.write_suite(tmp_path / "s.yaml", data, ONE + "\nselection: 0.25\n")
    run_suite(suite, tmp_path / "out", heavy=stub.Stub())
    splits = results(tmp_path / "out")["splits"]["fold 0"]
    assert {name: facts["n"] for name, facts in splits.items()} == {"training": 3, "selection": 1, "test": 2}


def test_selecting_on_a_tested_case_is_refused(tmp_path, data):
    suite = stub.write_suite(tmp_path / "s.yaml", data, ONE + "\nselection: [p2, p1]\n")
    heavy = stub.Stub()
    with pytest.raises(ConfigError, match="fold 1: case p1 is tested on and would choose the weights"):
        run_suite(suite, tmp_path / "out", heavy=heavy)
    assert heavy.trained == []


def test_a_tested_patient_counts_as_a_tested_case(tmp_path, data):
    listed = json.loads((data / "datalist.json").read_text())
    for entry in listed["training"]:
        entry["patient"] = {"p0": "same", "p1": "same"}.get(entry["case_id"], entry["case_id"])
    (data / "datalist.json").write_text(json.dumps(listed))
    with pytest.raises(ConfigError, match="case p1 is tested on and would choose"):
        run_suite(stub.write_suite(tmp_path / "s.yaml", data), tmp_path / "out", heavy=stub.Stub())


def test_a_run_that_chose_its_weights_on_other_cases_is_refused(small, tmp_path):
    def cheat(lists):
        lists["validation"] = ["p0", "p3"]

    with pytest.raises(ConfigError, match="case p0 and 1 others of the test are in the validation list"):
        run_suite(small, tmp_path / "out", heavy=stub.Stub(spoil_split=cheat))
    with pytest.raises(ConfigError, match="its training cases are not those that the suite gave it"):
        run_suite(small, tmp_path / "out2", heavy=stub.Stub(spoil_split=lambda lists: lists["training"].pop()))


def test_weights_that_have_seen_a_tested_case_are_refused_and_unknown_ones_flagged(tmp_path, data, small):
    run_suite(small, tmp_path / "out", heavy=stub.Stub())
    run = tmp_path / "out" / "jobs" / "good-fold0-seed0" / "run"
    text = ONE.replace("seeds: [0, 1]", "seeds: [0]").replace(
        "name: good,", f"name: good, weights: {run}, predict_overrides: {{modalities: [t1]}},"
    )
    with pytest.raises(ConfigError, match=r"case p1 and 1 others of the test are in the validation list"):
        run_suite(stub.write_suite(tmp_path / "s.yaml", data, text), tmp_path / "out2", heavy=stub.Stub())
    (run / "split.json").unlink()
    table, _ = run_suite(stub.write_suite(tmp_path / "s.yaml", data, text), tmp_path / "out3", heavy=stub.Stub())
    assert "nothing says which cases these weights have seen" in table.read_text()


def test_a_failed_training_loses_its_fold_and_a_failed_case_itself(small, tmp_path):
    heavy = stub.Stub(fail_training=["good-fold0-seed0"], fail_cases=["p1"])
    table, outcomes = run_suite(small, tmp_path / "out", heavy=heavy)
    assert "out of memory" in outcomes["good-fold0-seed0"].problem
    assert outcomes["good-fold1-seed0"].failed == {"p1": "p1: broken"}
    scores = read_scores(tmp_path / "out" / "results" / "good").by_seed[0]
    assert {case: rows["blob"]["dice"] for case, rows in scores.items() if case != "p4"} == {"p0": 0, "p1": 0, "p3": 0}
    assert scores["p4"]["blob"]["dice"] > 0
    assert "the training failed; counted as the worst" in table.read_text()
    # The next start tries what failed, and only that.
    again = stub.Stub()
    run_suite(small, tmp_path / "out", heavy=again)
    assert again.trained == ["good-fold0-seed0"]
    assert set(again.predicted) == {("good-fold0-seed0", "p0"), ("good-fold0-seed0", "p3"), ("good-fold1-seed0", "p1")}
    assert results(tmp_path / "out")["failures"] == {}


def test_several_jobs_at_a_time_make_the_same_table(suite, tmp_path):
    run_suite(suite, tmp_path / "one", heavy=stub.Stub())
    run_suite(suite, tmp_path / "four", heavy=stub.Stub(0.01), at_once=4)
    assert (tmp_path / "one" / "table.md").read_bytes() == (tmp_path / "four" / "table.md").read_bytes()
    assert results(tmp_path / "one") == results(tmp_path / "four")


def test_what_the_suite_did_not_make_is_not_removed(small, tmp_path):
    mine = tmp_path / "out" / "jobs" / "good-fold0-seed0" / "run"
    mine.mkdir(parents=True)
    (mine / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="this suite did not make it"):
        run_suite(small, tmp_path / "out", heavy=stub.Stub())
    assert (mine / "thesis.txt").exists()


def test_published_results_stand_beside_ours_and_another_protocol_is_flagged(tmp_path, data):
    text = ONE.replace("{blob: 1}", "{WT: 1}") + "\nanchors: {dataset: brats2018, protocol: two folds of phantoms}\n"
    table, _ = run_suite(stub.write_suite(tmp_path / "s.yaml", data, text), tmp_path / "out", heavy=stub.Stub())
    assert "| dice | WT | 0.9026 | MONAI model zoo" in table.read_text()
    assert "**differs**: one split, weights chosen on it" in table.read_text()
    anchors = results(tmp_path / "out")["anchors"]
    assert [(row["region"], row["protocols_differ"]) for row in anchors] == [("WT", True)]
    assert set(anchors[0]["ours"]) == {"good"}
