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
    module.RESULTS = tmp_path / "RESULTS.md"
    return module


def test_every_script_of_every_group_is_there(run_all: ModuleType) -> None:
    for runs in run_all.GROUPS.values():
        for words, _ in runs:
            assert (BENCHMARKS / words[0]).is_file()


def test_only_the_section_between_the_marks_is_written_anew(run_all: ModuleType) -> None:
    run_all.RESULTS.write_text("# Results\n\nBy hand, before.\n")
    run_all.write_section("first")
    text = run_all.RESULTS.read_text() + "\n## By hand, after\n"
    run_all.RESULTS.write_text(text)
    run_all.write_section("second")
    assert run_all.RESULTS.read_text() == text.replace("first", "second").replace("\n\n## By hand", "\n## By hand")


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
