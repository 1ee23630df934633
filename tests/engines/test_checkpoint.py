import csv
import errno
import os

import pytest
import torch

from medseg.engines import EarlyStopping, Ema, Interrupted, MetricsCsv, RunCheckpoint, load_weights
from medseg.errors import ConfigError, DataError, WeightsError


class Stop(Exception):
    """Stands for a crash."""


def crash_after(trainer, epoch):
    from medseg.engines import RunEvents

    def crash():
        if trainer.state.epoch == epoch:
            raise Stop

    trainer.add_event_handler(RunEvents.SAVE, crash)
    return trainer


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def model(folder, name="model.pt"):
    return torch.load(folder / name, weights_only=True)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_worse_model_after_a_resume_does_not_replace_the_best(make_trainer, tmp_path):
    crash = crash_after(make_trainer(RunCheckpoint(tmp_path), epochs=4, scores=[0.2, 0.9]), 2)
    with pytest.raises(Stop):
        crash.run()
    best = model(tmp_path)
    resumed = make_trainer(RunCheckpoint(tmp_path, resume=True), epochs=4, scores=[0.3, 0.4])
    resumed.run()
    assert resumed.state.epoch == 4
    assert same(model(tmp_path), best)
    kept = model(tmp_path, "checkpoints/best.pt")
    assert (kept["epoch"], kept["score"]) == (2, 0.9)
    assert resumed.evaluators[0].state.best_metric == 0.9
    assert not same(best, resumed.network.state_dict())


def test_the_best_weights_are_the_averages_under_plain_names(make_trainer, tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 1), torch.nn.Conv3d(2, 1, 1))
    ema = Ema(network, 0.9)
    make_trainer(RunCheckpoint(tmp_path), epochs=1, scores=[0.5], network=network, ema=ema).run()
    assert same(model(tmp_path), ema.module.state_dict())
    assert not same(model(tmp_path), network.state_dict())


def test_without_validation_the_model_is_the_latest(make_trainer, tmp_path):
    trainer = make_trainer(RunCheckpoint(tmp_path), epochs=2)
    trainer.run()
    assert same(model(tmp_path), trainer.network.state_dict())
    assert not (tmp_path / "checkpoints" / "best.pt").exists()


def test_the_k_best_epochs_are_kept_and_a_nan_is_not_among_them(make_trainer, tmp_path):
    scores = [0.1, 0.5, float("nan"), 0.4, 0.3]
    make_trainer(RunCheckpoint(tmp_path, keep_best=2), epochs=5, scores=scores).run()
    files = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert files == ["best.pt", "epoch_0002.pt", "epoch_0004.pt", "last.pt"]
    assert model(tmp_path, "checkpoints/best.pt")["epoch"] == 2


def test_lower_can_be_better(make_trainer, tmp_path):
    make_trainer(RunCheckpoint(tmp_path, mode="min"), epochs=3, scores=[0.4, 0.2, 0.3]).run()
    assert model(tmp_path, "checkpoints/best.pt")["epoch"] == 2


def test_early_stopping_goes_on_counting_after_a_resume(make_trainer, tmp_path):
    parts = RunCheckpoint(tmp_path), EarlyStopping(3)
    with pytest.raises(Stop):
        crash_after(make_trainer(*parts, epochs=9, scores=[0.9, 0.1, 0.1]), 3).run()
    resumed = make_trainer(RunCheckpoint(tmp_path, resume=True), EarlyStopping(3), epochs=9, scores=[0.1, 0.1])
    resumed.run()
    assert resumed.state.epoch == 4
    again = make_trainer(RunCheckpoint(tmp_path, resume=True), EarlyStopping(3), epochs=9, scores=[])
    again.run()  # a run that has stopped stays stopped
    assert again.state.epoch == 4


def test_rows_after_the_restored_epoch_are_dropped(make_trainer, tmp_path):
    whole = tmp_path / "whole"
    make_trainer(RunCheckpoint(whole), MetricsCsv(whole), epochs=4, scores=[0.1, 0.2, 0.3, 0.4]).run()
    broken = tmp_path / "broken"
    parts = RunCheckpoint(broken, every_epochs=2), MetricsCsv(broken)
    with pytest.raises(Stop):
        crash_after(make_trainer(*parts, epochs=4, scores=[0.1, 0.2, 0.3]), 3).run()
    with (broken / "metrics.csv").open("a") as file:
        file.write("4,16,0.1")  # half a row
    resumed = make_trainer(RunCheckpoint(broken, resume=True), MetricsCsv(broken), epochs=4, scores=[0.3, 0.4])
    resumed.run()
    changing = ("seconds", "peak_memory_mb")
    assert [{k: v for k, v in r.items() if k not in changing} for r in rows(broken)] == [
        {k: v for k, v in r.items() if k not in changing} for r in rows(whole)
    ]


def test_a_finished_run_resumes_to_nothing_and_with_more_epochs_goes_on(make_trainer, tmp_path):
    make_trainer(RunCheckpoint(tmp_path), epochs=2).run()
    again = make_trainer(RunCheckpoint(tmp_path, resume=True), epochs=2)
    again.run()
    assert same(again.network.state_dict(), model(tmp_path))
    longer = make_trainer(RunCheckpoint(tmp_path, resume=True), epochs=4)
    longer.run()
    whole = make_trainer(epochs=4)
    whole.run()
    assert same(longer.network.state_dict(), whole.network.state_dict())


def test_resume_without_a_checkpoint_starts_anew(make_trainer, tmp_path):
    trainer = make_trainer(RunCheckpoint(tmp_path, resume=True), epochs=1)
    trainer.run()
    assert trainer.state.epoch == 1


def test_a_federated_second_round_is_not_restored(make_trainer, tmp_path):
    make_trainer(RunCheckpoint(tmp_path), epochs=1).run()
    trainer = make_trainer(RunCheckpoint(tmp_path, resume=True), epochs=2)
    trainer.run()
    trainer.state.max_epochs = 3
    trainer.run()
    assert trainer.state.iteration == 12


def test_scaler_state_survives(make_trainer, tmp_path):
    half = {"amp": True, "amp_dtype": "float16"}
    trainer = make_trainer(RunCheckpoint(tmp_path), epochs=1, **half)
    trainer.scaler.load_state_dict(trainer.scaler.state_dict() | {"scale": 128.0, "_growth_tracker": 7})
    trainer.run()
    resumed = make_trainer(RunCheckpoint(tmp_path, resume=True), epochs=1, **half)
    resumed.run()
    assert resumed.scaler.state_dict() == trainer.scaler.state_dict()
    assert resumed.scaler.state_dict()["_growth_tracker"] == 11


def test_what_died_half_written_is_cleared(make_trainer, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for leftover in (tmp_path / ".model.pt.123.tmp", tmp_path / "checkpoints" / ".last.pt.123.tmp"):
        leftover.write_bytes(b"half")
    make_trainer(RunCheckpoint(tmp_path), epochs=1).run()
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("where", ["fsync", "write"])
def test_a_full_disk_is_one_line_and_the_previous_checkpoint_is_intact(make_trainer, tmp_path, monkeypatch, where):
    make_trainer(RunCheckpoint(tmp_path), epochs=1).run()
    before = (tmp_path / "checkpoints" / "last.pt").read_bytes()
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def no_space(*_):
        raise full

    import medseg.engines.atomic as atomic

    resumed = make_trainer(RunCheckpoint(tmp_path, resume=True), epochs=2)
    if where == "fsync":
        monkeypatch.setattr(atomic.os, "fsync", no_space)
    else:
        monkeypatch.setattr(atomic._Recorded, "write", recorded_write(full))
    with pytest.raises(DataError) as caught:
        resumed.run()
    monkeypatch.undo()
    line = str(caught.value)
    assert "No space left on device" in line
    assert "the previous one is intact" in line
    assert f"medseg train --resume {tmp_path}" in line
    assert "\n" not in line
    assert (tmp_path / "checkpoints" / "last.pt").read_bytes() == before
    assert not list(tmp_path.rglob(".*.tmp"))
    after = make_trainer(RunCheckpoint(tmp_path, resume=True), epochs=2)
    after.run()
    whole = make_trainer(epochs=2)
    whole.run()
    assert same(after.network.state_dict(), whole.network.state_dict())


def recorded_write(error):
    def write(self, _):
        self.error = error
        raise error

    return write


def test_damaged_and_foreign_checkpoints_are_one_line(make_trainer, tmp_path):
    make_trainer(RunCheckpoint(tmp_path), epochs=1).run()
    last = tmp_path / "checkpoints" / "last.pt"
    whole = last.read_bytes()
    for content, wanted in ((whole[:2000], "damaged"), (b"", "damaged"), (b"not a checkpoint", "damaged")):
        last.write_bytes(content)
        with pytest.raises(WeightsError, match=wanted) as caught:
            make_trainer(RunCheckpoint(tmp_path, resume=True)).run()
        assert "\n" not in str(caught.value)
    torch.save({"model": {}}, last)
    with pytest.raises(WeightsError, match="not a checkpoint of a run"):
        make_trainer(RunCheckpoint(tmp_path, resume=True)).run()


def test_another_network_or_config_or_data_is_refused(make_trainer, tmp_path):
    make_trainer(RunCheckpoint(tmp_path), epochs=1).run()

    def resumed(**options):
        make_trainer(RunCheckpoint(tmp_path, resume=True), epochs=2, **options).run()

    with pytest.raises(WeightsError, match="weights for another network"):
        resumed(network=torch.nn.Conv3d(1, 1, 1))
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 3, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(3, 1, 1))
    with pytest.raises(ConfigError, match=r"this config has .*'ema'"):
        resumed(network=network, ema=Ema(network, 0.9))
    with pytest.raises(ConfigError, match="cases was 4, is 5"):
        resumed(cases=5)
    with pytest.raises(ConfigError, match="accumulation_steps was 1, is 2"):
        resumed(accumulation_steps=2)


def test_an_interrupt_is_a_keyboard_interrupt():
    assert issubclass(Interrupted, KeyboardInterrupt)


def test_weights_load_from_every_kind_of_file(make_trainer, tmp_path):
    from safetensors.torch import save_file

    trainer = make_trainer(RunCheckpoint(tmp_path), epochs=1, scores=[0.5])
    trainer.run()
    trained = trainer.network.state_dict()
    save_file({k: v.contiguous() for k, v in trained.items()}, tmp_path / "w.safetensors")
    torch.save({"model": {f"module.{k}": v for k, v in trained.items()}}, tmp_path / "wrapped.pt")
    names = ("model.pt", "checkpoints/best.pt", "checkpoints/last.pt", "w.safetensors", "wrapped.pt")
    for name in names:
        fresh = make_trainer().network
        assert not same(fresh.state_dict(), trained)
        assert same(load_weights(fresh, tmp_path / name).state_dict(), trained), name


def test_weights_for_another_network_are_one_line(make_trainer, tmp_path):
    make_trainer(RunCheckpoint(tmp_path), epochs=1).run()
    other = torch.nn.Sequential(torch.nn.Conv3d(2, 3, 3), torch.nn.BatchNorm3d(3))
    with pytest.raises(WeightsError) as caught:
        load_weights(other, tmp_path / "model.pt")
    line = str(caught.value)
    assert "weights for another network: 8 tensors do not match (it has 7)" in line
    assert "0.weight is (3, 1, 3, 3, 3), wanted (3, 2, 3, 3, 3)" in line
    assert "\n" not in line


def test_missing_damaged_or_empty_weights_are_one_line(tmp_path):
    network = torch.nn.Linear(1, 1)
    with pytest.raises(WeightsError, match="no such weights file"):
        load_weights(network, tmp_path / "none.pt")
    for name in ("damaged.pt", "damaged.safetensors"):
        (tmp_path / name).write_bytes(b"\x00" * 30)
        with pytest.raises(WeightsError, match="damaged, or not a weights file"):
            load_weights(network, tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(WeightsError, match="no state dict"):
        load_weights(network, tmp_path / "list.pt")
