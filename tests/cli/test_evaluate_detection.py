import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from medseg.cli.evaluate import evaluate
from medseg.errors import ConfigError
from medseg.volumes.detections import make_detections, write_detections

RUNNER = CliRunner()
HEADER = "seriesuid,coordX,coordY,coordZ,"


@pytest.fixture
def app():
    application = typer.Typer()
    application.command()(evaluate)
    return application


@pytest.fixture
def files(tmp_path):
    (tmp_path / "pred.csv").write_text(f"{HEADER}probability\na,1,0,0,0.9\nb,50,0,0,0.8\nb,90,0,0,0.7\n")
    (tmp_path / "ref.csv").write_text(f"{HEADER}diameter_mm\na,0,0,0,6\nb,0,0,0,6\n")
    (tmp_path / "excluded.csv").write_text(f"{HEADER}diameter_mm\nb,91,0,0,-1\n")
    (tmp_path / "series.csv").write_text("a\nb\nc\nd\n")
    return tmp_path


def arguments(files, *extra):
    sides = ["--pred", str(files / "pred.csv"), "--ref", str(files / "ref.csv"), "-o", str(files / "out")]
    return ["--task", "detection", *sides, "--series", str(files / "series.csv"), *extra]


def test_luna16_is_the_protocol_unless_another_is_asked_for(app, files):
    result = RUNNER.invoke(app, arguments(files, "--exclude", str(files / "excluded.csv")))
    assert result.exit_code == 0, result.output
    assert "CPM 0.5000" in result.stdout
    assert "1 found, 1 missed, 1 false positives, 1 ignored" in " ".join(result.stdout.split())
    content = json.loads((files / "out" / "summary.json").read_text())
    assert content["cpm"] == 0.5
    assert {path.name for path in (files / "out").iterdir()} == {
        "summary.json",
        "nodules.csv",
        "false_positives.csv",
        "froc.csv",
        "froc.svg",
    }


def test_coco3d(app, files):
    write_detections(files / "d.json", make_detections("a", [[-3, -3, -3, 3, 3, 3]], [0.9]))
    extra = ["--protocol", "coco3d", "--pred", str(files / "d.json")]
    result = RUNNER.invoke(app, arguments(files, *extra))
    assert result.exit_code == 0, result.output
    assert "mAP 0.5050" in result.stdout
    assert "warning: " in result.stderr
    assert "no detections of 3 of 4 scans" in result.stderr


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--regions", "brats2021"], "--regions: detections have none"),
        (["--protocol", "coco3d", "--exclude", "e.csv"], "--exclude: goes with --protocol luna16 only"),
    ],
)
def test_options_that_do_not_go_together_are_refused(app, files, extra, message):
    result = RUNNER.invoke(app, arguments(files, *extra))
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)


def test_a_subset_needs_a_list(app, files):
    without = [part for part in arguments(files, "--subset") if part not in {"--series", str(files / "series.csv")}]
    result = RUNNER.invoke(app, without)
    assert isinstance(result.exception, ConfigError)
    assert "there is no --series" in str(result.exception)


def test_an_unknown_protocol_is_refused(app, files):
    result = RUNNER.invoke(app, arguments(files, "--protocol", "luna17"))
    assert result.exit_code == 2
    assert "luna16" in result.stderr


def run_process(*parts):
    return subprocess.run([sys.executable, *parts], capture_output=True, text=True, check=False)


def test_bad_input_is_one_line_and_exit_code_2(files):
    (files / "pred.csv").write_text(f"{HEADER}probability\na,1,0,0,nan\n")
    done = run_process("-m", "medseg", "evaluate", *arguments(files))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "line 2: probability is 'nan'" in done.stderr


def test_it_needs_no_torch_and_no_compiler(files):
    code = (
        "import sys\nfrom medseg.evaluation.detection import evaluate_luna16\n"
        f"evaluate_luna16({str(files / 'pred.csv')!r}, {str(files / 'ref.csv')!r}, out_dir={str(files / 'out')!r})\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = run_process("-c", code)
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & {"torch", "monai", "numba", "matplotlib"}
