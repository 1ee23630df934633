"""Two gloo processes on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Run the script as two ranks, as one process with the doubled batch, and as two ranks that stop and resume."""
    folder = tmp_path_factory.mktemp("ddp")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    script = [str(Path(__file__).with_name("two_ranks.py")), str(folder)]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *script]
    for command in (launch, [sys.executable, *script]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    return folder


def load(folder, name):
    return torch.load(folder / name, weights_only=True)


def distance(a, b):
    return max((a[k] - b[k]).abs().max().item() for k in a)


def test_weights_are_equal_on_both_ranks(folder):
    assert distance(load(folder, "rank0.pt"), load(folder, "rank1.pt")) == 0


def test_two_ranks_equal_one_process_with_the_doubled_batch(folder):
    assert distance(load(folder, "rank0.pt"), load(folder, "single.pt")) < 1e-6


def numbers(run_dir):
    """The means of the epochs: neither epoch and iteration nor seconds and memory."""
    rows = [line.split(",")[2:-2] for line in (run_dir / "metrics.csv").read_text().splitlines()]
    assert rows[0][-1] == "dice"
    return [[float(cell) for cell in row] for row in rows[1:]]


@pytest.mark.parametrize("cases", ["", "_few"], ids=["3 validation cases", "1 validation case"])
def test_only_rank_0_writes_and_means_are_over_both_ranks(folder, cases):
    two, one = numbers(folder / f"two{cases}"), numbers(folder / f"one{cases}")
    assert len(two) == 3
    for row_two, row_one in zip(two, one, strict=True):
        assert row_two == pytest.approx(row_one, abs=1e-5)
    assert (folder / f"two{cases}" / "model.pt").is_file()


def test_a_resume_of_two_ranks_is_exact(folder):
    assert distance(load(folder, "rank0.pt"), load(folder, "resumed0.pt")) == 0
    assert distance(load(folder, "rank1.pt"), load(folder, "resumed1.pt")) == 0
