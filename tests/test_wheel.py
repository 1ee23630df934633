"""What an installed medseg carries, read from the build's own configuration."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = (
    "README.md",
    "LICENSE",
    "medseg/__init__.py",
    "medseg/report/style.css",
    "bundles/toy/LICENSE",
    "bundles/toy/configs/common.yaml",
    "bundles/toy/docs/README.md",
    "bundles/toy/models/model.safetensors",
    "bundles/toy/models/model.pt",
    "bundles/toy/models/model.ts",
    "bundles/toy/runs/one/model.pt",
    "bundles/toy/runs/one/config.yaml",
    "configs/presets/smoke.yaml",
    "tests/bundles/test_bundles.py",
    "docs/configs/x.md",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with our build configuration and few files, some made by its user."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('__version__ = "0"\n' if name.endswith(".py") else "-")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_wheel_carries_bundles_and_presets_but_no_run_or_weights_of_a_user(project: Path) -> None:
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="the build's own tool")
    packed = {file.distribution_path for file in wheel.WheelBuilder(str(project)).recurse_included_files()}
    share = "medseg/_share"
    assert packed == {
        "medseg/__init__.py",
        "medseg/report/style.css",
        f"{share}/bundles/toy/LICENSE",
        f"{share}/bundles/toy/configs/common.yaml",
        f"{share}/bundles/toy/docs/README.md",
        f"{share}/bundles/toy/models/model.safetensors",
        f"{share}/configs/presets/smoke.yaml",
    }


def test_the_source_archive_carries_what_the_wheel_is_made_of(project: Path) -> None:
    sdist = pytest.importorskip("hatchling.builders.sdist", reason="the build's own tool")
    packed = {file.distribution_path for file in sdist.SdistBuilder(str(project)).recurse_included_files()}
    users = {name for name in FILES if "/runs/" in name or name.endswith((".pt", ".ts"))}
    assert packed >= set(FILES) - users
    assert not packed & users
