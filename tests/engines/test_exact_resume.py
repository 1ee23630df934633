"""A run killed at any moment and resumed ends with the same bits as one that was left alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    root = Path(__file__).parents[2]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(Path(__file__).with_name("resume_server.py")), str(folder)]
    with (folder / "server.log").open("w") as output:  # no pipe, which a stray child could hold open
        done = subprocess.run(command, env=environment, stdout=output, stderr=output, timeout=300, check=False)
    logs = "".join(path.read_text()[-3000:] for path in folder.glob("*.log"))
    assert done.returncode == 0, logs
    return json.loads((folder / "report.json").read_text()) | {"logs": logs}


def strikes(report, *kinds):
    return [s for s in report["strikes"] if s["moment"][0] in kinds]


def test_the_uninterrupted_run_finishes_with_a_row_per_epoch(report):
    assert report["reference_exit"] == 0, report["logs"]
    curve = report["runs"]["reference"]["curve"]
    assert [row[0] for row in curve] == ["epoch", "1", "2", "3", "4"]
    assert {"loss", "dice", "bce", "val_mean_dice", "grad_norm", "learning_rate"} <= set(curve[0])


def test_twenty_kills_struck_where_they_should(report):
    kills = strikes(report, "time", "write", "accumulating")
    assert len(kills) == 20
    assert sum(s["workers"] == 2 for s in kills) == 10
    assert all(s["met"] for s in report["strikes"]), report["logs"]
    assert all(s["exit"] == -9 for s in kills)
    assert all(s["half_written"] for s in strikes(report, "write"))


def test_an_interrupt_leaves_by_itself(report):
    assert [s["exit"] for s in strikes(report, "sigint", "validation_sigint")] == [130, 130, 130], report["logs"]


def test_resumed_runs_end_with_the_same_bits(report):
    reference = report["runs"]["reference"]
    for strike in report["strikes"]:
        assert strike["resume_exit"] == 0, (strike, report["logs"])
        run = report["runs"][strike["name"]]
        assert run["curve"] == reference["curve"], strike
        assert run["files"] == reference["files"], strike
        for name, state in reference["states"].items():
            assert run["states"][name] == state, (strike, name)


def test_resuming_a_finished_run_changes_nothing(report):
    assert all(s["again_exit"] == 0 for s in report["strikes"]), report["logs"]
