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


def test_different_cases_end_in_one_line(runs):
    with (runs / "new" / "evaluation" / "cases.csv").open("a") as file:
        file.write("extra,WT,0.5\n")
    result = RUNNER.invoke(app, ["compare", str(runs / "old"), str(runs / "new")])
    assert "different cases" in str(result.exception)
    result = RUNNER.invoke(app, ["compare", str(runs / "old"), str(runs / "new"), "--common"])
    assert "paired on 8 cases; left out of" in result.stdout
