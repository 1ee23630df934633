"""Trains, kills and resumes a tiny network many times. Run as a script by test_exact_resume.py.

`import monai` takes seconds, so one process imports everything and forks a child per training. The parent runs no torch
operation before its last fork. Slow writes and pauses are made here, in the children, not in the product.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch._dynamo  # the first optimiser imports it: 0.6 s for each child otherwise
from ignite.engine import Events
from monai.data import MetaTensor
from monai.handlers import MeanDice, from_engine
from monai.losses import DiceLoss
from monai.networks.nets import UNet
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandGaussianNoised,
    Transform,
)
from monai.utils import set_determinism

import medseg.engines.atomic
from medseg.engines import (
    CaseDataset,
    EarlyStopping,
    Ema,
    Interrupt,
    MetricsCsv,
    RunCheckpoint,
    SupervisedEvaluator,
    SupervisedTrainer,
    Validate,
    cosine_with_warmup,
    make_loader,
)
from medseg.losses import WeightedSum

EPOCHS, ITERATIONS, WINDOW = 4, 7, 3


class Volume(Transform):
    """A synthetic case of 14^3 voxels: blobs in noise, two channels, two regions."""

    def __call__(self, item):
        generator = np.random.Generator(np.random.PCG64(item["number"]))
        image = generator.normal(size=(2, 14, 14, 14)).astype(np.float32)
        label = np.zeros((2, 14, 14, 14), np.float32)
        x, y, z = generator.integers(2, 6, size=3)
        label[0, x : x + 7, y : y + 7, z : z + 7] = 1
        label[1, x + 2 : x + 5, y + 2 : y + 5, z + 2 : z + 5] = 1
        return {
            **item,
            "image": MetaTensor(torch.from_numpy(image + label)),
            "label": MetaTensor(torch.from_numpy(label)),
        }


class GlobalJitter(Transform):
    """What a careless third-party transform does: it draws from the global generators, and writes in place."""

    def __call__(self, item):
        item["image"] += float(np.random.uniform(-0.1, 0.1)) + random.uniform(-0.1, 0.1) + 0.01 * torch.rand(1).item()  # noqa: NPY002
        return item


RANDOM = (
    RandCropByPosNegLabeld(["image", "label"], "label", (12, 12, 12), num_samples=2),
    RandFlipd(["image", "label"], 0.5, 0),
    RandGaussianNoised("image", prob=0.8),
    GlobalJitter(),
)


def build(run_dir, *, workers, resume):
    set_determinism(7)  # a forked child's Python generator starts anywhere
    network = UNet(3, 2, 2, (4, 8), (2,), dropout=0.2, norm="batch")
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    ema = Ema(network, 0.9)
    items = [{"case_id": f"case{n}", "number": n} for n in range(5)]
    loader = make_loader(
        CaseDataset(items, Compose([Volume(), *RANDOM]), cache_cases=3),
        2, num_workers=workers, seed=3, shuffle=True, draws_per_epoch=2 * ITERATIONS,
    )  # fmt: skip
    evaluator = SupervisedEvaluator(
        "cpu",
        make_loader(CaseDataset([{"case_id": f"val{n}", "number": n} for n in (90, 91)], Volume())),
        ema.module,
        postprocessing=Compose([Activationsd("pred", sigmoid=True), AsDiscreted("pred", threshold=0.5)]),
        key_val_metric={"val_mean_dice": MeanDice(output_transform=from_engine(["pred", "label"]))},
        amp=True,
    )
    steps = -(-ITERATIONS // WINDOW) * EPOCHS
    return SupervisedTrainer(
        "cpu", EPOCHS, loader, network, optimizer,
        WeightedSum({"dice": DiceLoss(sigmoid=True, batch=True), "bce": torch.nn.BCEWithLogitsLoss()}, {"bce": 0.5}),
        amp=True, accumulation_steps=WINDOW, clip_norm=0.5, ema=ema, run_dir=run_dir,
        lr_scheduler=cosine_with_warmup(optimizer, steps, warmup_steps=3),
        train_handlers=[
            RunCheckpoint(run_dir, every_iterations=4, keep_best=2, resume=resume),
            MetricsCsv(run_dir), EarlyStopping(50), Interrupt(), Validate(evaluator),
        ],
    )  # fmt: skip


def slow_writes(marker, nth):
    """Pause in the middle of the nth write of a checkpoint, with the marker on disk for as long."""
    original, count = medseg.engines.atomic.torch.save, [0]

    def save(content, file):
        count[0] += 1
        if count[0] != nth:
            return original(content, file)
        pauses = [0]

        class Slow:
            def write(self, data):
                written = file.write(data)
                pauses[0] += 1
                if pauses[0] == 20:  # some of the bytes are on their way, not all
                    marker.touch()
                    time.sleep(60)
                return written

            def flush(self):
                file.flush()

        return original(content, Slow())

    medseg.engines.atomic.torch.save = save


def pause_at(trainer, marker, moment):
    """Pause after the iteration of that number, or in the validation after it."""
    kind, iteration = moment

    def pause(_):
        if trainer.state.iteration == iteration:
            marker.touch()
            time.sleep(0.5 if kind.endswith("sigint") else 60)

    engine = trainer.evaluators[0] if "validation" in kind else trainer
    engine.add_event_handler(Events.ITERATION_STARTED if kind == "sigint" else Events.ITERATION_COMPLETED, pause)


def train(run_dir, *, workers, resume, marker=None, moment=None):
    trainer = build(run_dir, workers=workers, resume=resume)
    if moment is not None and moment[0] == "write":
        slow_writes(marker, moment[1])
    elif moment is not None and moment[0] != "time":
        pause_at(trainer, marker, moment)
    trainer.run()


def fork(run_dir, **options):
    pid = os.fork()
    if pid:
        return pid
    code = 1
    os.setpgid(0, 0)
    try:
        sys.stderr = Path(run_dir).with_suffix(".log").open("a")
        train(run_dir, **options)
        code = 0
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait(pid):
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    # A loader worker that was just being forked does not notice that its parent was killed.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return code


def strike(run_dir, *, workers, moment, seconds):
    """Start a run, end it at the moment, and say how it ended and whether the moment was really met.

    A timed kill that comes after the end, because the machine got faster meanwhile, is tried again earlier.
    """
    for _ in range(8):
        result = strike_once(run_dir, workers=workers, moment=moment, seconds=seconds)
        if moment[0] != "time" or result["exit"] != 0:
            break
        shutil.rmtree(run_dir)
        seconds *= 0.7
    return result


def strike_once(run_dir, *, workers, moment, seconds):
    marker = run_dir.with_suffix(".marker")
    pid = fork(run_dir, workers=workers, resume=False, marker=marker, moment=moment)
    met = moment[0] == "time"
    if met:
        time.sleep(moment[1] * seconds)
    else:
        deadline = time.monotonic() + 30
        while not marker.exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        met = marker.exists()
    half_written = bool(list(run_dir.rglob(".*.tmp")))
    os.kill(pid, signal.SIGINT if moment[0].endswith("sigint") else signal.SIGKILL)
    return {"moment": list(moment), "workers": workers, "met": met, "exit": wait(pid), "half_written": half_written}


def digest(run_dir):
    import hashlib

    def walk(value):
        if isinstance(value, torch.Tensor):
            return hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
        if isinstance(value, dict):
            return {str(k): walk(v) for k, v in value.items()}
        return [walk(v) for v in value] if isinstance(value, (list, tuple)) else value

    rows = [line.split(",") for line in (run_dir / "metrics.csv").read_text().splitlines()]
    keep = [i for i, name in enumerate(rows[0]) if name not in ("seconds", "peak_memory_mb")]
    files = sorted(p.relative_to(run_dir).as_posix() for p in run_dir.rglob("*") if p.is_file())
    states = {name: walk(torch.load(run_dir / name, weights_only=True)) for name in files if name.endswith(".pt")}
    return {"curve": [[row[i] for i in keep] for row in rows], "files": files, "states": states}


def moments(workers):
    chooser = random.Random(20 + workers)
    anywhere = [("time", chooser.uniform(0.05, 0.95)) for _ in range(5)]
    writing = [("write", n) for n in chooser.sample(range(2, 12), 3)]
    accumulating = [("accumulating", n) for n in chooser.sample([5, 8, 9, 12, 15, 16, 22, 23], 2)]
    asked = [("sigint", chooser.randrange(9, 20)), ("sigint", 2 * ITERATIONS), ("validation_sigint", 3 * ITERATIONS)]
    return anywhere + writing + accumulating, [*asked, ("validation", 2 * ITERATIONS)]


def main(folder):
    torch.set_num_threads(1)
    report = {"strikes": [], "runs": {}}
    began = time.monotonic()
    reference = folder / "reference"
    code = wait(fork(reference, workers=0, resume=False))
    seconds = time.monotonic() - began
    report["reference_exit"], report["seconds"] = code, seconds
    finished = ["reference"]
    for workers in (0, 2):
        kills, others = moments(workers)
        for number, moment in enumerate(kills + (others if workers == 0 else [])):
            name = f"w{workers}_{number:02d}_{moment[0]}"
            result = strike(folder / name, workers=workers, moment=moment, seconds=seconds * (1 + workers / 4))
            result["name"], result["resume_exit"] = name, wait(fork(folder / name, workers=workers, resume=True))
            result["again_exit"] = wait(fork(folder / name, workers=0, resume=True)) if number == 0 else 0
            report["strikes"].append(result)
            finished.append(name)
    report["runs"] = {name: digest(folder / name) for name in finished if (folder / name / "metrics.csv").exists()}
    (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
