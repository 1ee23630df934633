import csv
import json

import pytest
from typer.testing import CliRunner

from medseg.cli.main import app

RUNNER = CliRunner()


@pytest.fixture
def runs(tmp_path):
    for name, shift in {"old": 0.0, "new": 0.1}.items():
        folder = tmp_path / name / "evaluation"
        folder.mkdir(parents=True)
        with (folder / "cases.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["case_id", "region", "dice"])
            writer.writerows([f"c{i}", "WT", 0.5 + 0.02 * i + shift] for i in range(8))
    return tmp_path


def test_it_prints_the_table_and_the_verdict(runs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    output = runs / "compared.json"
    result = RUNNER.invoke(app, ["compare", f"old={runs / 'old'}", f"new={runs / 'new'}", "-o", str(output)])
    assert result.exit_code == 0, result.output
    assert "0.6700" in result.stdout
    assert "dice, WT: new is better than old (old minus new: -0.1000" in result.stdout
    assert json.loads(output.read_text())["verdicts"][0]["better"] == "new"


@pytest.mark.parametrize("columns", [None, "80"])
def test_the_tables_name_every_run_on_a_narrow_screen(runs, monkeypatch, columns):
    """Rich took the first three columns away at 80, which is also its width of a pipe."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    result = RUNNER.invoke(app, ["compare", f"old={runs / 'old'}", f"new={runs / 'new'}"])
    table, verdicts = result.stdout.split("Verdict:")[0].split("Paired tests")
    rows = [line.split() for line in table.splitlines() if line.startswith("dice")]
    assert [row[:4] for row in rows] == [["dice", "WT", "old", "0.5700"], ["dice", "WT", "new", "0.6700"]]
    assert [line.split()[:5] for line in verdicts.splitlines() if line.startswith("dice")] == [
        ["dice", "WT", "old", "new", "-0.1000"]
    ]
    assert "…" not in result.stdout


def test_different_cases_end_in_one_line(runs):
    with (runs / "new" / "evaluation" / "cases.csv").open("a") as file:
        file.write("extra,WT,0.5\n")
    result = RUNNER.invoke(app, ["compare", str(runs / "old"), str(runs / "new")])
    assert "different cases" in str(result.exception)
    result = RUNNER.invoke(app, ["compare", str(runs / "old"), str(runs / "new"), "--common"])
    assert "paired on 8 cases; left out of" in result.stdout
