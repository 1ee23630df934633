import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.errors import ConfigError, DataError
from medseg.report import write_report


def words(html: str) -> str:
    return " ".join(re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL).split())


@pytest.fixture(scope="module")
def html(suite: Path) -> str:
    return write_report(suite).read_text()


@pytest.fixture(scope="module")
def results(suite: Path) -> dict:
    return json.loads((suite / "results.json").read_text())


def test_every_number_of_the_table_is_on_the_page(html: str, results: dict) -> None:
    text = words(html)
    for row in results["comparison"]["rows"]:
        digits = 2 if row["metric"] == "hd95_mm" else 3
        whole = row["scores"]["over_cases"]
        low, high = whole["ci95"]
        wanted = f"{row['run']} {whole['mean']:.{digits}f} {low:.{digits}f} to {high:.{digits}f}"
        assert wanted in text
        assert f"{row['scores']['between_seed_sd']:.{digits + 1}f} of 2" in text
    assert "2 entries × 2 folds × 2 seeds" in text


def test_published_results_stand_beside_ours_and_another_protocol_is_flagged(html: str, results: dict) -> None:
    text = words(html)
    assert "0.9026 MONAI model zoo, brats_mri_segmentation (SegResNet) protocol differs" in text
    assert "Protocol of this suite: two folds of phantoms" in text
    ours = results["anchors"][0]["ours"]
    assert f"good {ours['good']:.3f} poor {ours['poor']:.3f} protocol differs one split, weights chosen on it" in text
    assert '"same"' not in html


def test_verdicts_say_what_the_tests_say(html: str, results: dict) -> None:
    text = words(html)
    for verdict in results["comparison"]["verdicts"]:
        assert f"{verdict['test']['mean_difference']:+.4f}" in text
        told = f"{verdict['better']} is better" if verdict["better"] else "no difference shown"
        assert told in text


def test_every_case_stands_there_with_the_mean_of_each_contestant(html: str, suite: Path) -> None:
    text = words(html)
    means = {}
    for entry in ("good", "poor"):
        with (suite / "results" / entry / "cases.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                means.setdefault((row["case_id"], row["fold"]), {}).setdefault(entry, []).append(float(row["dice"]))
    for (case, fold), by_entry in means.items():
        assert f"{case} {fold} {sum(by_entry['good']) / 2:.3f}" in text
    assert len(means) == 8
    assert "Lesion-wise Dice, poor" in text


def test_failures_and_the_lists_of_cases_are_told(html: str, results: dict) -> None:
    text = words(html)
    assert "good-fold1-seed0 no prediction for p4" in text
    for lists in results["splits"].values():
        assert all(facts["ids_sha256"][:12] in text for facts in lists.values())
    assert "Weights were chosen on next fold, never on a tested case" in text


def test_numbers_lead_to_the_reports_that_are_there(suite: Path, tmp_path: Path) -> None:
    reports = [path / "report.html" for path in sorted((suite / "jobs").iterdir())]
    for path in reports:
        path.unlink(missing_ok=True)
    assert '<a href="jobs/' not in write_report(suite).read_text()
    html = write_report(suite, jobs=True).read_text()
    links = set(re.findall(r'<a href="(jobs/[^"]+)"', html))
    assert {suite / link for link in links} == set(reports)
    assert all(path.is_file() for path in reports)
    elsewhere = write_report(suite, tmp_path / "page.html").read_text()
    assert (tmp_path / re.findall(r'<a href="([^"#][^"]+)"', elsewhere)[0]).resolve() in reports


def test_a_job_s_report_has_its_lesions_and_the_suite_s_command(suite: Path) -> None:
    run = suite / "jobs" / "good-fold0-seed0" / "run"
    (run / "metrics.csv").write_text("epoch,loss\n1,1.0\n2,0.5\n")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"command": ["-c", "/jobs/train.work.json"], "wall_s": 90.0}))
    text = words(write_report(run.parent).read_text())
    assert "medseg report: good-fold0-seed0" in text
    assert "Rules of brats2023_met" in text
    assert "epoch" in text.partition("Training")[2]
    assert "1.5 minutes of training" in text
    assert "medseg benchmark stub" in text
    assert "work.json" not in text.partition("Run and environment")[0]


def test_names_cannot_become_markup(suite: Path, tmp_path: Path) -> None:
    told = (suite / "results.json").read_text().replace('"stub"', '"<img src=x>"').replace('"WT"', '"<b>W"')
    (tmp_path / "jobs").mkdir()
    (tmp_path / "results.json").write_text(told)
    html = write_report(tmp_path).read_text()
    assert "<img" not in html
    assert "<b>W" not in html
    assert "&lt;b&gt;W" in html


def test_detectors_have_their_cpm_by_fold(tmp_path: Path) -> None:
    row = {
        "cpm": 0.8123,
        "cpm_by_seed": {"0": 0.8, "1": 0.8246},
        "cpm_ci95_by_seed": {"0": [0.7, 0.85], "1": [0.75, 0.9]},
        "between_seed_sd": 0.0174,
        "cpm_by_fold": {"net-fold0-seed0": 0.7654, "net-fold0-seed1": 0.8},
    }
    anchor = {"metric": "cpm", "region": "nodule", "value": 0.93, "model": "nnDetection", "protocol": "ten folds"}
    anchor |= {"split": "888 scans", "source": "a paper", "ours": {"net": 0.8123}, "protocols_differ": False}
    told = {"suite": "luna", "task": "detection", "detection": {"net": row}, "anchors": [anchor]}
    (tmp_path / "jobs").mkdir()
    (tmp_path / "results.json").write_text(json.dumps(told | {"protocol": {"folds": [0], "seeds": [0, 1]}}))
    text = words(write_report(tmp_path).read_text())
    assert "net 0.812 seed 0: 0.700 to 0.850 seed 1: 0.750 to 0.900 0.0174 0.93 nnDetection same protocol" in text
    assert "net seed 0 0.765 net seed 1 0.800" in text


def test_a_suite_that_has_not_ended_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    with pytest.raises(DataError, match=r"the suite has no results\.json yet; .* or give the folder of one job"):
        write_report(tmp_path)


def test_jobs_are_asked_of_a_suite_only(make_run: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match="--jobs: .* is no suite's folder"):
        write_report(make_run(pictures=False), jobs=True)
