import base64
import hashlib
import json
import re
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from medseg.errors import DataError
from medseg.report import write_report
from medseg.report.shrink import shrunk_shape

MakeRun = Callable[..., Path]


class Page(HTMLParser):
    """Checks that tags nest and collects ids, attributes and text."""

    VOID = frozenset(("meta", "link", "input", "line", "circle", "path", "rect", "image", "img", "br", "wbr"))

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.urls: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.ids += [named["id"] or ""] if "id" in named else []
        self.urls += [value or "" for key, value in attrs if key in {"src", "href", "action"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(path: Path) -> tuple[str, Page]:
    html = path.read_text(encoding="utf-8")
    return html, Page(html)


def test_the_report_is_one_well_formed_file_that_needs_no_network(make_run: MakeRun) -> None:
    html, page = read(write_report(make_run()))
    assert len(page.ids) == len(set(page.ids))
    assert all(url.startswith(("data:", "#")) for url in page.urls)
    assert not re.search(r"<script[^>]+src", html)
    assert "default-src 'none'" in html
    assert "url(" not in html
    assert "@import" not in html


def test_it_stands_in_the_run_folder_or_where_it_is_asked_for(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(pictures=False)
    assert write_report(run) == run / "report.html"
    assert write_report(run, tmp_path / "new" / "r.html").is_file()
    assert not list(tmp_path.rglob("*.tmp"))


def test_it_shows_scores_with_intervals_curves_cases_and_the_baseline(make_run: MakeRun) -> None:
    run = make_run()
    summary = json.loads((run / "evaluation" / "summary.json").read_text())
    html, page = read(write_report(run))
    text = " ".join(page.words)
    dice = summary["regions"]["WT"]["dice"]
    low, high = dice["ci95"]
    assert f"{dice['mean']:.3f}" in text
    assert f"{low:.3f} to {high:.3f}" in text
    assert "Beside the baseline" in text
    assert "ET: pred empty" in text
    assert html.count('class="chart"') == 5  # Dice, HD95, loss, validation, learning rate
    assert html.count("data:image/png") == 9  # best, median, worst in three planes
    assert "--regions brats2017" in text


def test_what_is_absent_is_left_out_with_a_sentence(make_run: MakeRun) -> None:
    run = make_run(pictures=False)
    for path in (run / "metrics.csv", run / "run.json", run / "baseline" / "summary.json"):
        path.unlink()
    text = " ".join(read(write_report(run))[1].words)
    assert "no metrics.csv, so there are no training curves" in text
    assert "no run.json" in text
    assert "There is no picture: its scan is not known" in text
    assert "Crosshair" not in text
    assert "Beside the baseline" not in text


def test_a_case_without_a_reference_is_drawn_without_its_outline(make_run: MakeRun) -> None:
    run = make_run()
    with_references = read(write_report(run))[0]
    path = run / "predictions" / "config.yaml"
    path.write_text(re.sub(r"\n +label: .*", "", path.read_text()))
    html = read(write_report(run))[0]
    assert '"reference": [[]' in with_references
    assert '"reference": [[]' not in html
    assert 'class="reference' in with_references
    assert 'class="reference' not in html
    assert html.count("data:image/png") == 9


def test_the_reference_is_where_the_evaluation_found_it(make_run: MakeRun) -> None:
    """Predictions of plain scans know no label: the suites' and `medseg predict SCANS`."""
    run = make_run()
    path = run / "predictions" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    labels = {item["case_id"]: item.pop("label") for item in config["dataset"]["data"]}
    path.write_text(yaml.safe_dump(config))
    (run / "evaluation" / "references.json").write_text(json.dumps(labels))
    assert 'class="reference' in read(write_report(run))[0]


def test_a_run_that_was_not_scored_still_has_curves(make_run: MakeRun) -> None:
    run = make_run(pictures=False)
    for folder in ("evaluation", "baseline"):
        (run / folder / "summary.json").unlink()
        (run / folder / "cases.csv").unlink()
    html, page = read(write_report(run))
    assert "This run has no scores" in " ".join(page.words)
    assert "Validation while training" in html


def test_an_unscored_case_is_named_with_its_reason(make_run: MakeRun) -> None:
    run = make_run(pictures=False)
    path = run / "evaluation" / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"failed": {"case_99": "truncated"}}))
    assert "case_99 has no score: truncated" in " ".join(read(write_report(run))[1].words)


def test_names_from_files_cannot_become_markup(make_run: MakeRun) -> None:
    run = make_run(pictures=False)
    cases = run / "evaluation" / "cases.csv"
    cases.write_text(cases.read_text().replace("case_00", "<img src=x onerror=alert(1)>"))
    html, _ = read(write_report(run))
    assert "<img" not in html
    assert "&lt;img" in html


@pytest.mark.parametrize(
    ("files", "match"),
    [
        (None, "no such run folder"),
        ({}, "nothing to report"),
        ({"run.json": "{"}, r"run\.json: is not JSON"),
    ],
)
def test_a_folder_without_a_run_fails_in_one_line(tmp_path: Path, files: dict[str, str] | None, match: str) -> None:
    run = tmp_path / "run"
    if files is not None:
        run.mkdir()
        for name, content in files.items():
            (run / name).write_text(content)
    with pytest.raises(DataError, match=match) as caught:
        write_report(run)
    assert "\n" not in str(caught.value)


def test_metrics_with_unknown_columns_and_iterations_are_drawn(make_run: MakeRun) -> None:
    run = make_run(pictures=False)
    (run / "metrics.csv").write_text("iteration,train_loss,odd\n10,1.0,a\n20,nan,b\n30,0.5,c\n")
    html, _ = read(write_report(run))
    assert re.search(r"Loss\. Last values: train loss 0\.5", html)
    assert ">iteration</text>" in html


def test_only_the_page_s_own_script_may_run(make_run: MakeRun) -> None:
    html, _ = read(write_report(make_run()))
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html


def test_every_control_has_a_name(make_run: MakeRun) -> None:
    html, _ = read(write_report(make_run()))
    labelled = re.findall(r"<label[^>]*>.*?</label>", html, re.DOTALL)
    assert sum(label.count("<input") for label in labelled) == html.count("<input")
    assert all("aria-label=" in tag for tag in re.findall(r"<(?:canvas|nav|svg|button|img)[^>]*", html))
    assert html.count("<canvas") == html.count('type="range" min=') == 9


def test_links_lead_to_sections(make_run: MakeRun) -> None:
    html, page = read(write_report(make_run(pictures=False)))
    assert set(re.findall(r'href="#([^"]+)"', html)) == set(page.ids) & {
        *("scores", "pictures", "training", "cases", "reproduce", "environment")
    }


def test_names_cannot_end_the_viewer_s_data(make_run: MakeRun) -> None:
    run = make_run()
    summary = run / "evaluation" / "summary.json"
    told = json.loads(summary.read_text()) | {"label_convention": {"</script><b>": [1, 2, 4], "core": [1, 4]}}
    summary.write_text(json.dumps(told))
    html, _ = read(write_report(run))
    assert html.count("\\u003c/script>\\u003cb>") == 3
    assert html.count("</script>") == html.count("<script")
    assert "<b>core" not in html


def test_a_large_scan_is_cut_to_its_labels_or_made_coarser(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    for module in ("cases", "shrink"):
        monkeypatch.setattr(f"medseg.report.{module}.MOST_VOXELS", 14_000)
    monkeypatch.setattr("medseg.report.cases._MARGIN_MM", 1.0)
    cut = " ".join(read(write_report(run))[1].words)
    assert re.search(r"cut to the labels and \d+ mm around them", cut)
    monkeypatch.setattr("medseg.report.cases._MOST_COARSER", 1e9)
    monkeypatch.setattr("medseg.report.payload.shrunk_shape", partial(shrunk_shape, most=4_000))
    coarse = " ".join(read(write_report(run))[1].words)
    assert "made coarser from 1.5 × 1.5 × 2 mm" in coarse
    assert "cut to" not in coarse


def test_a_run_of_forty_cases_stays_small(make_run: MakeRun) -> None:
    assert write_report(make_run(cases=40)).stat().st_size < 1_000_000


def test_the_command_is_shown_as_it_was_typed(make_run: MakeRun) -> None:
    run = make_run(pictures=False)
    record = {"command": ["/opt/env/bin/medseg", "train", "b", "roi_size=[8, 8, 8]"], "sessions": [{"wall_s": 1.0}]}
    (run / "run.json").write_text(json.dumps(record | {"bundle": "b", "resumed": 0}))
    text = " ".join(read(write_report(run))[1].words)
    assert "medseg train b 'roi_size=[8, 8, 8]'" in text
    assert "/opt/env" not in text
    assert "Sessions" not in text


def test_each_session_of_a_resumed_run_is_listed(make_run: MakeRun) -> None:
    run = make_run(pictures=False)
    sessions = [{"status": "killed"}, {"status": "finished", "wall_s": 61.25}]
    (run / "run.json").write_text(json.dumps({"bundle": "b", "resumed": 1, "sessions": sessions}))
    text = " ".join(read(write_report(run))[1].words)
    assert "1: status killed" in " ".join(text.split())
    assert "2: wall time 61.2 s" in " ".join(text.split())
