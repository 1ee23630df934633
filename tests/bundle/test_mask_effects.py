"""No result changes silently: what can change a mask is declared, said in the help and recorded."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from medseg.bundle.compose import compose
from medseg.bundle.find import list_bundles
from medseg.bundle.mask_effects import CHANGES, SAME, SETTINGS, is_reference, is_setting, mask_settings
from medseg.cli.main import app

REPOSITORY = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((REPOSITORY / "medseg/bundle/templates").iterdir())
BUNDLES = sorted(list_bundles())
# Every option of the verbs that make, score or compare results. "changes": another mask, and the help says so;
# "model": another model is trained; "scores": other figures of the same masks; "same": neither.
OPTIONS: dict[str, dict[str, str]] = {
    "predict": {
        "bundle": "changes",
        "inputs": "same",
        "output": "same",
        "weights": "changes",
        "preset": "changes",
        "runtime": "changes",
        "probabilities": "changes",
        "trust": "same",
        "traceback": "same",
    },
    "train": {
        "bundle": "model",
        "overrides": "model",
        "preset": "model",
        "run_dir": "same",
        "resume": "same",
        "trust": "same",
        "traceback": "same",
    },
    "evaluate": {
        **dict.fromkeys(("pred", "ref", "output"), "same"),
        **dict.fromkeys(("task", "regions", "tolerance_mm", "surface", "protocol", "lesion_wise"), "scores"),
        **dict.fromkeys(("probabilities", "exclude", "series", "subset", "traceback"), "scores"),
    },
    "benchmark": {
        **dict.fromkeys(("suite", "reproduce", "output", "dataset_dir"), "same"),
        **dict.fromkeys(("jobs", "executor", "executor_option", "keep", "traceback"), "same"),
    },
}


def settings_of(config: dict[str, Any]) -> set[str]:
    return {key for key, value in config.items() if is_setting(value)}


@pytest.mark.parametrize("workflow", ["inference", "evaluate"])
@pytest.mark.parametrize("bundle", BUNDLES)
def test_every_setting_of_every_bundle_is_declared(bundle: str, workflow: str) -> None:
    unknown = settings_of(compose(bundle, workflow).config) - SETTINGS.keys()
    assert not unknown, f"say in medseg.bundle.mask_effects.SETTINGS what {sorted(unknown)} do to a mask"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_setting_of_a_new_bundle_is_declared(template: Path) -> None:
    for name in ("common", "inference"):
        text = (template / "configs" / f"{name}.yaml").read_text(encoding="utf-8")
        keys = set(re.findall(r"^(\w+):", text, re.M))
        components = {key for key in keys if re.search(rf"^{key}:[^\n]*\n(- )?\s*(- )?_target_", text, re.M)}
        lists = {key for key in keys if re.search(rf"^{key}:[^\n]*\n- _target_", text, re.M)}
        known = set().union(*(compose(bundle, "inference").config for bundle in BUNDLES))
        assert not keys - components - lists - SETTINGS.keys() - known


def test_nothing_is_declared_that_no_bundle_has() -> None:
    used = set().union(*(settings_of(compose(name, "inference").config) for name in BUNDLES))
    of_training = {"seed"}  # of runs whose weights predict
    assert SETTINGS.keys() - used <= of_training


@pytest.mark.parametrize("bundle", BUNDLES)
def test_run_json_gets_every_setting_that_can_change_a_mask(bundle: str) -> None:
    composition = compose(bundle, "inference")
    told = mask_settings(composition)
    for key in settings_of(composition.config):
        assert (key in told) is (SETTINGS[key] != SAME)
        assert told.get(key, composition.config[key]) == composition.config[key]


def test_values_inside_of_the_inferer_and_the_postprocessing_are_told_too() -> None:
    bundle = "hippocampus_mri_segmentation"
    told = mask_settings(compose(bundle, "inference", overrides=["+inferer::mode=constant", "tta=true"]))
    assert (told["inferer::mode"], told["tta"], told["placement"]) == ("constant", True, "everywhere")
    assert 0.5 in [value for key, value in told.items() if key.endswith("::threshold")]
    assert not [key for key, value in told.items() if "::" in key and is_reference(value)]


def test_a_setting_of_a_bundle_from_elsewhere_is_taken_for_one_that_can_change_masks() -> None:
    composition = compose("hippocampus_mri_segmentation", "inference")
    foreign = dataclasses.replace(composition, config={**composition.config, "sharpness": 2})
    assert mask_settings(foreign)["sharpness"] == 2


def help_of(verb: str) -> str:
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    return " ".join((command.help or "").split())


def test_the_help_of_predict_names_every_setting_that_can_change_a_mask_and_no_other() -> None:
    said = re.search(r"These can change masks or boxes: (.*?); so can", help_of("predict"))
    assert said is not None
    named = set(re.findall(r"[a-z_]+_[a-z_]+|amp|ensemble|overlap|placement|runtime|streaming|tta", said.group(1)))
    assert named == {key for key, effect in SETTINGS.items() if effect == CHANGES}


def test_the_help_of_predict_names_settings_that_change_nothing_rightly() -> None:
    said = re.search(r"own parts\. (.*?) do not\.", help_of("predict"))
    assert said is not None
    named = re.findall(r"[a-z_]+", said.group(1).replace(" and ", " "))
    assert {SETTINGS[key] for key in named} == {SAME}


@pytest.mark.parametrize("verb", OPTIONS)
def test_every_option_is_declared_and_says_when_it_changes_masks(verb: str) -> None:
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    parameters = {p.name: " ".join((getattr(p, "help", "") or "").split()) for p in command.params if p.name != "help"}
    assert parameters.keys() == OPTIONS[verb].keys(), "declare the option here, and what it does to a mask"
    for name, effect in OPTIONS[verb].items():
        if effect == "changes" and name != "bundle":
            assert "mask" in parameters[name], f"--{name} can change a mask: its help has to say so"


def test_the_guide_says_of_every_argument_of_the_sliding_window_what_it_changes() -> None:
    from medseg.inference import SlidingWindow

    guide = (REPOSITORY / "docs" / "inference.md").read_text(encoding="utf-8")
    table = guide.partition("## What changes a result")[2].partition("\n## ")[0]
    arguments = set(inspect.signature(SlidingWindow).parameters) - {"kwargs"}
    assert {name for name in arguments if f"`{name}" not in table and f"{name}=" not in table} == set()


def test_bundles_say_it_in_their_configs() -> None:
    for bundle in BUNDLES:
        if "segmentation" not in bundle:
            continue
        lines = "".join(
            path.read_text(encoding="utf-8") for path in (list_bundles()[bundle] / "configs").glob("*.yaml")
        )
        for key in ("tta", "placement", "streaming"):
            line = next(line for line in lines.splitlines() if line.startswith(f"{key}:"))
            assert re.search(r"changes the result|may differ|has seen none", line), (bundle, line)
            assert yaml.safe_load(line)[key] in (False, True, "everywhere")
