import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medseg.evaluation import evaluate_folders
from medseg.report import write_report
from medseg.volumes import read_volume, write_volume

MakeRun = Callable[..., Path]


def words(html: str) -> str:
    return " ".join(re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL).split())


def test_lesions_found_missed_and_made_up_are_counted(make_run: MakeRun) -> None:
    html = write_report(make_run(pictures=False, extras=True)).read_text()
    text = words(html)
    assert "TC 10 of 10 found, 1 made up" in text  # five cases, two lesions each
    assert "WT 10 of 15 found, 0 made up" in text
    assert "ET 10 of 10 found, 0 made up" in text
    assert "0.750 0.700 to 0.800" in text
    assert html.count("<title>5 missed</title>") == 1
    assert "case_00 TC 2 0 1 0.800" in text
    assert "case_04 WT 2 1 0 0.400" in text
    assert "Lesions of 50 mm³ or less are not scored" in text


def test_bars_are_as_long_as_the_counts(make_run: MakeRun) -> None:
    html = write_report(make_run(pictures=False, extras=True)).read_text()
    bars = re.findall(r'width="([\d.]+)" height="14" rx="2"><title>(.*?)<', html)
    wide = {title: float(width) + 1.5 for width, title in bars}  # 1.5 px are left between bars
    assert wide["10 found"] == pytest.approx(2 * wide["5 missed"], abs=0.2)


def test_without_lesions_wrong_a_sentence_says_so_and_without_scores_nothing(make_run: MakeRun) -> None:
    run = make_run(pictures=False)
    assert "Lesion by lesion" not in write_report(run).read_text()
    run = make_run("extras", pictures=False, extras=True)
    table = run / "evaluation" / "cases.csv"
    table.write_text(re.sub(r",2,\d,\d$", ",2,0,0", table.read_text(), flags=re.MULTILINE))
    assert "No lesion was missed and none was made up" in words(write_report(run).read_text())


def test_what_the_evaluation_writes_is_what_the_report_reads(make_run: MakeRun, tmp_path: Path) -> None:
    """The real chain: label maps and probabilities to scores to page."""
    run = make_run(cases=2)
    for case in ("case_00", "case_01"):
        label = read_volume(run / "predictions" / f"{case}.nii.gz")
        masks = np.stack([np.isin(label.array, values) for values in ((1, 4), (1, 2, 4), (4,))], axis=-1)
        path = run / "predictions" / "probabilities" / f"{case}.nii.gz"
        write_volume(path, (0.05 + 0.9 * masks).astype(np.float32), like=label)
    found = evaluate_folders(
        run / "predictions",
        run / "phantoms",
        out_dir=run / "evaluation",
        regions="brats2017",
        lesion_wise="brats2023",
        probabilities=run / "predictions" / "probabilities",
    )
    summary = json.loads((run / "evaluation" / "summary.json").read_text())
    text = words(write_report(run).read_text())
    assert found.calibration
    for name, region in found.calibration.regions.items():
        assert f"{name} {region.ece:.4f} {region.mce:.4f} {region.brier:.4f}" in text
        assert f"{name} {summary['regions'][name]['lesion_dice']['mean']:.3f}" in text
        assert f"{name} 2 of 2 found, 0 made up" in text
    assert "--regions brats2017 --lesion-wise brats2023 --probabilities predictions/probabilities" in text
