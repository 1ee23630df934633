"""The ddp preset by the command that its own first lines tell, on two gloo processes."""

from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PRESET = ROOT / "configs" / "presets" / "ddp.yaml"
# On top of the smoke preset, so that two processes share two cores for seconds only.
TINY = ("spacing_mm=[4.0,4.0,4.0]", "residual_unet::channels=[8,8,8,8]")
LAUNCHER = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def told_command(**values: str) -> list[str]:
    """The command in the preset's comment, with values for what it leaves open."""
    [line] = [line for line in PRESET.read_text(encoding="utf-8").splitlines() if " torchrun " in line]
    words = shlex.split(line.removeprefix("#"))
    assert words.pop(0) == "torchrun"
    return LAUNCHER + [values.get(word, word) for word in words]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The run folder, and what the command said. Of five cases one validates: fewer than there are processes."""
    from medseg.datasets.phantoms import write_brats_phantoms

    folder = tmp_path_factory.mktemp("ddp")
    write_brats_phantoms(folder / "data", cases=5, seed=0, shape=(48, 56, 40), spacing_mm=4.0)
    open_words = {
        "--nproc_per_node=4": "--nproc_per_node=2",
        "BUNDLE": "brats_mri_segmentation",
        "RUN": str(folder / "run"),
    }
    command = [*told_command(**open_words), "--preset", "smoke", f"dataset_dir={folder / 'data'}", *TINY]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    return folder / "run", ended


def test_two_processes_train_the_bundle_to_the_end(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    run, ended = done
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert json.loads((run / "run.json").read_text())["status"] == "finished"
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # Four crops in an epoch are two for each process.
    assert [(row["epoch"], row["iteration"]) for row in rows] == [("1", "2"), ("2", "4")]
    assert all(0 <= float(row["val_mean_dice"]) <= 1 for row in rows)
    assert (run / "model.pt").is_file()


def test_the_checkpoint_holds_the_state_of_both_processes(
    done: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    import torch

    run, _ = done
    content = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    assert len(content["ranks"]) == 2
    assert content["data"]["ranks"] == 2


def test_one_process_speaks_for_both(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    run, ended = done
    assert ended.stdout.splitlines().count(str(run.resolve())) == 1
    assert ended.stderr.count("epoch 2/2") == 1
