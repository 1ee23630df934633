import json
import time

import pytest
from typer.testing import CliRunner

from medseg.cli.main import app
from medseg.errors import ConfigError

RUNNER = CliRunner()


def test_an_unknown_suite_ends_in_one_line():
    result = RUNNER.invoke(app, ["benchmark", "smoek"])
    assert isinstance(result.exception, ConfigError)
    assert "Did you mean 'smoke'" in str(result.exception)


@pytest.mark.slow
def test_the_smoke_suite_runs_for_real_and_then_from_what_is_there(tmp_path):
    out = tmp_path / "out"
    result = RUNNER.invoke(app, ["benchmark", "smoke", "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert "| dice | WT | small_unet |" in result.stdout
    found = json.loads((out / "results.json").read_text())
    run = json.loads((out / "jobs" / "small_unet-fold0-seed0" / "run" / "run.json").read_text())
    lists = found["splits"]["fold 0"]
    assert run["split"]["training"]["ids_sha256"] == lists["training"]["ids_sha256"]
    assert run["split"]["validation"]["ids_sha256"] == lists["selection"]["ids_sha256"]
    began = time.monotonic()
    assert RUNNER.invoke(app, ["benchmark", "smoke", "-o", str(out)]).exit_code == 0
    assert time.monotonic() - began < 15, "nothing was trained again"
    compared = RUNNER.invoke(app, ["compare", str(out / "results" / "small_unet")])
    assert compared.exit_code == 0
