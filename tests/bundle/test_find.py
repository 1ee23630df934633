from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.bundle import find
from medseg.bundle.find import find_bundle, find_preset, list_bundles, list_presets
from medseg.errors import ConfigError


def test_a_path_wins(make_bundle: Callable[..., Path]) -> None:
    root = make_bundle()
    assert find_bundle(root) == root.resolve()


def test_the_environment_comes_before_the_working_directory(
    make_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = make_bundle()
    monkeypatch.chdir(tmp_path)
    assert find_bundle("toy") == here.resolve()
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "toy" / "configs").mkdir(parents=True)
    (elsewhere / "toy" / "configs" / "metadata.json").write_text("{}")
    monkeypatch.setenv("MEDSEG_BUNDLES", os.pathsep.join([str(tmp_path / "absent"), str(elsewhere)]))
    assert find_bundle("toy") == (elsewhere / "toy").resolve()


def test_the_nearest_name_is_suggested(
    make_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_bundle("lung_ct_detection")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="Did you mean 'lung_ct_detection'"):
        find_bundle("lung_ct_detect")


def test_a_folder_without_metadata_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no configs/metadata\.json"):
        find_bundle(tmp_path)


def test_the_bundles_that_come_with_medseg_are_listed() -> None:
    assert "brats_mri_segmentation" in list_bundles()


def test_the_package_s_own_come_last(
    make_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "medseg"
    for name in ("toy", "installed"):
        (package / "_share" / "bundles" / name / "configs").mkdir(parents=True)
        (package / "_share" / "bundles" / name / "configs" / "metadata.json").write_text("{}")
    (package / "_share" / "configs" / "presets").mkdir(parents=True)
    (package / "_share" / "configs" / "presets" / "fast.yaml").write_text("epochs: 1\n")
    here = make_bundle()
    monkeypatch.setattr(find, "_PACKAGE", package)
    monkeypatch.chdir(tmp_path)
    assert list_bundles() == {"installed": package / "_share" / "bundles" / "installed", "toy": here.resolve()}
    assert list_presets() == {"fast": package / "_share" / "configs" / "presets" / "fast.yaml"}


def test_presets_by_name_and_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("epochs: 1\n")
    assert find_preset(path) == path.resolve()
    assert find_preset("cpu") == list_presets()["cpu"]
    with pytest.raises(ConfigError, match="Did you mean 'smoke'"):
        find_preset("smok")
