from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.bundle.check import check_bundle, check_composition, require_clean
from medseg.bundle.compose import compose
from medseg.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def test_a_sound_bundle_has_no_findings(make_bundle: Callable[..., Path]) -> None:
    assert check_bundle(make_bundle()) == []


@pytest.mark.parametrize(
    ("yaml", "match"),
    [
        ("small::_target_: fractions.Fractoin", "small::_target_: 'fractions.Fractoin' does not exist"),
        ("small::_target_: no_such_package.X", "the package 'no_such_package' is not installed"),
        ("train::trainer::max_epocs: 3", "takes no argument 'max_epocs'. Did you mean 'max_epochs'"),
        ("train::trainer: {_target_: toy_parts.Trainer, max_epochs: 3}", "needs the argument 'output_dir'"),
        ("train::handlers: [{_target_: fractions.Fraction, _mode_: partial}]", "'partial' is no mode. Known: default"),
        ("small::numerator: '@nothing'", "'@nothing' refers to a key that the config lacks"),
        ("small::numerator: '@larg'", "Did you mean '@large'"),
        ("small::numerator: $@epochs + @nothing", "'@nothing' refers"),
        ("small::numerator: '%nothing'", "'%nothing' copies a key"),
        ("small::numerator: '%other.yaml::a'", "read from the working directory"),
        ("small::numerator: $1 +", "not a Python expression"),
        ("small::numerator: $os.sep", "unknown name 'os'"),
        ("small::numerator: 'a#b'", "turns every '#' into '::'"),
        ("small::numerator: 1e-3", "stock MONAI reads 1e-3 as text, since YAML 1.1 wants a dot. Write 0.001"),
        ("train::handlers: ['@large']\nlarge::_disabled_: true", "is _disabled_ and leaves None in the list"),
        (
            "small::numerator: '@large'\nlarge::numerator: '@small'\n+run: ['$@small']",
            "circle: small -> large -> small",
        ),
        ("epochs: 3", "the key 'epochs' comes twice"),
    ],
)
def test_a_defect_is_found_where_it_is(make_bundle: Callable[..., Path], yaml: str, match: str) -> None:
    findings = check_bundle(make_bundle(train=yaml + "\n"))
    assert len(findings) == 1
    assert match in str(findings[0])
    assert "configs/" in str(findings[0])


@pytest.mark.parametrize(
    ("token", "wanted"),
    [
        ("epochs=0", "from 1 on"),
        ("epochs=-2", "from 1 on"),
        ("val_interval=0", "from 1 on"),
        ("num_workers=-1", "from 0 on"),
        ("fold=-1", "from 0 on"),
        ("roi_size=[8, 0, 8]", "from 1 on"),
    ],
)
def test_what_counts_something_is_no_less_than_it_can_be(
    make_bundle: Callable[..., Path], token: str, wanted: str
) -> None:
    key = token.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"^override: {key}: .* is too small or no whole number; wanted {wanted}"):
        require_clean(compose(make_bundle(), "train", overrides=[token]))


def test_a_preset_may_not_count_in_fractions(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "half.yaml").write_text("epochs: 2.5\n")
    with pytest.raises(ConfigError, match=r"half\.yaml:1: epochs: 2\.5 is too small or no whole number"):
        require_clean(compose(make_bundle(), "train", presets=[str(tmp_path / "half.yaml")]))


def test_components_that_are_not_called_need_no_arguments(make_bundle: Callable[..., Path]) -> None:
    more = """
partial: {_target_: toy_parts.Trainer, _mode_: callable, resume: true}
switched_off: {_target_: absent.Package, _disabled_: true}
call: {_target_: $@large.limit_denominator}
"""
    assert check_bundle(make_bundle(train=more)) == []


def test_missing_ids_are_named(make_bundle: Callable[..., Path]) -> None:
    root = make_bundle()
    text = (root / "configs" / "train.yaml").read_text()
    (root / "configs" / "train.yaml").write_text(
        text.replace("  inferer: null\n", "", 1).replace("val_interval: 1\n", "")
    )
    found = [(f.level, f.where.rpartition(" ")[2]) for f in check_bundle(root)]
    assert sorted(found) == [("error", "train::inferer"), ("warning", "val_interval")]


def test_missing_files_and_metadata_are_named(make_bundle: Callable[..., Path]) -> None:
    root = make_bundle()
    (root / "LICENSE").unlink()
    path = root / "configs" / "metadata.json"
    meta = json.loads(path.read_text())
    del meta["task"], meta["network_data_format"]["inputs"]["image"]["dtype"], meta["intended_use"]
    meta["version"] = "0.2.0"
    path.write_text(json.dumps(meta))
    (root / "large_files.yml").write_text(
        "large_files:\n- {path: a.pt, url: https://example.org, hash_type: sha256, hash_val: 12}\n"
    )
    text = "\n".join(str(f) for f in check_bundle(root))
    assert "LICENSE: the file is missing" in text
    assert "metadata.json:1: task: the field is missing" in text
    assert "network_data_format::inputs::image::dtype: the field is missing" in text
    assert "intended_use: the field is missing" in text
    assert "has no entry for the version 0.2.0" in text
    assert "hash_val '12' is no sha256 of 64 hexadecimal digits" in text


def test_our_small_validator_agrees_with_jsonschema(make_bundle: Callable[..., Path]) -> None:
    import jsonschema

    from medseg.bundle.files import SCHEMA

    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    root = make_bundle()
    path = root / "configs" / "metadata.json"
    for key in schema["required"]:
        meta = json.loads(path.read_text())
        for broken in ({k: v for k, v in meta.items() if k != key}, {**meta, key: 3}):
            assert list(jsonschema.Draft202012Validator(schema).iter_errors(broken))
            other = root.with_name(f"{root.name}_broken")
            (other / "configs").mkdir(parents=True, exist_ok=True)
            (other / "configs" / "metadata.json").write_text(json.dumps(broken))
            assert any(key in f.where for f in check_bundle(other) if f.level == "error")


def test_an_override_is_checked_like_the_files(make_bundle: Callable[..., Path]) -> None:
    composition = compose(make_bundle(), "train", overrides=["train::trainer::lerning_rate=0.1"])
    with pytest.raises(ConfigError, match="takes no argument 'lerning_rate'. Did you mean 'learning_rate'"):
        require_clean(composition)
    assert len(check_composition(composition)) == 1


def test_a_check_is_quick_and_imports_nothing_that_a_bundle_names() -> None:
    code = (
        "import sys, time; from medseg.bundle.check import check_bundle;"
        "found = check_bundle('brats_mri_segmentation');"
        "print([m for m in ('torch', 'monai', 'ignite') if m in sys.modules], time.process_time() < 3,"
        "[f for f in found if f.level != 'note'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[] True []"


def test_code_in_a_bundle_is_neither_imported_nor_an_error(make_bundle: Callable[..., Path]) -> None:
    root = make_bundle(train="x: {_target_: scripts.net.Net, width: 3}\n")
    (root / "scripts").mkdir()
    (root / "scripts" / "net.py").write_text("class Net: ...\nraise SystemExit\n")
    assert [f.level for f in check_bundle(root)] == ["warning"]


def test_what_a_finding_quotes_cannot_move_the_terminal(make_bundle: Callable[..., Path]) -> None:
    from medseg.bundle.findings import printable

    root = make_bundle(train='x: {_target_: "torch.optim.\\e[2KAdamV"}\n')
    assert all(printable(str(f)).isprintable() for f in check_bundle(root))


def test_the_zoo_s_way_of_laying_evaluation_over_training_is_understood(make_bundle: Callable[..., Path]) -> None:
    root = make_bundle()
    configs = root / "configs"
    common = (configs / "common.yaml").read_text()
    for name in ("train", "inference"):
        (configs / f"{name}.yaml").write_text(common + (configs / f"{name}.yaml").read_text())
    (configs / "common.yaml").unlink()
    (configs / "evaluate.yaml").write_text("validate#handlers: ['@train#trainer']\nvalidate#dataloader: '@sed'\n")
    assert [f.where for f in check_bundle(root, presets=[])] == ["configs/evaluate.yaml:2: validate::dataloader"]
