import numpy as np
import pytest
import torch

from medseg.engines import MetricsCsv, Progress, RunCheckpoint, TensorBoard
from medseg.engines.overlay import busiest_slice, contour, overlay


def cube(shape, low, high):
    mask = np.zeros(shape, bool)
    mask[:, low:high, low:high, low + 1 : high] = True
    return mask


def test_the_busiest_slice_has_most_foreground_and_the_middle_stands_in():
    mask = cube((2, 9, 9, 9), 2, 5)
    mask[0, 0, 0, 4] = True
    assert busiest_slice(mask) == 4
    assert busiest_slice(np.zeros((1, 3, 3, 7), bool)) == 3


def test_a_contour_is_the_rim():
    mask = np.zeros((7, 7), bool)
    mask[1:6, 1:6] = True
    assert contour(mask).sum() == 16
    assert not contour(mask)[2:5, 2:5].any()


def test_an_overlay_shows_both_contours_on_grey():
    reference, prediction = cube((1, 12, 10, 8), 2, 7), cube((1, 12, 10, 8), 2, 7)
    prediction[:, 2], prediction[:, 6], prediction[:, :, 2], prediction[:, :, 6] = False, False, False, False
    picture = overlay(np.random.default_rng(0).normal(size=(12, 10, 8)), reference, prediction)
    assert picture.shape == (3, 10, 12)
    assert picture.dtype == np.uint8
    grey = (picture[0] == picture[1]) & (picture[1] == picture[2])
    assert (~grey).sum() == 16 + 8


def scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), {"images": 0, "scalars": 0})
    events.Reload()
    values = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    return values, events.Tags()["images"]


@pytest.mark.parametrize("resumes", [False, True])
def test_tensorboard_holds_each_epoch_once_and_the_pictures(make_trainer, tmp_path, resumes):
    def parts(resume):
        return RunCheckpoint(tmp_path, resume=resume, every_epochs=2), TensorBoard(tmp_path), Progress()

    if resumes:
        trainer = make_trainer(*parts(False), epochs=3, scores=[0.1, 0.2, 0.3])
        trainer._extra_state["validation"].interval = 1
        trainer.state.max_epochs = 4

        def crash(engine):
            if engine.state.iteration == 14:
                raise KeyboardInterrupt

        from ignite.engine import Events

        trainer.add_event_handler(Events.ITERATION_COMPLETED, crash)
        with pytest.raises(KeyboardInterrupt):
            trainer.run()
        make_trainer(*parts(True), epochs=4, scores=[0.3, 0.4]).run()
    else:
        make_trainer(*parts(False), epochs=4, scores=[0.1, 0.2, 0.3, 0.4]).run()
    values, pictures = scalars(tmp_path)
    assert [step for step, _ in values["train/loss"]] == [4, 8, 12, 16]
    assert values["val/score"] == [(4 * n, pytest.approx(n / 10)) for n in (1, 2, 3, 4)]
    assert pictures == ["validation/case50"]


def test_metrics_csv_has_a_column_for_a_metric_that_comes_later(make_trainer, tmp_path):
    trainer = make_trainer(MetricsCsv(tmp_path), epochs=2, scores=[0.5])
    trainer._extra_state["validation"].interval = 2
    trainer.run()
    lines = [line.split(",") for line in (tmp_path / "metrics.csv").read_text().splitlines()]
    assert lines[0] == [
        "epoch", "iteration", "loss", "dice", "bce", "learning_rate", "grad_norm", "score", "seconds", "peak_memory_mb",
    ]  # fmt: skip
    assert [line[7] for line in lines[1:]] == ["", "0.5"]
    assert torch.tensor(float(lines[1][2])).isfinite()
