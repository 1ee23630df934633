"""A run in an MLflow tracking store, by the preset."""

import sys

import pytest

from medseg.bundle.run import resume, train
from medseg.datasets.phantoms import write_msd_phantoms
from medseg.errors import MedsegError

TINY = [
    "label_convention={liver: 1, spleen: 2}",
    "regions=[liver, spleen]",
    "spacing_mm=[8.0, 8.0, 8.0]",
    "roi_size=[16, 16, 16]",
    "network_def=@residual_unet",
    "channels=[4, 8]",
    "strides=[[2, 2, 2]]",
    "samples_per_epoch=2",
    "batch_size=1",
    "val_interval=1",
    "epochs=1",
    "num_workers=0",
    "device=cpu",
    "amp=false",
]


@pytest.fixture
def organs(tmp_path):
    write_msd_phantoms(tmp_path / "organs", cases=5, seed=0, shape=(40, 36, 24), spacing_mm=8.0)
    return tmp_path / "organs"


def test_a_run_and_its_resume_are_one_run_of_mlflow(organs, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed: pip install 'medseg[mlflow]'")
    uri = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    overrides = [*TINY, f"dataset_dir={organs}"]
    run = train("msd_organ_segmentation", presets=["mlflow"], overrides=overrides, run_dir=tmp_path / "run")
    resume(run, overrides=["epochs=2"])
    client = mlflow.MlflowClient(tracking_uri=uri)
    (kept,) = client.search_runs([client.get_experiment_by_name("medseg").experiment_id])
    assert kept.info.run_id == (run / "mlflow.txt").read_text().strip()
    assert kept.info.status == "FINISHED"
    assert kept.data.params["spacing_mm"] == "[8.0, 8.0, 8.0]"
    assert [point.step for point in client.get_metric_history(kept.info.run_id, "train.loss")] == [1, 2]
    assert {"train.loss", "val.val_mean_dice", "val.val_dice_spleen"} <= set(kept.data.metrics)
    assert list((run / "tensorboard").glob("events*")), "TensorBoard is written as well"


def test_without_mlflow_it_says_how_to_get_it(organs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MedsegError, match=r"pip install 'medseg\[mlflow\]'"):
        train(
            "msd_organ_segmentation",
            presets=["mlflow"],
            overrides=[*TINY, f"dataset_dir={organs}"],
            run_dir=tmp_path / "run",
        )
