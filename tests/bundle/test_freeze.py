from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.bundle.freeze import freeze, write_zip
from medseg.errors import ConfigError, WeightsError


def test_each_workflow_becomes_one_plain_json_file(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    folder = freeze(make_bundle(), tmp_path / "out" / "toy", overrides=["epochs=7"])
    train = json.loads((folder / "configs" / "train.json").read_text())
    inference = json.loads((folder / "configs" / "inference.json").read_text())
    assert train["epochs"] == 7
    assert train["modalities"] == inference["modalities"] == ["ct"]
    assert train["output_dir"] == "$@bundle_root + '/models'"
    assert inference["output_dir"] == "$@bundle_root + '/eval'"
    assert (folder / "LICENSE").is_file()
    assert not (folder / "models").exists()  # it ships no weights


def test_a_key_that_no_workflow_has_is_refused(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no key 'epohcs'"):
        freeze(make_bundle(), tmp_path / "out", overrides=["epohcs=7"])
    assert not list(tmp_path.glob(".freeze*"))


def test_other_modalities_change_the_metadata(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    folder = freeze(make_bundle(), tmp_path / "toy", overrides=["modalities=[t1, flair]"])
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    image = metadata["network_data_format"]["inputs"]["image"]
    assert image["num_channels"] == 2
    assert image["channel_def"] == {"0": "t1", "1": "flair"}


def test_a_training_that_loads_a_checkpoint_is_refused(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    loader = "{_target_: medseg.engines.WeightsLoader, path: '@ckpt_path', network: $@network_def}"
    root = make_bundle(train=f"train::handlers: [{loader}]\n")
    with pytest.raises(ConfigError, match=r"configs/train.yaml:\d+: train::handlers::0: loads weights"):
        freeze(root, tmp_path / "toy")


def test_an_evaluation_gets_the_place_and_the_loader_that_federations_know(
    make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    root = make_bundle()
    (root / "configs" / "evaluate.yaml").write_text(
        "network_def: $@small\n"
        "weights: {_target_: medseg.engines.WeightsLoader, path: '@ckpt_path', network: '@network_def'}\n"
        "handlers: [{_target_: medseg.engines.HandlerGroup, weights: '@weights'}]\n"
    )
    folder = freeze(root, tmp_path / "toy")
    evaluate = json.loads((folder / "configs" / "evaluate.json").read_text())
    assert evaluate["handlers"] == "@validate::handlers"
    (loader,) = evaluate["validate"]["handlers"]
    assert loader["_target_"] == "monai.handlers.CheckpointLoader"
    assert loader["load_dict"] == {"model": "@network_def"}
    assert evaluate["validate"]["evaluator"] == "@evaluator"


def test_what_is_there_is_not_written_over(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(ConfigError, match="exists already"):
        freeze(make_bundle(), tmp_path / "out")


def test_weights_that_are_not_there_are_said(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        freeze(make_bundle(), tmp_path / "out", weights=tmp_path / "none.pt")
    assert not (tmp_path / "out").exists()


def test_equal_folders_give_equal_zips(tmp_path: Path) -> None:
    for place, names in (("one", "ab"), ("two", "ba")):
        for name in names:
            (tmp_path / place / "toy" / "sub").mkdir(parents=True, exist_ok=True)
            (tmp_path / place / "toy" / "sub" / name).write_text(name)
        write_zip(tmp_path / place / "toy", tmp_path / f"{place}.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
