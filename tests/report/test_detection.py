import base64
import re
from pathlib import Path

import pytest

from medseg.evaluation.detection import evaluate_coco3d, evaluate_luna16
from medseg.report.page import write_report
from medseg.volumes.detections import make_detections, write_detections

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
