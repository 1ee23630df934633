from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from medseg.bundle.compose import compose
from medseg.errors import ConfigError


def test_layers_then_presets_then_overrides(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    preset = tmp_path / "quick.yaml"
    preset.write_text("epochs: 2\namp: false\n")
    composition = compose(make_bundle(), "train", presets=[str(preset)], overrides=["epochs=1"])
    assert composition.config["epochs"] == 1
    assert composition.config["amp"] is False
    assert composition.config["learning_rate"] == 1e-3
    assert "failing" not in composition.config


def test_a_preset_touches_contract_keys_only(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    preset = tmp_path / "bad.yaml"
    preset.write_text("epochs: 2\nweight_decay: 3\n")
    with pytest.raises(ConfigError, match=r"bad\.yaml:2: a preset may not touch 'weight_decay'"):
        compose(make_bundle(), "train", presets=[str(preset)])


def test_a_preset_key_that_the_workflow_lacks_is_left_out(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    preset = tmp_path / "quick.yaml"
    preset.write_text("epochs: 2\nroi_size: [4, 4, 4]\n")
    config = compose(make_bundle(), "inference", presets=[str(preset)]).config
    assert "epochs" not in config
    assert config["roi_size"] == [4, 4, 4]


def test_a_later_file_reaches_and_extends_what_an_earlier_one_set(make_bundle: Callable[..., Path]) -> None:
    root = make_bundle(train="\n+modalities: [pet]\nlarge::numerator: 7\n")
    config = compose(root, "train").config
    assert config["modalities"] == ["ct", "pet"]
    assert config["large"]["numerator"] == 7


def test_evaluate_lies_over_inference(make_bundle: Callable[..., Path]) -> None:
    root = make_bundle()
    (root / "configs" / "evaluate.yaml").write_text("key_metric: {}\n")
    config = compose(root, "evaluate").config
    assert config["key_metric"] == {}
    assert config["failing"] == ""


def test_a_missing_workflow_is_said(make_bundle: Callable[..., Path]) -> None:
    root = make_bundle()
    (root / "configs" / "train.yaml").unlink()
    with pytest.raises(ConfigError, match=r"no configs/train\.yaml"):
        compose(root, "train")


def test_the_written_config_is_the_config_and_its_hash_is_the_file_s(
    make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    composition = compose(make_bundle(), "train", overrides=["learning_rate=1e-5"])
    sha256 = composition.write(tmp_path / "config.yaml")
    data = (tmp_path / "config.yaml").read_bytes()
    assert sha256 == hashlib.sha256(data).hexdigest()
    # PyYAML's own loader, which stock MONAI uses
    assert yaml.safe_load(data) == composition.config
    assert list(yaml.safe_load(data)) == list(composition.config)


def test_where_names_file_line_and_key(make_bundle: Callable[..., Path]) -> None:
    composition = compose(make_bundle(), "train", overrides=["epochs=4"])
    assert composition.where("train::trainer::max_epochs").startswith("configs/train.yaml:")
    assert composition.where("epochs") == "override: epochs"


def test_values_that_medseg_sets_must_be_there(make_bundle: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match="no key 'nothing'"):
        compose(make_bundle(), "train").with_values({"nothing": 1})
