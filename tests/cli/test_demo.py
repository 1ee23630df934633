"""The demo's steps stand in for here; `make demo` runs the real ones."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from medseg.bundle.check import check_composition
from medseg.bundle.compose import compose
from medseg.cli import demo as demo_module
from medseg.cli import demo_detection, demo_steps
from medseg.cli.demo import demo
from medseg.errors import ConfigError, DataError

app = typer.Typer()
app.command()(demo)
Calls = list[str]


def invoke(out: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["--out", str(out), *words])


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Names of the steps that ran, in order; each leaves the file by which it is known."""
    done: Calls = []

    def stand_in(name: str, file: str | None = None, result: Any = None) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            done.append(name + ("+resume" if named.get("resuming") else ""))
            if file:
                out = arguments[-1]
                (out / file).parent.mkdir(parents=True, exist_ok=True)
                (out / file).write_text("")
            return result

        return step

    summary = SimpleNamespace(mean={"dice": SimpleNamespace(mean=0.875)})
    monkeypatch.setattr(demo_module, "_make_phantoms", stand_in("phantoms", "phantoms/unseen/datalist.json"))
    monkeypatch.setattr(demo_module, "_train", stand_in("train", "config.yaml"))
    monkeypatch.setattr(demo_module, "_predict", stand_in("predict", "predictions/a.nii.gz"))
    monkeypatch.setattr(demo_module, "_evaluate", stand_in("evaluate", result=summary))
    monkeypatch.setattr(demo_module, "_predict_baseline", stand_in("baseline"))
    monkeypatch.setattr(demo_module, "_report", stand_in("report", "report.html"))
    return done


ALL = ["phantoms", "train", "predict", "evaluate", "baseline", "evaluate", "report"]


def test_it_runs_every_step_and_prints_scores_and_paths(calls: Calls, tmp_path: Path) -> None:
    done = invoke(tmp_path / "demo")
    assert done.exit_code == 0, done.output
    assert calls == ALL
    assert "network 0.875, threshold baseline 0.875" in done.stdout
    assert str(tmp_path / "demo" / "report.html") in done.stdout
    assert str(tmp_path / "demo" / "evaluation" / "summary.json") in done.stdout


def test_after_a_finished_demo_it_starts_afresh_and_says_so(calls: Calls, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    invoke(out)
    (out / "notes.txt").write_text("mine")
    (out / "predictions" / "old.nii.gz").write_text("")
    again = invoke(out)
    assert "starting afresh" in again.stdout
    assert calls == ALL + ALL
    assert (out / "notes.txt").is_file()
    assert not (out / "predictions" / "old.nii.gz").exists()


def test_a_stopped_demo_goes_on(calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "demo"

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(demo_module, "_predict", stop)
        stopped = invoke(out)
    assert stopped.exit_code == 130
    assert "Go on with: medseg demo --out" in stopped.output
    calls.clear()
    again = invoke(out)
    assert again.exit_code == 0
    assert "going on with it" in again.stdout
    assert calls == ["phantoms", "train+resume", *ALL[2:]]


def test_a_stopped_demo_with_other_settings_is_not_resumed(calls: Calls, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    out.mkdir()
    (out / "config.yaml").write_text("")
    (out / "demo.json").write_text(json.dumps({"state": "started", "settings": {"train": {"epochs": 1}}}))
    assert "starting afresh" in invoke(out).stdout
    assert calls == ALL


def test_a_folder_with_something_else_is_refused(calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    done = invoke(tmp_path)
    assert isinstance(done.exception, ConfigError)
    assert (tmp_path / "thesis.tex").is_file()
    assert not calls


def test_a_folder_that_cannot_be_made_is_one_line(calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = invoke(tmp_path / "file" / "demo")
    assert isinstance(done.exception, DataError)
    assert "demo.json could not be written" in str(done.exception)
    assert not calls


def test_detection_has_its_own_steps_folder_and_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: Calls = []
    for name in ("_make_phantoms", "_train", "_predict", "_predict_baseline", "_report"):
        monkeypatch.setattr(demo_detection, name, lambda *_, name=name, **__: done.append(name))
    scores = iter((0.9, 0.2))
    monkeypatch.setattr(demo_detection, "_evaluate", lambda *_: next(scores))
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(app, ["--task", "detection"])
    assert ended.exit_code == 0, ended.output
    assert done == ["_make_phantoms", "_train", "_predict", "_predict_baseline", "_report"]
    assert "CPM on unseen phantoms: network 0.900, threshold baseline 0.200" in ended.stdout
    assert json.loads((tmp_path / "runs/demo_detection/demo.json").read_text())["state"] == "finished"


@pytest.mark.parametrize(
    ("bundle", "plans", "settings"),
    [
        (demo_module.BUNDLE, [], demo_module.SETTINGS["train"]),
        (demo_detection.BUNDLE, [demo_detection.PLAN], demo_detection.SETTINGS["train"]),
    ],
)
def test_what_a_demo_trains_with_is_a_config_without_fault(
    bundle: str, plans: list[str], settings: dict[str, Any]
) -> None:
    composition = compose(bundle, "train", overrides=[*plans, *demo_steps.overrides(settings)])
    assert [str(finding) for finding in check_composition(composition) if finding.level == "error"] == []


def test_overrides_are_printed_as_they_are_typed() -> None:
    settings = {"dataset_dir": "a b", "roi_size": [8, 8, 8], "learning_rate": 0.001, "amp": True}
    expected = ["dataset_dir=a b", "roi_size=[8, 8, 8]", "learning_rate=0.001", "amp=true"]
    assert demo_steps.overrides(settings) == expected
