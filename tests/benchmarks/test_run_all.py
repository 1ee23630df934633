"""`make bench` writes its own section of RESULTS.md and leaves what people wrote."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def run_all(tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_all", BENCHMARKS / "run_all.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "RESULTS.md"


def scripts_of(run_all: ModuleType) -> set[str]:
    return {script.split()[0] for runs in run_all.GROUPS.values() for script, _ in runs}


def test_every_script_is_in_a_group_or_left_out_for_a_reason(run_all: ModuleType) -> None:
    there = {path.name for path in BENCHMARKS.glob("*.py")}
    assert scripts_of(run_all) | set(run_all.LEFT_OUT) == there
    assert not scripts_of(run_all) & set(run_all.LEFT_OUT)


def test_every_group_that_is_wanted_is_there(run_all: ModuleType) -> None:
    wanted = "network windows preprocessing export metrics detection loading training start-up scaling"
    assert list(run_all.GROUPS) == wanted.split()
    assert all(run_all.commands(name, quick=True) for name in run_all.GROUPS)


@pytest.mark.parametrize("quick", [False, True])
def test_every_script_knows_the_arguments_that_it_is_given(run_all: ModuleType, quick: bool) -> None:
    for name in run_all.GROUPS:
        for script, *words in run_all.commands(name, quick=quick):
            text = (BENCHMARKS / script).read_text(encoding="utf-8")
            assert [word for word in words if word.startswith("--") and f'"{word}"' not in text] == []


def test_a_group_is_written_anew_and_nothing_else_is_touched(run_all: ModuleType, results: Path) -> None:
    results.write_text("# Results\n\nBy hand, before.\n")
    run_all.write_group(results, "windows", "first")
    run_all.write_group(results, "network", "of the network")
    text = results.read_text() + "\n## By hand, after\n"
    results.write_text(text)
    run_all.write_group(results, "windows", "second\n")
    assert results.read_text() == text.replace("first", "second")
    assert text.index("### Network") < text.index("### Windows")
    assert text.startswith("# Results\n\nBy hand, before.\n\n## What `make bench` wrote\n\n<!--")


def test_a_quick_run_prints_and_leaves_the_results_alone(
    run_all: ModuleType, results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_all, "RESULTS", results)
    monkeypatch.setattr(run_all, "section", lambda words, **_: f"ran {words[0]}\n")
    monkeypatch.setattr(sys, "argv", ["run_all.py", "--quick", "metrics"])
    run_all.main()
    assert "### Metrics" in capsys.readouterr().out
    assert not results.exists()
    monkeypatch.setattr(sys, "argv", ["run_all.py", "metrics", "scaling"])
    run_all.main()
    assert "ran metrics.py" in results.read_text()
    assert "ran scaling.py" in results.read_text()


def test_a_script_that_takes_too_long_is_stopped(run_all: ModuleType, tmp_path: Path) -> None:
    run_all.HERE = tmp_path
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(60)\n")
    assert "was stopped after 0 s" in run_all.section(["slow.py"], longest_s=0.3)


def test_a_script_that_fails_leaves_its_last_line(run_all: ModuleType, tmp_path: Path) -> None:
    run_all.HERE = tmp_path
    (tmp_path / "bad.py").write_text("raise SystemExit('the peer is missing')\n")
    (tmp_path / "good.py").write_text("print('| a |')\n")
    assert "stopped after" in run_all.section(["bad.py"])
    assert "the peer is missing" in run_all.section(["bad.py"])
    assert run_all.section(["good.py"]).endswith(":\n\n| a |\n")


def test_the_machine_is_named(run_all: ModuleType) -> None:
    said = run_all.machine(quick=True)
    assert f"Python {sys.version.split()[0]}" in said
    assert "core(s) of" in said
    assert "--quick" in said
