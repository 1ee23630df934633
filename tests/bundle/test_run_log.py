from __future__ import annotations

import logging
from pathlib import Path

import pytest

from medseg.bundle.run_log import run_log
from medseg.errors import DataError

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")


def test_lines_reach_the_file_and_medseg_s_own_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with run_log(tmp_path / "train.log"):
        logging.getLogger("medseg.run").info("ours")
        logging.getLogger("other").info("theirs")
    text = (tmp_path / "train.log").read_text()
    assert "INFO medseg.run: ours" in text
    assert "INFO other: theirs" in text
    assert capsys.readouterr().err == "ours\n"


@needs_full
def test_a_full_disk_hides_neither_output_nor_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.log").symlink_to(FULL)

    def run() -> None:
        for _ in range(3):
            logging.getLogger("medseg.run").info("a line %s", "x" * 10_000)
        msg = "the real one"
        raise DataError(msg)

    with pytest.raises(DataError, match="the real one"), run_log(tmp_path / "train.log"):
        run()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("a line x") for line in lines)


def test_a_log_that_cannot_be_opened_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with run_log(tmp_path / "absent" / "train.log"):
        logging.getLogger("medseg.run").info("a line")
    assert capsys.readouterr().err == "a line\n"
