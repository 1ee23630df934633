from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medseg.bundle.check import check_bundle
from medseg.bundle.find import find_bundle
from medseg.bundle.fix import mend


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "brats_mri_segmentation"
    return shutil.copytree(find_bundle(folder.name), folder, ignore=shutil.ignore_patterns("runs"))


@pytest.mark.parametrize(
    ("file", "old", "broken", "mended"),
    [
        ("train.yaml", "learning_rate: 4.0e-3", "learning_rate: 4e-3", "learning_rate: 0.004"),
        ("train.yaml", "epochs: 300", "epochs: '300'", "epochs: 300"),
        ("common.yaml", "tta: false ", "tta: 'False' ", "tta: false "),
        ("common.yaml", "datalist: null ", "datalist: None ", "datalist: null "),
        ("common.yaml", "amp: true ", "amp: yes ", "amp: true "),
        (
            "inference.yaml",
            "output_dir: $@output_dir + '/probabilities'",
            "output_dir: '@output_dir/probabilities'",
            "output_dir: \"$@output_dir + '/probabilities'\"",
        ),
        (
            "metadata.json",
            '"required_packages_version"',
            '"optional_packages_version"',
            '"required_packages_version"',
        ),
        ("train.yaml", "    _target_: torch.nn.BCE", "    target: torch.nn.BCE", "    _target_: torch.nn.BCE"),
    ],
)
def test_what_a_rule_can_mend_is_mended_and_said(root: Path, file: str, old: str, broken: str, mended: str) -> None:
    path = root / "configs" / file
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, broken, 1))
    said = mend(root, check_bundle(root, presets=[]))
    assert path.read_text() == before.replace(old, mended, 1)
    assert len(said) == 1
    assert said[0].startswith(f"configs/{file}:")
    assert [f for f in check_bundle(root, presets=[]) if f.level != "note"] == []


def test_several_are_mended_at_once_and_the_rest_is_left(root: Path) -> None:
    path = root / "configs" / "train.yaml"
    text = (
        path.read_text().replace("4.0e-3", "4e-3").replace("1.0e-2 ", "1e-2 ").replace("'@ema_decay'", "'@ema_decoy'")
    )
    path.write_text(text)
    assert len(mend(root, check_bundle(root, presets=[]))) == 2
    left = [f for f in check_bundle(root, presets=[]) if f.level != "note"]
    assert [("@ema_decoy" in str(f)) for f in left if f.level == "error"] == [True]


def test_nothing_outside_the_bundle_is_touched(root: Path, tmp_path: Path) -> None:
    preset = tmp_path / "p.yaml"
    preset.write_text("learning_rate: 1e-3\n")
    assert mend(root, check_bundle(root, presets=[str(preset)])) == []
    assert preset.read_text() == "learning_rate: 1e-3\n"
    assert mend(root, check_bundle(root, presets=[])) == []
