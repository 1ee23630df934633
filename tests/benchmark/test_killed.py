"""A suite that is killed, with everything that it started, ends with the same table as one left alone."""

import contextlib
import importlib.util
import os
import random
import shutil
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
FILES = ("table.md", "results.json", "results/*/cases.csv")

# Real trainings and predictions, as small as they can be.
REAL = """
name: real
dataset: {phantom: brats, cases: 4, seed: 0, shape: [32, 36, 32], spacing_mm: 5.0, label_convention: brats2017}
folds: {count: 4, seed: 0, run: [0, 1]}
regions: brats2017
calibration: true
budget: {epochs: 3}
entries:
- name: unet
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


def progress(out):
    """Epochs, predictions and evaluations so far."""
    found = sum(1 for name in ("predictions/*.nii.gz", "evaluation/cases.csv") for _ in out.glob(f"jobs/*/{name}"))
    for path in out.glob("jobs/*/run/metrics.csv"):
        with contextlib.suppress(FileNotFoundError):  # a training that begins anew takes its old folder away
            found += path.read_text().count("\n") - 1
    return found


def kill_ten_times(command, out, *, longest_s, seed, check, steps=0):
    """Start it again after each SIGKILL, which falls at any moment; a suite that ends is checked and begun anew.

    With `steps`, up to so many of progress come first, however slow the machine is.
    """
    draws, kills = random.Random(seed), 0
    while kills < KILLS:
        wanted = progress(out) + draws.randint(0, steps)
        child = start(command)
        while child.poll() is None and not ((out / "jobs").is_dir() and progress(out) >= wanted):
            time.sleep(0.01)
        try:
            _, told = child.communicate(timeout=draws.random() * longest_s)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            kills += 1
        else:
            assert child.returncode == 0, told
            check()
            shutil.rmtree(out)


def end(command):
    child = start(command)
    _, told = child.communicate(timeout=300)
    assert child.returncode == 0, told


def same(out, alone):
    for file in (file for name in FILES for file in alone.glob(name)):
        assert (out / file.relative_to(alone)).read_bytes() == file.read_bytes()


def killed_and_ended(command, out, *, longest_s, seed, alone, steps=0):
    kill_ten_times(command, out, longest_s=longest_s, seed=seed, steps=steps, check=lambda: same(out, alone))
    end(command)
    same(out, alone)


def stub_command(tmp_path, *how):
    return [sys.executable, str(HERE / "stub_suite.py"), str(tmp_path / "data"), str(tmp_path / "killed"), *how]


@pytest.mark.parametrize(("at_once", "seed"), [(1, 7), (2, 8)])
def test_one_killed_ten_times_ends_with_the_table_of_one_left_alone(suite, tmp_path, at_once, seed):
    run_suite(suite, tmp_path / "alone", heavy=stub.Stub())
    command = stub_command(tmp_path, str(0.03 * at_once), "local", str(at_once))
    killed_and_ended(command, tmp_path / "killed", longest_s=0.4, seed=seed, alone=tmp_path / "alone")


@pytest.mark.slow
def test_so_does_one_whose_jobs_ray_runs(suite, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'medseg[ray]'")
    run_suite(suite, tmp_path / "alone", heavy=stub.Stub())
    command = stub_command(tmp_path, "0.1", "ray", "2")
    killed_and_ended(command, tmp_path / "killed", longest_s=1.5, seed=9, alone=tmp_path / "alone")


@pytest.mark.slow
def test_so_does_one_with_real_trainings_two_at_a_time(tmp_path):
    suite, alone = tmp_path / "real.yaml", tmp_path / "alone"
    suite.write_text(REAL)
    command = [sys.executable, "-m", "medseg", "benchmark", str(suite), "-o"]
    end([*command, str(alone)])
    out = tmp_path / "killed"
    killed_and_ended([*command, str(out), "--jobs", "2"], out, longest_s=1.5, steps=3, seed=10, alone=alone)
