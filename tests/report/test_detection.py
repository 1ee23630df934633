import base64
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from medseg.evaluation.detection import evaluate_coco3d, evaluate_luna16
from medseg.report.crops import MOST
from medseg.report.page import write_report
from medseg.volumes.detections import make_detections, write_detections
from medseg.volumes.png import grey_png

HEADER = "seriesuid,coordX,coordY,coordZ,"


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Path]:
    texts = {
        "pred": f"{HEADER}probability\na,1,0,0,0.9\nb,50,0,0,0.8\n",
        "ref": f"{HEADER}diameter_mm\na,0,0,0,6\nb,0,0,0,6\n",
        "series": "a\nb\nc\n",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
    return {name: tmp_path / f"{name}.csv" for name in texts}


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page[page.index("</style>") :]).split())


def test_a_froc_is_shown_with_its_plot_inside(tables: dict[str, Path], tmp_path: Path) -> None:
    evaluate_luna16(**tables, out_dir=tmp_path / "run" / "evaluation")
    page = write_report(tmp_path / "run").read_text()
    text = text_of(page)
    assert "CPM 0.500" in text
    assert "Nodules 1 of 2" in text
    assert "False positives per scan Sensitivity 95 % interval 0.125 0.500 0.000 to 1.000" in text
    assert "no scores" not in text
    (plot,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    assert base64.b64decode(plot) == (tmp_path / "run" / "evaluation" / "froc.svg").read_bytes()


def test_warnings_of_the_evaluation_are_repeated(tables: dict[str, Path], tmp_path: Path) -> None:
    del tables["series"]
    evaluate_luna16(**tables, out_dir=tmp_path / "run")
    assert "Warning: nobody lists the scans" in text_of(write_report(tmp_path / "run").read_text())


def test_boxes_are_shown_by_overlap(tables: dict[str, Path], tmp_path: Path) -> None:
    found = write_detections(tmp_path / "d.json", make_detections("a", [[-3, -3, -3, 3, 3, 3]], [0.9]))
    evaluate_coco3d(found, tables["ref"], out_dir=tmp_path / "run" / "evaluation", series=tables["series"])
    text = text_of(write_report(tmp_path / "run").read_text())
    assert "mAP 0.505" in text
    assert "IoU AP AR 0.10 0.505 0.500" in text


@pytest.fixture
def pictured(tables: dict[str, Path], tmp_path: Path) -> Path:
    """A run whose two marks, one a hit, have pictures; the scores are LUNA16's."""
    run = tmp_path / "run"
    evaluate_luna16(**tables, out_dir=run / "evaluation")
    # the marks of the submission are in LPS, so x changes its sign
    for case, x, score in (("a", -1.0, 0.9), ("b", -50.0, 0.8)):
        folder = run / "predictions" / case
        write_detections(folder / "detections.json", make_detections(case, [[x - 3, -3, -3, x + 3, 3, 3]], [score]))
        (folder / "crops").mkdir()
        (folder / "crops" / "01.png").write_bytes(grey_png(np.full((4, 12), int(score * 100), np.uint8)))
    return run


def test_hits_and_false_positives_are_shown_apart_with_their_scores(pictured: Path) -> None:
    page = write_report(pictured).read_text()
    hits, false = page.split("<h3>False positives")
    assert "<h3>Hits" in hits
    assert "a, score 0.90, 6 mm" in hits
    assert "b, score 0.80, 6 mm" in false
    assert "b, score" not in hits
    assert "Missed 1" in text_of(page)
    assert "Nodules that no mark hit" in page


def test_pictures_without_scores_are_shown_together(pictured: Path) -> None:
    shutil.rmtree(pictured / "evaluation")
    (pictured / "run.json").write_text('{"bundle": "b"}')
    text = text_of(write_report(pictured).read_text())
    assert "Detections 2 in pictures" in text
    assert "Missed" not in text


def test_only_the_surest_are_pictured(pictured: Path) -> None:
    boxes = [[60 + x, -3, -3, 66 + x, 3, 3] for x in range(2 * MOST)]
    scores = np.linspace(0.7, 0.1, len(boxes))
    write_detections(pictured / "predictions" / "c" / "detections.json", make_detections("c", boxes, scores))
    (pictured / "predictions" / "c" / "crops").mkdir()
    for rank in range(1, len(boxes) + 1):
        path = pictured / "predictions" / "c" / "crops" / f"{rank:02d}.png"
        path.write_bytes(grey_png(np.zeros((4, 12), np.uint8)))
    page = write_report(pictured).read_text()
    assert f"the {MOST} surest of {2 * MOST} in pictures" in text_of(page)
    assert page.count("data:image/png") == MOST + 2


def test_a_detector_s_scores_are_made_again_by_its_own_protocol(pictured: Path) -> None:
    assert "--task detection --protocol luna16" in text_of(write_report(pictured).read_text())


def test_a_report_of_forty_scans_stays_small(tmp_path: Path) -> None:
    """Crops of pure noise, 25 marks in each scan: nothing is harder to compress."""
    rng, rows, nodules = np.random.default_rng(0), [], []
    run = tmp_path / "run"
    for scan in range(40):
        case = f"scan{scan:02d}"
        nodules.append(f"{case},0,0,0,8\n")
        boxes = [[40 * n - 4, -4, -4, 40 * n + 4, 4, 4] for n in range(25)]
        scores = np.sort(rng.random(25))[::-1]
        rows += [f"{case},{-40 * n},0,0,{score:.6f}\n" for n, score in enumerate(scores)]
        folder = run / "predictions" / case
        write_detections(folder / "detections.json", make_detections(case, boxes, scores))
        (folder / "crops").mkdir()
        for rank in range(1, 26):
            noise = rng.integers(0, 256, (96, 288), dtype=np.uint8)
            (folder / "crops" / f"{rank:02d}.png").write_bytes(grey_png(noise))
    (tmp_path / "marks.csv").write_text(f"{HEADER}probability\n{''.join(rows)}")
    (tmp_path / "nodules.csv").write_text(f"{HEADER}diameter_mm\n{''.join(nodules)}")
    evaluate_luna16(tmp_path / "marks.csv", tmp_path / "nodules.csv", out_dir=run / "evaluation")
    path = write_report(run)
    assert "Nodules 40 of 40" in text_of(path.read_text())
    assert path.stat().st_size < 15_000_000
