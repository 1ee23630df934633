from __future__ import annotations

import shutil
from pathlib import Path

from typer.testing import CliRunner

from medseg.bundle.find import find_bundle
from medseg.cli.main import app

runner = CliRunner()


def test_bundles_are_listed_with_version_and_task() -> None:
    output = runner.invoke(app, ["bundle", "list"]).stdout
    assert "brats_mri_segmentation  0.1.0" in output


def test_a_sound_bundle_passes() -> None:
    result = runner.invoke(app, ["bundle", "check", "brats_mri_segmentation"])
    assert result.exit_code == 0
    assert "0 errors" in result.stdout


def test_a_broken_bundle_is_described_and_exits_1(tmp_path: Path) -> None:
    root = shutil.copytree(find_bundle("brats_mri_segmentation"), tmp_path / "broken_segmentation")
    with (root / "configs" / "train.yaml").open("a") as file:
        file.write("\nbroken: {_target_: torch.optim.AdamV}\nalso: '@nothing'\n")
    result = runner.invoke(app, ["bundle", "check", str(root)])
    assert result.exit_code == 1
    assert "'torch.optim.AdamV' does not exist" in result.stdout
    assert "'@nothing' refers to a key that the config lacks" in result.stdout
    assert "2 errors" in result.stdout
