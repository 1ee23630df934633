from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from medseg.bundle.run import predict, resume, train
from medseg.bundle.run_folder import RunInterrupted
from medseg.errors import ConfigError, DataError, WeightsError


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    import nibabel as nib

    folder = tmp_path / "scans"
    folder.mkdir()
    for case in ("a", "b", "c"):
        nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), dtype=np.int16), np.eye(4)), folder / f"{case}.nii.gz")
    return folder


def record(run: Path) -> dict[str, object]:
    return json.loads((run / "run.json").read_text())


def test_a_run_folder_holds_config_record_and_log(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    run = train(make_bundle(), overrides=["epochs=2"], run_dir=tmp_path / "run")
    assert run == (tmp_path / "run").resolve()
    assert (run / "trained.txt").read_text() == "2 False 0.001\n"
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["output_dir"] == str(run)
    assert config["epochs"] == 2
    facts = record(run)
    assert facts["status"] == "finished"
    assert (facts["verb"], facts["bundle"], facts["seed"], facts["device"]) == ("train", "toy", 0, "cpu")
    assert facts["config_sha256"] == sha256_of_config(run)
    assert "run folder" in (run / "train.log").read_text()


def test_the_default_folder_is_named_by_bundle_and_time(
    make_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train(make_bundle()).parent == tmp_path / "runs" / "toy"


def test_a_folder_that_holds_a_run_is_not_trained_over(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    root = make_bundle()
    train(root, run_dir=tmp_path / "run")
    train(root, run_dir=tmp_path / "run")  # nothing was learnt, so nothing is lost
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "last.pt").touch()
    with pytest.raises(ConfigError, match="holds a run already. Go on with --resume"):
        train(root, run_dir=tmp_path / "run")


def test_under_torchrun_the_folder_must_be_given(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="--run-dir is missing"):
        train(make_bundle())


def test_other_ranks_write_nothing_but_run(
    make_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    (tmp_path / "run").mkdir()
    train(make_bundle(), run_dir=tmp_path / "run")
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["trained.txt"]


def test_a_run_resumes_by_itself_and_longer(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    run = train(make_bundle(), run_dir=tmp_path / "run")
    resume(run)
    resume(run, overrides=["epochs=9", "learning_rate=1e-3"])
    assert (run / "trained.txt").read_text().splitlines() == ["3 False 0.001", "3 True 0.001", "9 True 0.001"]
    assert record(run)["resumed"] == 2
    assert yaml.safe_load((run / "config.yaml").read_text())["resume"] is False


def sha256_of_config(run: Path) -> str:
    return hashlib.sha256((run / "config.yaml").read_bytes()).hexdigest()


def test_a_resume_that_fails_is_not_remembered(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    engine = "train::trainer::_target_: toy_parts.Loop\ntrain::trainer::data: '@dataset_dir'\n"
    run = train(make_bundle(train=engine), run_dir=tmp_path / "run")
    before = (run / "config.yaml").read_bytes()
    with pytest.raises(DataError, match="the data changed"):
        resume(run, overrides=["dataset_dir=bad", "epochs=9"])
    assert (run / "config.yaml").read_bytes() == before
    assert record(run)["status"] == "failed"
    assert record(run)["config_sha256"] == sha256_of_config(run)
    resume(run, overrides=["epochs=9"])
    assert yaml.safe_load((run / "config.yaml").read_text())["epochs"] == 9
    assert record(run)["config_sha256"] == sha256_of_config(run)


@pytest.mark.parametrize(
    ("token", "match"),
    [
        ("learning_rate=1e-4", "learning_rate: a resumed run keeps its config"),
        ("epochs=1", "epochs: 1 is below the run's 3"),
        ("epohcs=9", "Did you mean 'epochs'"),
    ],
)
def test_a_resume_refuses_what_would_make_another_run(
    make_bundle: Callable[..., Path], tmp_path: Path, token: str, match: str
) -> None:
    run = train(make_bundle(), run_dir=tmp_path / "run")
    with pytest.raises(ConfigError, match=match):
        resume(run, overrides=[token])


def test_a_moved_run_and_a_moved_bundle_resume(
    make_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_bundle()
    run = train(root, run_dir=tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "more").mkdir()
    root.rename(tmp_path / "more" / "toy")
    with pytest.raises(ConfigError, match="no bundle is named 'toy'"):
        resume(run)
    monkeypatch.setenv("MEDSEG_BUNDLES", str(tmp_path / "more"))
    resume(run)
    assert len((run / "trained.txt").read_text().splitlines()) == 2


def test_another_bundle_s_run_and_an_empty_folder_are_refused(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    run = train(make_bundle(), run_dir=tmp_path / "run")
    with pytest.raises(ConfigError, match="belongs to the bundle 'toy', not to 'other'"):
        resume(run, bundle=str(make_bundle("other")))
    with pytest.raises(ConfigError, match=r"holds no run, config\.yaml is missing"):
        resume(tmp_path)


def test_what_a_user_can_mend_comes_out_of_the_depths_as_one_line(
    make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"^case_7: the header is damaged\.$"):
        train(make_bundle(), overrides=["failure=user"], run_dir=tmp_path / "run")
    assert record(tmp_path / "run")["status"] == "failed"
    assert "applying transform" in (tmp_path / "run" / "train.log").read_text()


def test_a_bug_keeps_its_traceback(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Failed to evaluate") as caught:
        train(make_bundle(), overrides=["failure=bug"], run_dir=tmp_path / "run")
    assert isinstance(caught.value.__cause__, KeyError)
    assert record(tmp_path / "run")["status"] == "failed"


def test_an_interrupted_run_says_where_it_is(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(RunInterrupted) as caught:
        train(make_bundle(), overrides=["failure=stop"], run_dir=tmp_path / "run")
    assert caught.value.run_dir == tmp_path / "run"
    assert record(tmp_path / "run")["status"] == "interrupted"


def test_logging_is_left_as_it_was(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    train(make_bundle(), run_dir=tmp_path / "run")
    assert (logging.getLogger().handlers, logging.getLogger().level) == before


def test_every_case_gets_a_label_map(make_bundle: Callable[..., Path], scans: Path, tmp_path: Path) -> None:
    written = predict(make_bundle(), [scans], output_dir=tmp_path / "out", overrides=["ckpt_path=none"])
    assert [p.name for p in written] == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
    assert record(tmp_path / "out")["verb"] == "predict"


def test_one_bad_case_stops_no_other(make_bundle: Callable[..., Path], scans: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^b: the header is damaged\. \(2 of 3 cases are written to"):
        predict(make_bundle(), [scans], output_dir=tmp_path / "out", overrides=["ckpt_path=none", "failing=b"])
    assert sorted(p.name for p in (tmp_path / "out").glob("*.nii.gz")) == ["a.nii.gz", "c.nii.gz"]
    assert record(tmp_path / "out")["status"] == "failed"


def test_a_path_with_a_hash_survives_monai(make_bundle: Callable[..., Path], scans: Path, tmp_path: Path) -> None:
    odd = scans.rename(tmp_path / "scan#1")
    root = make_bundle()
    with pytest.raises(ConfigError, match="without '#'"):
        predict(root, [odd], output_dir=tmp_path / "out#1", overrides=["ckpt_path=none"])
    assert len(predict(root, [odd], output_dir=tmp_path / "out", overrides=["ckpt_path=none"])) == 3


def test_a_training_run_is_not_written_over_by_predictions(
    make_bundle: Callable[..., Path], scans: Path, tmp_path: Path
) -> None:
    root = make_bundle()
    run = train(root, run_dir=tmp_path / "run")
    with pytest.raises(ConfigError, match="but medseg train wrote it. Give another folder with -o"):
        predict(root, [scans], output_dir=run, overrides=["ckpt_path=none"])


def test_predictions_are_not_trained_over(make_bundle: Callable[..., Path], scans: Path, tmp_path: Path) -> None:
    root = make_bundle()
    predict(root, [scans], output_dir=tmp_path / "out", overrides=["ckpt_path=none"])
    with pytest.raises(ConfigError, match="but medseg predict wrote it. Give another folder with --run-dir"):
        train(root, run_dir=tmp_path / "out")


def test_a_scan_is_not_written_over_by_its_prediction(make_bundle: Callable[..., Path], scans: Path) -> None:
    before = sorted(scans.iterdir())
    with pytest.raises(ConfigError, match=r"a\.nii\.gz: is an input \(case a\)"):
        predict(make_bundle(), [scans], output_dir=scans, overrides=["ckpt_path=none"])
    assert sorted(scans.iterdir()) == before


def test_without_weights_the_way_to_get_some_is_told(
    make_bundle: Callable[..., Path], scans: Path, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=r"ships no weights\. Train them \(medseg train toy\)"):
        predict(make_bundle(), [scans], output_dir=tmp_path / "out")


def test_weights_of_a_run_bring_what_the_run_was_trained_with(
    make_bundle: Callable[..., Path], scans: Path, tmp_path: Path
) -> None:
    root = make_bundle()
    run = train(root, overrides=["modalities=[mr]", "network_def=@large", "amp=false"], run_dir=tmp_path / "run")
    (run / "model.pt").touch()
    predict(root, [scans], output_dir=tmp_path / "out", weights=run / "model.pt", overrides=["amp=true"])
    config = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert (config["modalities"], config["network_def"], config["amp"]) == (["mr"], "@large", True)
    assert config["ckpt_path"] == str(run / "model.pt")
    assert config["output_dir"] == str(tmp_path / "out")
    assert "epochs" not in config
