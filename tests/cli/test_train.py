from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from medseg.bundle import run
from medseg.bundle.run_folder import RunInterrupted
from medseg.cli.main import app
from medseg.errors import ConfigError

runner = CliRunner()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, Any, dict[str, Any]]]:
    made: list[tuple[str, Any, dict[str, Any]]] = []

    def note(name: str) -> Any:
        def call(first: Any, **options: Any) -> Path:
            made.append((name, first, options))
            return tmp_path

        return call

    monkeypatch.setattr(run, "train", note("train"))
    monkeypatch.setattr(run, "resume", note("resume"))
    return made


def test_a_run_starts_with_presets_overrides_and_folder(calls: list[Any], tmp_path: Path) -> None:
    result = runner.invoke(
        app, ["train", "b", "--preset", "cpu", "--preset", "x.yaml", "--run-dir", str(tmp_path), "epochs=3", "a::b=[1]"]
    )
    assert result.exit_code == 0, result.output
    options = {"presets": ["cpu", "x.yaml"], "overrides": ["epochs=3", "a::b=[1]"], "run_dir": tmp_path, "trust": False}
    assert calls == [("train", "b", options)]
    assert result.stdout.strip() == str(tmp_path)


def test_a_resumed_run_finds_its_bundle_by_itself(calls: list[Any], tmp_path: Path) -> None:
    runner.invoke(app, ["train", "--resume", str(tmp_path), "epochs=3", "num_workers=0"])
    runner.invoke(app, ["train", "b", "--resume", str(tmp_path), "epochs=3"])
    assert calls == [
        ("resume", tmp_path, {"overrides": ["epochs=3", "num_workers=0"], "bundle": None, "trust": False}),
        ("resume", tmp_path, {"overrides": ["epochs=3"], "bundle": "b", "trust": False}),
    ]


def test_a_resumed_run_takes_no_presets(calls: list[Any], tmp_path: Path) -> None:
    result = runner.invoke(app, ["train", "--resume", str(tmp_path), "--preset", "cpu"])
    assert isinstance(result.exception, ConfigError)
    assert not calls


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise RunInterrupted(tmp_path / "run")

    monkeypatch.setattr(run, "train", stop)
    result = runner.invoke(app, ["train", "b"])
    assert result.exit_code == 130
    assert f"resume with: medseg train --resume {tmp_path / 'run'}" in result.output
