"""Trains nnU-Net v2 for a stated time and predicts the test cases: `python nnunet_worker.py WORK.json`.

Runs in the peer's own environment and imports nothing of medseg. nnU-Net's plans, network, augmentation, loss,
optimiser and prediction are as published. The one change is the clock: its 1000 epochs of 250 steps would take days
on a CPU, so the polynomial decay of the learning rate follows the time that is spent in place of the epochs, and
training ends with it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

INITIAL_RATE, POWER = 1e-2, 0.9  # nnU-Net's


def main() -> None:
    """Does what the file says, and leaves `facts.json` beside it."""
    started = time.monotonic()
    spec = Path(sys.argv[1])
    work = json.loads(spec.read_text(encoding="utf-8"))
    os.environ.update(work["environment"])
    import torch

    torch.set_num_threads(work["threads"])
    torch.manual_seed(work["seed"])
    trainer = make_trainer(work)
    steps = train(trainer, until=started + work["budget_s"], started=started, budget_s=work["budget_s"])
    trained_s = time.monotonic() - started
    predict(trainer, work)
    facts = {
        "steps": steps,
        "train_s": trained_s,
        "predict_s": time.monotonic() - started - trained_s,
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "patch_size": list(trainer.configuration_manager.patch_size),
        "batch_size": trainer.configuration_manager.batch_size,
    }
    spec.with_name("facts.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def make_trainer(work: dict[str, Any]) -> Any:
    """nnU-Net's own trainer for the planned 3D full-resolution network."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    return get_trainer_from_args(work["dataset"], "3d_fullres", work["fold"], device=torch.device(work["device"]))


def train(trainer: Any, *, until: float, started: float, budget_s: float) -> int:
    """Steps until the time is up; the number of them."""
    trainer.on_train_start()
    trainer.network.train()
    steps, longest = 0, 0.0
    while time.monotonic() + longest < until:
        began = time.monotonic()
        share = min(1.0, (began - started) / budget_s)
        for group in trainer.optimizer.param_groups:
            group["lr"] = INITIAL_RATE * (1 - share) ** POWER
        facts = trainer.train_step(next(trainer.dataloader_train))
        steps += 1
        # The first step waits for the loader and would end the training early.
        longest = max(longest, time.monotonic() - began) if steps > 1 else 0.0
        if steps % 20 == 1:
            sys.stdout.write(f"step {steps}: loss {float(facts['loss']):.4f}, {share:.0%} of the time\n")
            sys.stdout.flush()
    return steps


def predict(trainer: Any, work: dict[str, Any]) -> None:
    """Label maps of the test cases, with nnU-Net's own window placement and mirroring."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    predictor = nnUNetPredictor(
        tile_step_size=0.5,
        use_gaussian=True,
        use_mirroring=True,
        perform_everything_on_device=work["device"] != "cpu",
        device=torch.device(work["device"]),
        allow_tqdm=False,
    )
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )
    predictor.predict_from_files_sequential(
        [[case["image"]] for case in work["test"]],
        [str(Path(work["predictions"]) / case["case_id"]) for case in work["test"]],
        save_probabilities=False,
        overwrite=True,
    )


if __name__ == "__main__":
    main()
