import functools
import math

import monai.engines
import pytest
import torch
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents

from medseg.engines import (
    CaseDataset,
    EarlyStopping,
    Ema,
    RunEvents,
    SupervisedEvaluator,
    SupervisedTrainer,
    make_loader,
    polynomial_with_warmup,
)
from medseg.engines.precision import plain
from medseg.errors import ConfigError, NumericError
from medseg.inference import SlidingWindow


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.network.parameters()])


class NanFor(torch.nn.Module):
    """A loss term that is NaN when a sample's target has a mean above a limit."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def forward(self, prediction, target):
        value = prediction.square().mean()
        return value * math.nan if target.mean(dim=(1, 2, 3, 4)).max() > self.limit else value


class RootOfZero(torch.nn.Module):
    """Finite, with a gradient that is not: 0 * inf."""

    def forward(self, prediction, target):
        return (prediction * 0).abs().sqrt().mean()


def test_federated_clients_accept_it_and_run_it_twice(make_trainer):
    trainer = make_trainer(epochs=1)
    assert isinstance(trainer, monai.engines.SupervisedTrainer)
    trainer.run()
    assert (trainer.state.epoch, trainer.state.iteration) == (1, 4)
    for p in trainer.network.parameters():  # the server's weights
        torch.nn.init.constant_(p, 0.01)
    trainer.state.max_epochs = trainer.state.epoch + 2
    trainer.run()
    assert (trainer.state.epoch, trainer.state.iteration) == (3, 12)
    assert trainer.get_stats()["total_epochs"] == 3


def test_two_runs_equal_one_run_of_both_lengths(make_trainer):
    once, twice = make_trainer(epochs=2), make_trainer(epochs=1)
    once.run()
    twice.run()
    twice.state.max_epochs = 2
    twice.run()
    assert torch.equal(weights(once), weights(twice))


def test_the_ordinary_arguments_are_enough():
    network = torch.nn.Conv3d(1, 1, 1)
    data = [{"image": torch.ones(1, 1, 2, 2, 2), "label": torch.ones(1, 1, 2, 2, 2)}]
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    trainer = SupervisedTrainer(
        device=torch.device("cpu"), max_epochs=1, train_data_loader=data, network=network, optimizer=optimizer,
        loss_function=torch.nn.MSELoss(),
    )  # fmt: skip
    trainer.run()
    assert set(trainer.state.epoch_means) == {"loss", "learning_rate", "grad_norm"}


@pytest.mark.parametrize(("draws", "steps"), [(6, 2), (8, 3)], ids=["full windows", "a short last window"])
def test_accumulation_steps_like_the_big_batch(make_trainer, draws, steps):
    mse = torch.nn.MSELoss()
    small = make_trainer(epochs=1, draws=draws, accumulation_steps=3, loss_function=mse)
    small.run()
    assert small.state.iteration == draws
    big = make_trainer(epochs=1, draws=draws, batch_size=3, loss_function=mse)
    if draws % 3:  # the same draws in windows of 3, 3 and 2
        big = make_trainer(epochs=1, draws=6, batch_size=3, loss_function=mse)
        big.run()
        rest = make_trainer(
            epochs=1, draws=2, batch_size=2, loss_function=mse, network=big.network, optimizer=big.optimizer
        )
        rest.data_loader.start_at = lambda _: setattr(rest.data_loader.sampler, "start", 6)
        rest.run()
    else:
        big.run()
    assert torch.allclose(weights(small), weights(big), atol=1e-6)
    assert small.means.state_dict()["counts"] == {}


def test_schedule_and_average_advance_once_per_optimiser_step(make_trainer):
    network = torch.nn.Conv3d(1, 1, 1)
    optimizer = torch.optim.SGD(network.parameters(), 1.0)
    schedule = polynomial_with_warmup(optimizer, 4, power=1)
    ema = Ema(network, 0.5, warmup=False)
    options = {"network": network, "optimizer": optimizer, "lr_scheduler": schedule, "ema": ema}
    make_trainer(epochs=2, draws=4, accumulation_steps=3, **options).run()
    assert schedule.last_epoch == ema.updates == 4
    assert optimizer.param_groups[0]["lr"] == 0.0


def test_clipping_bounds_the_gradient(make_trainer):
    trainer = make_trainer(epochs=1, clip_norm=1e-3, optimizer=None)
    norms = []

    def measure(engine):
        norms.append(torch.nn.utils.get_total_norm([p.grad for p in engine.network.parameters()]).item())

    trainer.add_event_handler(IterationEvents.MODEL_COMPLETED, measure)
    trainer.run()
    assert max(norms) <= 1e-3 * (1 + 1e-5)
    assert trainer.state.epoch_means["grad_norm"] > 1e-3  # the one before clipping


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_autocast_runs_on_the_cpu(make_trainer, dtype):
    trainer = make_trainer(amp=True, amp_dtype=dtype)
    seen = []
    trainer.add_event_handler(IterationEvents.FORWARD_COMPLETED, lambda e: seen.append(e.state.output["pred"].dtype))
    trainer.run()
    assert seen[0] == getattr(torch, dtype)
    assert trainer.scaler.is_enabled() == (dtype == "float16")


def test_the_float16_scaler_outlives_a_run_and_skips_overflow(make_trainer):
    network = torch.nn.Conv3d(1, 1, 1)
    ema = Ema(network, 0.5)
    trainer = make_trainer(epochs=1, amp=True, amp_dtype="float16", network=network, ema=ema)
    trainer.scaler.load_state_dict(trainer.scaler.state_dict() | {"scale": 2.0**60})
    trainer.run()
    skipped = round(60 - math.log2(trainer.scaler.get_scale()))
    assert skipped == 4
    assert ema.updates == 0  # nothing was learned, and nothing else advanced
    trainer.state.max_epochs = 2
    trainer.run()
    assert trainer.scaler.get_scale() < 2.0**60 / 2**skipped


def test_a_gradient_that_no_scale_helps_is_an_error(make_trainer):
    trainer = make_trainer(epochs=20, amp=True, amp_dtype="float16", loss_function=RootOfZero())
    with pytest.raises(NumericError, match="norm of the gradient is nan"):
        trainer.run()


def test_a_loss_that_is_nan_names_case_and_term_and_saves_the_batch(make_trainer, tmp_path):
    from medseg.losses import WeightedSum

    loss = WeightedSum({"fine": torch.nn.MSELoss(), "strange": NanFor(0.38)})
    trainer = make_trainer(draws=8, batch_size=2, cases=8, loss_function=loss, run_dir=tmp_path, epochs=3)
    before = []
    trainer.add_event_handler(IterationEvents.FORWARD_COMPLETED, lambda e: before.append(weights(e).clone()))
    with pytest.raises(NumericError) as caught:
        trainer.run()
    line = str(caught.value)
    saved = torch.load(tmp_path / "nonfinite_batch.pt", weights_only=True)
    means = saved["label"].mean(dim=(1, 2, 3, 4))
    guilty = [case for case, mean in zip(saved["case_id"], means, strict=True) if mean > 0.38]
    assert guilty
    for case in saved["case_id"]:
        assert (f"term 'strange' of case {case} is nan" in line) == (case in guilty)
    assert "'fine'" not in line
    assert f"iteration {saved['iteration']} (epoch" in line
    assert "\n" not in line
    assert torch.equal(weights(trainer), before[-1])  # nothing was learned from it


def test_an_image_with_nan_is_named(make_trainer, tmp_path):
    data = [{"image": torch.full((1, 1, 2, 2, 2), math.nan), "label": torch.ones(1, 1, 2, 2, 2), "case_id": ["bad"]}]
    trainer = make_trainer(loader=data)
    with pytest.raises(NumericError, match="the image of case bad has 8 voxels that are not finite"):
        trainer.run()


def test_a_gradient_that_is_nan_stops_before_the_step(make_trainer, tmp_path):
    trainer = make_trainer(loss_function=RootOfZero(), run_dir=tmp_path)
    before = weights(trainer).clone()
    with pytest.raises(NumericError, match=r"norm of the gradient is nan: term 'loss' of case case\d"):
        trainer.run()
    assert torch.equal(weights(trainer), before)
    assert (tmp_path / "nonfinite_batch.pt").is_file()


def test_channels_last_reaches_network_and_input(make_trainer):
    network = torch.nn.Conv3d(1, 2, 3, padding=1)
    network = torch.nn.Sequential(network, torch.nn.Conv3d(2, 1, 1))
    make_trainer(network=network, channels_last=True).run()
    assert network[1].weight.is_contiguous(memory_format=torch.channels_last_3d)
    image = MetaTensor(torch.randn(1, 2, 3, 3, 3))
    assert plain(image, channels_last=True).is_contiguous(memory_format=torch.channels_last_3d)
    assert type(plain(image)) is torch.Tensor


def test_channels_last_trains_instance_norms_without_leaving_it(make_trainer):
    def make_network():
        torch.manual_seed(0)
        norm = torch.nn.InstanceNorm3d(2, affine=True)
        return torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3, padding=1), norm, torch.nn.Conv3d(2, 1, 1))

    plain_network, fast = make_network(), make_network()
    make_trainer(network=plain_network).run()
    make_trainer(network=fast, channels_last=True, ema=Ema(fast, 0.5)).run()
    assert type(fast[1]) is not torch.nn.InstanceNorm3d
    assert list(fast.state_dict()) == list(plain_network.state_dict())
    for ours, expected in zip(fast.parameters(), plain_network.parameters(), strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_validation_in_channels_last_predicts_the_same(volume, make_items):
    torch.manual_seed(0)
    layers = [torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.InstanceNorm3d(4), torch.nn.Conv3d(4, 2, 1)]
    network, predictions = torch.nn.Sequential(*layers), []
    for channels_last in (False, True):
        loader = make_loader(CaseDataset(make_items(1), volume))
        inferer = SlidingWindow((4, 4, 4))
        evaluator = SupervisedEvaluator("cpu", loader, network, inferer=inferer, channels_last=channels_last)
        evaluator.run()
        predictions.append(evaluator.state.output[0]["pred"].as_tensor())
    assert type(network[1]) is not torch.nn.InstanceNorm3d
    torch.testing.assert_close(predictions[1], predictions[0], atol=1e-5, rtol=1e-4)


def test_phases_fire_in_order_whatever_the_order_of_handlers(make_trainer):
    trainer = make_trainer(epochs=1, scores=[0.5])
    fired = []
    for event in reversed(list(RunEvents)):
        trainer.add_event_handler(event, functools.partial(lambda name, _: fired.append(name), event.name))
    trainer.run()
    assert fired == ["RESTORE", "READY", "VALIDATE", "JUDGE", "REPORT", "SAVE"]
    assert trainer.state.val_metrics == {"score": 0.5}


def test_validation_keeps_its_interval_and_sees_the_last_epoch(make_trainer):
    trainer = make_trainer(epochs=5, scores=[0.1, 0.2, 0.3])
    validate = trainer._extra_state["validation"]
    validate.interval = 2
    seen = []
    trainer.add_event_handler(RunEvents.REPORT, lambda: seen.append(trainer.state.val_metrics.get("score")))
    trainer.run()
    assert seen == [None, 0.1, None, 0.2, 0.3]


def test_early_stopping_waits_for_its_patience(make_trainer):
    trainer = make_trainer(EarlyStopping(2), epochs=9, scores=[0.5, 0.6, 0.6, float("nan"), 0.9])
    trainer.run()
    assert trainer.state.epoch == 4


def test_early_stopping_can_be_off_and_knows_its_metric(make_trainer):
    trainer = make_trainer(EarlyStopping(0), epochs=3, scores=[0.5, 0.4, 0.3])
    trainer.run()
    assert trainer.state.epoch == 3
    with pytest.raises(ConfigError, match="'dcie' is not among the validation's: score"):
        make_trainer(EarlyStopping(1, metric="dcie"), epochs=1, scores=[0.5]).run()


def test_bad_numbers_are_refused(make_trainer):
    with pytest.raises(ConfigError, match="accumulation_steps 0"):
        make_trainer(accumulation_steps=0)
    with pytest.raises(ConfigError, match="amp_dtype 'int8'"):
        make_trainer(amp=True, amp_dtype="int8")


def test_the_evaluator_predicts_in_float32_with_metadata_and_without_gradients(volume, make_items):
    network = torch.nn.Conv3d(1, 1, 1)
    loader = make_loader(CaseDataset(make_items(2), volume))
    evaluator = SupervisedEvaluator("cpu", loader, network, amp=True, channels_last=True)
    assert isinstance(evaluator, monai.engines.SupervisedEvaluator)
    evaluator.run()
    prediction = evaluator.state.output[0]["pred"]
    assert isinstance(prediction, MetaTensor)
    assert prediction.dtype == torch.float32
    assert torch.equal(prediction.affine, evaluator.state.output[0]["image"].affine)
    assert not prediction.requires_grad
    assert network.training
