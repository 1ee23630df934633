from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from medseg.bundle import run
from medseg.cli.main import app
from medseg.errors import ConfigError

runner = CliRunner()
BUNDLE = "brats_mri_segmentation"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    made: list[tuple[Any, dict[str, Any]]] = []

    def call(bundle: str, inputs: list[str], **options: Any) -> list[Path]:
        made.append((inputs, options))
        return [options["output_dir"] / "a.nii.gz"]

    monkeypatch.setattr(run, "predict", call)
    return made


def test_inputs_and_overrides_are_told_apart(calls: list[Any], tmp_path: Path) -> None:
    result = runner.invoke(
        app,
        [
            "predict",
            BUNDLE,
            "a.nii.gz",
            "overlap=0.25",
            "b",
            "-o",
            str(tmp_path),
            "--weights",
            "run",
            "--probabilities",
        ],
    )
    assert result.exit_code == 0, result.output
    [(inputs, options)] = calls
    assert inputs == ["a.nii.gz", "b"]
    assert options["overrides"] == ["overlap=0.25"]
    assert options["weights"] == Path("run")
    assert options["probabilities"] is True
    assert result.stdout.strip() == str(tmp_path / "a.nii.gz")


def test_a_path_that_looks_like_an_override_is_a_path(
    calls: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "overlap=0.5").mkdir()
    runner.invoke(app, ["predict", BUNDLE, "overlap=0.5", "-o", "out"])
    assert calls[0][0] == ["overlap=0.5"]


def test_dashes_end_overrides(calls: list[Any]) -> None:
    runner.invoke(app, ["predict", BUNDLE, "-o", "out", "tta=true", "--", "overlap=0.5"])
    [(inputs, options)] = calls
    assert (inputs, options["overrides"]) == (["overlap=0.5"], ["tta=true"])


def test_an_input_is_needed(calls: list[Any]) -> None:
    result = runner.invoke(app, ["predict", BUNDLE, "overlap=0.5", "-o", "out"])
    assert isinstance(result.exception, ConfigError)
    assert "INPUT is missing" in str(result.exception)
