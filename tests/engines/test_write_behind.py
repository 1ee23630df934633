"""A case is written while the network is busy with the next: nothing is lost, errors come in the order of cases."""

import threading

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.inferers import SimpleInferer
from monai.transforms import Transform
from torch import nn

from medseg.engines import SupervisedEvaluator, evaluator, make_loader
from medseg.errors import DataError

CASES = ("a", "b", "c", "d")


class Write(Transform):
    """Notes the cases that it writes, and in which thread; fails at some."""

    def __init__(self, *failing, gate=None):
        self.failing, self.gate, self.written, self.threads = failing, gate, [], set()

    def __call__(self, item):
        if self.gate is not None:
            assert self.gate.wait(10)
        if item["case_id"] in self.failing:
            msg = f"{item['case_id']}: the disk is full."
            raise DataError(msg)
        self.written.append((item["case_id"], float(item["pred"].mean())))
        self.threads.add(threading.current_thread())
        return {**item, "pred": item["pred"] * 0 - 1}


class Network(nn.Module):
    """The mean of a case, after what is to happen at that case."""

    def __init__(self, at=None):
        super().__init__()
        self.at, self.seen = at or {}, []

    def forward(self, image):
        case = CASES[round(float(image.mean()))]
        self.seen.append(case)
        if case in self.at:
            self.at[case]()
        return image + 0.5


def items():
    return [
        {"case_id": case, "image": MetaTensor(np.full((1, 4, 4, 4), n, np.float32))} for n, case in enumerate(CASES)
    ]


def evaluator_with(write, network=None, data=None, **more):
    return SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(data or Dataset(items()), batch_size=1),
        network=network or Network(),
        inferer=more.pop("inferer", SimpleInferer()),
        postprocessing=write,
        **{"write_behind": True, **more},
    )


def stop():
    raise KeyboardInterrupt


def fail():
    msg = "d: the network failed."
    raise DataError(msg)


def error_of(made):
    """The first line of what went wrong; MONAI wraps what a transform raises."""
    with pytest.raises((RuntimeError, DataError)) as caught:
        made.run()
    return str(caught.value.__cause__ or caught.value)


def names(write):
    return [name for name, _ in write.written]


@pytest.mark.parametrize("behind", [True, False])
def test_every_case_is_written_once_with_its_own_prediction(behind):
    write = Write()
    made = evaluator_with(write, write_behind=behind)
    told = []
    made.on_written.append(told.append)
    made.run()
    assert write.written == [(case, n + 0.5) for n, case in enumerate(CASES)]
    assert told == list(CASES)
    assert (threading.main_thread() in write.threads) is not behind
    assert len(write.threads) == 1


def test_the_network_goes_on_while_a_case_is_written_and_one_case_waits_at_most():
    gate = threading.Event()
    write, seen_when_written = Write(gate=gate), []
    network = Network({"b": gate.set})
    made = evaluator_with(write, network)
    made.on_written.append(lambda case: seen_when_written.append((case, len(network.seen))))
    made.run()
    assert seen_when_written[0][1] >= 2
    assert all(seen <= CASES.index(case) + 2 for case, seen in seen_when_written)


def test_a_case_that_cannot_be_written_costs_no_other_one():
    write = Write("b")
    assert "b: the disk is full" in error_of(evaluator_with(write))
    assert names(write) == ["a", "c"]


def test_the_last_case_fails_too():
    write = Write("d")
    assert "d: the disk is full" in error_of(evaluator_with(write))
    assert names(write) == ["a", "b", "c"]


@pytest.mark.parametrize(("what", "error"), [(stop, KeyboardInterrupt), (fail, DataError)])
def test_an_interrupt_or_a_failure_loses_nothing_that_was_computed(what, error):
    gate = threading.Event()
    write = Write(gate=gate)

    def later():
        threading.Timer(0.1, gate.set).start()
        what()

    with pytest.raises(error):
        evaluator_with(write, Network({"b": later})).run()
    assert names(write) == ["a"]


def test_a_scan_that_cannot_be_read_comes_after_the_case_before_it():
    class Unreadable(Dataset):
        def __getitem__(self, index):
            if index == 2:
                msg = "c: cannot be read."
                raise DataError(msg)
            return super().__getitem__(index)

    write = Write("b")
    assert "b: the disk is full" in error_of(evaluator_with(write, data=Unreadable(items())))
    write = Write()
    assert "c: cannot be read" in error_of(evaluator_with(write, data=Unreadable(items())))
    assert names(write) == ["a", "b"]


def test_without_room_or_with_a_budget_each_case_is_written_before_the_next(monkeypatch):
    for reason in ("room", "budget"):
        inferer = SimpleInferer()
        if reason == "budget":
            inferer.max_memory_mb = 1000.0
        else:
            monkeypatch.setattr(evaluator, "room_mb", lambda _: evaluator.held_mb(torch.device("cpu")))
        write, network, seen = Write(), Network(), []
        made = evaluator_with(write, network, inferer=inferer)
        made.on_written.append(lambda case, network=network, seen=seen: seen.append(network.seen[-1] == case))
        made.run()
        assert seen == [True] * 4
        monkeypatch.undo()


def test_metrics_get_predictions_after_their_postprocessing():
    from ignite.metrics import Average

    write = Write()
    made = evaluator_with(write, key_val_metric={"mean": Average(lambda output: output[0]["pred"].mean())})
    made.run()
    assert write.threads == {threading.main_thread()}
    assert made.state.metrics["mean"] == -1


def test_what_a_written_case_may_take_is_counted():
    image = MetaTensor(torch.zeros(1, 4, 4, 4), meta={"spatial_shape": (128, 128, 64)})
    scores, masks = torch.zeros(3, 4, 4, 4), torch.zeros(3, 128, 128, 64, dtype=torch.uint8)
    assert evaluator._copies_mb({"image": image, "pred": scores}) == 6 * 4 * 3
    assert evaluator._copies_mb({"image": image, "pred": masks}) == 6 * 3
    assert evaluator._copies_mb({"image": image, "pred": {"boxes": []}}) == 0


def test_what_is_read_ahead_is_counted_and_left_under_a_budget():
    loader = make_loader(Dataset(items()), ahead=True)
    made = evaluator_with(Write(), data=None)
    made.data_loader = loader
    image = MetaTensor(torch.zeros(1, 2, 4, 4, 4), meta={"spatial_shape": np.array([[128, 128, 64]])})
    made.state.epoch_length, made.state.iteration = 4, 1
    assert made._read_ahead_mb(image) == 4 * 2
    made.state.iteration = 4
    assert made._read_ahead_mb(image) == 0
    made.inferer.max_memory_mb = 1000.0
    made.run()
    assert loader.ahead is False
