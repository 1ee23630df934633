"""A suite that is killed, with everything that it started, ends with the same table as one left alone."""

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medseg.benchmark.local import run_suite

HERE = Path(__file__).parent
_SPEC = importlib.util.spec_from_file_location("stub_suite", HERE / "stub_suite.py")
stub = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(stub)

KILLS = 10
FILES = ("table.md", "results.json", "results/good/cases.csv", "results/poor/cases.csv")

# Real trainings and predictions, as small as they can be.
REAL = """
name: real
dataset: {phantom: brats, cases: 4, seed: 0, shape: [32, 36, 32], spacing_mm: 5.0, label_convention: brats2017}
folds: {count: 4, seed: 0, run: [0, 1]}
regions: brats2017
budget: {epochs: 3}
entries:
- name: ENTRY
  bundle: brats_mri_segmentation
  presets: [smoke]
  overrides:
    label_convention: brats2017
    spacing_mm: [5.0, 5.0, 5.0]
    residual_unet::channels: [4, 8]
    residual_unet::strides: [2]
    residual_unet::num_res_units: 1
    samples_per_epoch: 4
    val_interval: 1
    device: cpu
  predict_overrides: {device: cpu}
"""


@pytest.fixture
def suite(tmp_path):
    return stub.write_suite(tmp_path / "suite.yaml", stub.write_dataset(tmp_path / "data"))


def start(command):
    """In a process group of its own, whose every process a kill of the group ends."""
    nobody = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=HERE.parents[1], start_new_session=True, **nobody)


def kill_ten_times(command, out, *, longest_s, seed):
    """Start it again after each SIGKILL, which falls at a random moment of its work; the last one may end."""
    draws, kills = random.Random(seed), 0
    for _ in range(12 * KILLS):
        child = start(command)
        while child.poll() is None and not (out / "jobs").is_dir():
            time.sleep(0.01)
        try:
            child.wait(draws.random() * longest_s)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            kills += 1
        if kills == KILLS or child.returncode == 0:
            break
    assert kills == KILLS, f"the suite ended after {kills} kills: {child.stderr.read()}"


def end(command):
    child = start(command)
    _, told = child.communicate(timeout=300)
    assert child.returncode == 0, told


def same(out, alone, files=FILES):
    for name in files:
        assert (out / name).read_bytes() == (alone / name).read_bytes()


@pytest.mark.parametrize(("at_once", "seed"), [(1, 7), (2, 8)])
def test_one_killed_ten_times_ends_with_the_table_of_one_left_alone(suite, tmp_path, at_once, seed):
    run_suite(suite, tmp_path / "alone", heavy=stub.Stub())
    out, command = tmp_path / "killed", [sys.executable, str(HERE / "stub_suite.py"), str(tmp_path / "data")]
    kill_ten_times([*command, str(out), str(0.03 * at_once), "local", str(at_once)], out, longest_s=0.4, seed=seed)
    end([*command, str(out), "0.0", "local", str(at_once)])
    same(out, tmp_path / "alone")


@pytest.mark.slow
def test_so_does_one_whose_jobs_ray_runs(suite, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'medseg[ray]'")
    run_suite(suite, tmp_path / "alone", heavy=stub.Stub())
    out, command = tmp_path / "killed", [sys.executable, str(HERE / "stub_suite.py"), str(tmp_path / "data")]
    kill_ten_times([*command, str(out), "0.1", "ray", "2"], out, longest_s=1.0, seed=9)
    end([*command, str(out), "0.0", "ray", "2"])
    same(out, tmp_path / "alone")


@pytest.mark.slow
def test_so_does_one_with_real_trainings_two_at_a_time(tmp_path):
    suite = tmp_path / "real.yaml"
    suite.write_text(REAL.replace("ENTRY", "good"))
    command = [sys.executable, "-m", "medseg", "benchmark", str(suite), "-o"]
    end([*command, str(tmp_path / "alone")])
    out = tmp_path / "killed"
    kill_ten_times([*command, str(out), "--jobs", "2"], out, longest_s=9.0, seed=10)
    end([*command, str(out), "--jobs", "2"])
    same(out, tmp_path / "alone", FILES[:3])
