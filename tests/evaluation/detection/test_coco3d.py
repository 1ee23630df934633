import json

import pytest

from medseg.errors import DataError
from medseg.evaluation.detection import evaluate_coco3d

CUBE = [0, 0, 0, 10, 10, 10]
FAR = [100, 0, 0, 110, 10, 10]
ASIDE = [104, 0, 0, 114, 10, 10]  # IoU 3/7 with FAR


def test_it_scores_a_folder_against_a_datalist(tables, tmp_path):
    tables.detections("a", [CUBE, ASIDE], [0.9, 0.8])
    tables.detections("b", [CUBE], [0.1])
    ref = tables.datalist([{"case_id": "a", "box_ras_mm": [CUBE, FAR]}, {"case_id": "b", "box_ras_mm": []}])
    summary = evaluate_coco3d(tmp_path / "pred", ref, out_dir=tmp_path / "out")
    content = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert list(content["ap_at_iou"]) == ["0.10", "0.15", "0.20", "0.25", "0.30", "0.35", "0.40", "0.45", "0.50"]
    assert list(content["ap_at_iou"].values()) == pytest.approx([1.0] * 7 + [51 / 101] * 2)
    assert list(content["ar_at_iou"].values()) == [1.0] * 7 + [0.5] * 2
    assert content["map"] == pytest.approx((7 + 2 * 51 / 101) / 9) == summary.map
    assert content["mar"] == pytest.approx(8 / 9) == summary.mar
    assert (content["n_scans"], content["n_true"], content["n_boxes"]) == (2, 2, 3)
    assert content["protocol"] == "coco3d"
    assert summary.warnings == ()


def test_annotations_are_cubes_in_ras(tables, tmp_path):
    pred = tables.detections("a", [[-13, -23, 27, -7, -17, 33]], [0.9])
    ref = tables.annotations(["a", 10, 20, 30, 6])
    summary = evaluate_coco3d(pred, ref, out_dir=tmp_path / "out", series=tables.series("a", "b"))
    assert summary.map == 1
    assert "no detections of 1 of 2 scans" in summary.warnings[0]


def test_classes_go_by_name_and_those_without_truth_are_left_out(tables, tmp_path):
    names = ("cyst", "nodule")
    pred = tables.detections("a", [CUBE, FAR], [0.9, 0.8], label=[1, 0], label_names=names)
    items = [{"case_id": "a", "box_ras_mm": [CUBE], "box_label": [0]}]
    ref = tables.datalist(items, label_names=["nodule", "cyst", "vessel"])
    summary = evaluate_coco3d(pred, ref, out_dir=tmp_path / "out")
    assert summary.ap == {"nodule": (1.0,) * 9}
    assert summary.map == 1


def test_an_unknown_class_is_refused(tables, tmp_path):
    pred = tables.detections("a", [CUBE], [0.9], label=[1], label_names=("nodule", "rib"))
    ref = tables.datalist([{"case_id": "a", "box_ras_mm": [CUBE]}])
    with pytest.raises(DataError, match=r"a: class 'rib' is not one of the reference's, \['nodule'\]"):
        evaluate_coco3d(pred, ref, out_dir=tmp_path / "out")


def test_marks_have_no_boxes(tables, tmp_path):
    with pytest.raises(DataError, match="marks have no size"):
        evaluate_coco3d(tables.marks(["a", 1, 2, 3, 0.5]), tables.annotations(), out_dir=tmp_path / "out")


def test_unknown_cases_are_refused_or_left_out(tables, tmp_path):
    pred = tables.detections("z", [CUBE], [0.9])
    ref = tables.annotations(["a", -5, -5, 5, 10])
    with pytest.raises(DataError, match=r"detections of series z, which is not among the 1 scans"):
        evaluate_coco3d(pred, ref, out_dir=tmp_path / "out", series=tables.series("a"))
    summary = evaluate_coco3d(pred, ref, out_dir=tmp_path / "out", series=tables.series("a"), subset=True)
    assert summary.map == 0
    assert summary.counts["n_files_of_other_scans"] == 1


def test_without_truth_there_is_no_score(tables, tmp_path):
    pred = tables.detections("a", [CUBE], [0.9])
    with pytest.raises(DataError, match="no true box in the 1 scans"):
        evaluate_coco3d(pred, tables.datalist([{"case_id": "a", "box_ras_mm": []}]), out_dir=tmp_path / "out")
