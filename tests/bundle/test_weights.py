from __future__ import annotations

from pathlib import Path

import pytest

from medseg.bundle.weights import find_weights
from medseg.errors import WeightsError


def test_the_file_given_wins(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    path.touch()
    assert find_weights(tmp_path, path) == path


def test_a_run_folder_stands_for_its_model(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no model\.pt yet"):
        find_weights(tmp_path, tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.pt").touch()
    assert find_weights(tmp_path, tmp_path).name == "best.pt"
    (tmp_path / "model.pt").touch()
    assert find_weights(tmp_path, tmp_path).name == "model.pt"


def test_the_bundle_s_own_come_last_and_safetensors_first(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "large_files.yml").write_text(
        "large_files:\n- {path: models/model.pt, url: https://example.org/m.pt}\n"
    )
    with pytest.raises(WeightsError, match=r"or download https://example\.org/m\.pt"):
        find_weights(tmp_path, None)
    for name in ("model.pt", "model.safetensors"):
        (tmp_path / "models" / name).touch()
        assert find_weights(tmp_path, None).name == name


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.pt: no such file"):
        find_weights(tmp_path, tmp_path / "absent.pt")
