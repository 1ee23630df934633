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
    assert f"paired on 8 cases; left out: 1 of {runs / 'new'} (extra)\n" in result.stdout


def test_of_many_cases_left_out_a_few_are_named_and_all_are_in_the_file(runs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with (runs / "new" / "evaluation" / "cases.csv").open("a") as file:
        file.writelines(f"extra{i},WT,0.5\n" for i in range(5))
    call = ["compare", f"old={runs / 'old'}", f"new={runs / 'new'}", "--common"]
    told = RUNNER.invoke(app, call).stdout
    some = "left out: 5 of new (extra0, extra1, extra2, ...); all ids: left_out in"
    assert f"{some} the file of -o FILE" in told
    assert "extra3" not in told
    output = runs / "compared.json"
    assert f"{some} {output}" in RUNNER.invoke(app, [*call, "-o", str(output)]).stdout
    assert json.loads(output.read_text())["left_out"]["new"] == [f"extra{i}" for i in range(5)]
