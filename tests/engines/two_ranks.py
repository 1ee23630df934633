"""A training for one or two processes. Run as a script by test_distributed.py, under torchrun or alone."""

import sys
from pathlib import Path

import ignite.distributed as idist
import torch
from ignite.engine import Events
from monai.data import MetaTensor
from monai.handlers import MeanDice, from_engine
from monai.transforms import Compose, RandFlipd, Transform

from medseg.engines import (
    CaseDataset,
    Ema,
    Interrupt,
    MetricsCsv,
    RunCheckpoint,
    SupervisedEvaluator,
    SupervisedTrainer,
    Validate,
    distribute,
    initialize_distributed,
    make_loader,
    unwrap,
)

EPOCHS = 3


class Volume(Transform):
    def __call__(self, item):
        generator = torch.Generator().manual_seed(item["number"])
        image = torch.randn(1, 6, 6, 6, generator=generator)
        return {**item, "image": MetaTensor(image), "label": MetaTensor((image > 0.3).float())}


class Threshold(Transform):
    def __call__(self, item):
        return {**item, "pred": (item["pred"] > 0.3).float()}


def items(count, first=0):
    return [{"case_id": f"case{n}", "number": n} for n in range(first, first + count)]


class Halt(Exception):
    pass


def train(run_dir, *, batch_size, validation_cases=3, dropout=0.0, resume=False, halt_at=None):
    torch.manual_seed(2)
    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 3, 3, padding=1), torch.nn.Dropout(dropout), torch.nn.ReLU(), torch.nn.Conv3d(3, 1, 1)
    )
    torch.manual_seed(100 + idist.get_rank())  # dropout differs between ranks, as it should
    network = distribute(network)
    optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)
    dataset = CaseDataset(items(6), Compose([Volume(), RandFlipd(["image", "label"], 0.5)]), cache_cases=2)
    loader = make_loader(dataset, batch_size, seed=4, shuffle=True, draws_per_epoch=12)
    evaluator = SupervisedEvaluator(
        "cpu",
        make_loader(CaseDataset(items(validation_cases, 50), Volume())),
        network,
        postprocessing=Threshold(),
        key_val_metric={"dice": MeanDice(output_transform=from_engine(["pred", "label"]))},
    )
    handlers = [Validate(evaluator), RunCheckpoint(run_dir, resume=resume), MetricsCsv(run_dir), Interrupt()]
    trainer = SupervisedTrainer(
        "cpu", EPOCHS, loader, network, optimizer, torch.nn.BCEWithLogitsLoss(), accumulation_steps=2, clip_norm=1.0,
        ema=Ema(network, 0.9), train_handlers=handlers,
    )  # fmt: skip
    if halt_at is not None:

        def halt(engine):
            if engine.state.iteration == halt_at:
                raise Halt

        trainer.add_event_handler(Events.ITERATION_COMPLETED, halt)
    try:
        trainer.run()
    except Halt:
        return None
    return {k: v.clone() for k, v in unwrap(network).state_dict().items()}


def main(folder):
    rank = initialize_distributed()
    if idist.get_world_size() == 1:
        torch.save(train(folder / "one", batch_size=4), folder / "single.pt")
        train(folder / "one_few", batch_size=4, validation_cases=1)
        return
    torch.save(train(folder / "two", batch_size=2), folder / f"rank{rank}.pt")
    train(folder / "two_few", batch_size=2, validation_cases=1)
    train(folder / "again", batch_size=2, halt_at=5)
    torch.save(train(folder / "again", batch_size=2, resume=True), folder / f"resumed{rank}.pt")
    whole = train(folder / "noisy", batch_size=2, dropout=0.5)
    train(folder / "noisy_again", batch_size=2, dropout=0.5, halt_at=5)
    resumed = train(folder / "noisy_again", batch_size=2, dropout=0.5, resume=True)
    same = all(torch.equal(whole[k], resumed[k]) for k in whole)
    if not same:
        message = f"rank {rank}: the resumed run with dropout differs"
        raise SystemExit(message)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
