import errno
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from medseg.cli.report import report
from medseg.errors import DataError

app = typer.Typer()
app.command()(report)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "metrics.csv").write_text("epoch,loss\n1,1.0\n2,0.5\n")
    return tmp_path


def test_it_prints_the_file_it_wrote(run: Path) -> None:
    done = CliRunner().invoke(app, [str(run)])
    assert done.exit_code == 0
    assert Path(done.stdout.strip()) == run / "report.html"
    assert (run / "report.html").is_file()


def test_output_names_another_file(run: Path) -> None:
    out = run / "elsewhere.html"
    assert CliRunner().invoke(app, [str(run), "-o", str(out)]).exit_code == 0
    assert out.is_file()


def test_a_place_that_cannot_be_written_is_one_line(run: Path) -> None:
    done = CliRunner().invoke(app, [str(run), "-o", str(run / "metrics.csv" / "x.html")])
    assert isinstance(done.exception, DataError)
    assert "x.html could not be written" in str(done.exception)


def test_a_full_disk_is_one_line_and_leaves_the_old_report(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (run / "report.html").write_text("old")
    monkeypatch.setattr("medseg.record.os.fsync", full)
    done = CliRunner().invoke(app, [str(run)])
    assert isinstance(done.exception, DataError)
    assert (run / "report.html").read_text() == "old"
    assert not list(run.glob(".*"))


def test_a_missing_run_is_one_line(run: Path) -> None:
    done = CliRunner().invoke(app, [str(run / "none")])
    assert isinstance(done.exception, DataError)
