from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from medseg.bundle.overrides import apply_override, parse_override, split_tokens
from medseg.errors import ConfigError

CONFIG: dict[str, Any] = {
    "epochs": 300,
    "learning_rate": 1e-3,
    "spacing_mm": [1.0, 1.0, 1.0],
    "amp": True,
    "datalist": None,
    "dataset_dir": "data",
    "device": "$'cuda' if torch.cuda.is_available() else 'cpu'",
    "roi_size": [96, 96, 96],
    "modalities": ["t1", "flair"],
    "network_def": "@unet",
    "unet": {"_target_": "monai.networks.nets.UNet", "channels": [16, 32]},
    "segresnet": {"_target_": "monai.networks.nets.SegResNet"},
    "train": {"trainer": {"_target_": "x.Trainer", "max_epochs": "@epochs"}, "handlers": [{"_target_": "x.H", "a": 1}]},
}


def override(*tokens: str) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    for token in tokens:
        apply_override(config, parse_override(token))
    return config


@pytest.mark.parametrize(
    ("token", "key", "value"),
    [
        ("epochs=20", "epochs", 20),
        ("epochs=2e1", "epochs", 20),
        ("learning_rate=1e-4", "learning_rate", 1e-4),
        ("learning_rate=1", "learning_rate", 1.0),
        ("amp=false", "amp", False),
        ("datalist=a.json", "datalist", "a.json"),
        ("datalist=null", "datalist", None),
        ("device=cpu", "device", "cpu"),
        ("dataset_dir='\"2024\"'", "dataset_dir", '"2024"'),
        ("roi_size=[64, 64, 48]", "roi_size", [64, 64, 48]),
        ("roi_size=[64.0, 64, 5e1]", "roi_size", [64, 64, 50]),
        ("spacing_mm=[1, 1, 2.5]", "spacing_mm", [1.0, 1.0, 2.5]),
        ("modalities=[t1c]", "modalities", ["t1c"]),
        ("network_def=@segresnet", "network_def", "@segresnet"),
        ("epochs=$10 * 3", "epochs", "$10 * 3"),
    ],
)
def test_a_value_of_the_right_kind_is_set(token: str, key: str, value: object) -> None:
    got = override(token)[key]
    assert got == value
    assert type(got) is type(value)
    if isinstance(value, list):
        assert list(map(type, got)) == list(map(type, value))


def test_nested_keys_with_either_separator_and_list_positions() -> None:
    config = override("unet::channels=[8, 16]", "train#trainer#max_epochs=5", "train::handlers::0::a=2")
    assert config["unet"]["channels"] == [8, 16]
    assert config["train"]["trainer"]["max_epochs"] == 5
    assert config["train"]["handlers"][0]["a"] == 2


def test_a_component_may_get_a_new_argument_or_be_disabled() -> None:
    config = override("unet::dropout=0.1", "train::handlers::0::_disabled_=true")
    assert config["unet"]["dropout"] == 0.1
    assert config["train"]["handlers"][0]["_disabled_"] is True


def test_plus_extends() -> None:
    assert override("+modalities=[t2]")["modalities"] == ["t1", "flair", "t2"]
    assert override("+unet={dropout: 0.1}")["unet"]["dropout"] == 0.1
    with pytest.raises(ConfigError, match="extends a list by a list"):
        override("+epochs=3")


@pytest.mark.parametrize(
    ("token", "match"),
    [
        ("epohcs=3", "no key 'epohcs'. Did you mean 'epochs'"),
        ("max_epochs=3", "Did you mean 'train::trainer::max_epochs'"),
        ("train::trainr::max_epochs=3", "Did you mean 'train::trainer::max_epochs'"),
        ("train::zzz=3", "no key 'train::zzz'"),
        ("unet::channels::7=3", "no key 'unet::channels::7'"),
        ("qqqqqq=1", "Top-level keys: amp"),
        ("epochs=many", "'many' is text, but a number is wanted, such as 300"),
        ("epochs=true", "True is true or false, but a number"),
        ("epochs=null", "None is nothing, but a number"),
        ("epochs=[3]", "is a list, but a number"),
        ("epochs=2.5", r"epochs: 2\.5 is no whole number, such as 300\."),
        ("epochs=.inf", "inf is no whole number"),
        ("train::trainer::max_epochs=2.5", r"2\.5 is no whole number"),
        ("roi_size=[64, 64, 48.5]", r"48\.5 is no whole number, such as 96\."),
        ("train::trainer::max_epochs=many", "but a number is wanted"),
        ("amp=1", "1 is a number, but true or false is wanted, such as true"),
        ("amp=off-line", "is text, but true or false"),
        ("dataset_dir=5", "is a number, but text is wanted, such as 'data'. Quote it"),
        ("roi_size=96", "is a number, but a list is wanted"),
        ("roi_size=[a, b, c]", "the element 'a' is text, but a number is wanted"),
        ("modalities=[1]", "the element 1 is a number, but text is wanted"),
        ("unet=5", "a mapping is wanted"),
        ("network_def=segresnet", "Did you mean network_def=@segresnet"),
        ("network_def=@segresnett", "refers to a key that the config lacks. Did you mean @segresnet"),
        ("epochs=", "the value is empty"),
        ("roi_size=[1, 2", "not valid YAML"),
        ("epochs", "no override"),
        ("a b=3", "no override"),
    ],
)
def test_a_wrong_override_is_refused_and_says_what_was_meant(token: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        override(token)


def test_paths_are_meant_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    assert override("dataset_dir=scans")["dataset_dir"] == str(tmp_path / "scans")
    assert override("dataset_dir=absent")["dataset_dir"] == "absent"


def test_tokens_are_inputs_or_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tokens = ["a.nii.gz", "epochs=3", "dir/x=1.nii.gz"]
    assert split_tokens(tokens, CONFIG) == (["a.nii.gz", "dir/x=1.nii.gz"], ["epochs=3"])
    (tmp_path / "epochs=3").mkdir()
    assert split_tokens(tokens, CONFIG) == (tokens, [])


def test_behind_dashes_everything_is_an_input() -> None:
    assert split_tokens(["amp=true", "epochs=3"], CONFIG, after_dashes=1) == (["epochs=3"], ["amp=true"])


def test_an_unknown_key_among_inputs_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'epochs'"):
        split_tokens(["scan.nii.gz", "epohcs=3"], CONFIG)
