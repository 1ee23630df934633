"""A tiny real training: linear-ish networks on synthetic volumes, milliseconds per epoch."""

import pytest
import torch
from ignite.metrics import Metric
from monai.data import MetaTensor
from monai.losses import DiceLoss
from monai.transforms import Compose, RandFlipd, RandGaussianNoised, Transform

from medseg.engines import CaseDataset, SupervisedEvaluator, SupervisedTrainer, Validate, make_loader
from medseg.losses import WeightedSum


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Volume(Transform):
    """A case of 6^3 voxels from its number."""

    def __call__(self, item):
        generator = torch.Generator().manual_seed(item["number"])
        image = torch.randn(1, 6, 6, 6, generator=generator)
        return {**item, "image": MetaTensor(image), "label": MetaTensor((image > 0.3).float())}


class Given(Metric):
    """A validation metric that takes the given values, one per validation."""

    def __init__(self, values):
        self.values = list(values)
        super().__init__()

    def reset(self):
        pass

    def update(self, output):
        pass

    def compute(self):
        return self.values.pop(0)


def items(count, first=0):
    return [{"case_id": f"case{n}", "number": n} for n in range(first, first + count)]


def dice_bce():
    return WeightedSum({"dice": DiceLoss(sigmoid=True, batch=True), "bce": torch.nn.BCEWithLogitsLoss()})


@pytest.fixture
def volume():
    return Volume()


@pytest.fixture
def make_items():
    return items


@pytest.fixture
def make_trainer():
    """Build a trainer; `scores` adds a validation with those key metrics, `augment` random transforms."""

    def build(*handlers, epochs=2, draws=4, batch_size=1, scores=None, augment=True, network=None, cases=4, **options):
        torch.manual_seed(1)
        network = network or torch.nn.Sequential(
            torch.nn.Conv3d(1, 3, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(3, 1, 1)
        )
        optimizer = options.pop("optimizer", None) or torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
        random = [RandFlipd(["image", "label"], 0.5, 0), RandGaussianNoised("image", prob=1.0)] if augment else []
        loader = options.pop("loader", None) or make_loader(
            CaseDataset(items(cases), Compose([Volume(), *random])),
            batch_size,
            seed=5,
            shuffle=True,
            draws_per_epoch=draws,
        )
        handlers = list(handlers)
        if scores is not None:
            evaluator = SupervisedEvaluator(
                "cpu",
                make_loader(CaseDataset(items(1, 50), Volume())),
                network,
                key_val_metric={"score": Given(scores)},
            )
            handlers.append(Validate(evaluator))
        loss = options.pop("loss_function", None) or dice_bce()
        return SupervisedTrainer("cpu", epochs, loader, network, optimizer, loss, train_handlers=handlers, **options)

    return build
