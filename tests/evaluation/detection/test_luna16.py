"""LUNA16 from files to files: hand-computed cases, forms of input, and real annotations."""

import csv
import json
import random

import numpy as np
import pytest

from medseg.errors import DataError
from medseg.evaluation.detection import evaluate_luna16
from medseg.volumes.luna16_csv import read_annotations, read_series

KEYS = ["0.125", "0.25", "0.5", "1", "2", "4", "8"]


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def worked(tables):
    """Three scans: a doubly hit nodule, a missed one, one of unknown size; an excluded mark, two false positives."""
    return {
        "pred": tables.marks(
            ["a", 10, 20, 30, 0.9],
            ["a", 11, 20, 30, 0.4],
            ["a", -50, 0, 0, 0.8],
            ["b", 4.9, 0, 0, 0.6],
            ["b", 70, 0, 0, 0.7],
            ["b", -70, 0, 0, 0.5],
        ),
        "ref": tables.annotations(["a", 10, 20, 31, 6], ["a", 90, 0, 0, 6], ["b", 0, 0, 0, -1]),
        "exclude": tables.annotations(["a", -49, 0, 0, -1], name="excluded.csv"),
        "series": tables.series("a", "b", "c"),
    }


def test_a_worked_example(worked, tmp_path):
    summary = evaluate_luna16(**worked, out_dir=tmp_path / "out")
    content = json.loads((tmp_path / "out" / "summary.json").read_text())
    # Thresholds: .9 hit; .7 false; .6 hit; .5 false. A false positive is 1/3 per scan.
    wanted = [1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3]
    assert list(content["sensitivity_at_fp"]) == KEYS
    assert list(content["sensitivity_at_fp"].values()) == pytest.approx(wanted)
    assert content["cpm"] == pytest.approx(np.mean(wanted)) == summary.cpm
    counts = {key: content[key] for key in ("n_tp", "n_fp", "n_ignored", "n_double", "n_missed")}
    assert counts == {"n_tp": 2, "n_fp": 2, "n_ignored": 1, "n_double": 1, "n_missed": 1}
    assert (content["n_scans"], content["n_nodules"], content["protocol"]) == (3, 3, "luna16")
    low, high = content["cpm_ci95"]
    assert low <= content["cpm"] <= high
    assert content["versions"]["medseg"]
    assert summary.warnings == ()


def test_the_tables_of_the_worked_example(worked, tmp_path):
    evaluate_luna16(**worked, out_dir=tmp_path / "out")
    first, second, third = rows_of(tmp_path / "out" / "nodules.csv")
    assert [float(first[k]) for k in ("mark_coordX", "mark_coordY", "mark_coordZ", "probability")] == [10, 20, 30, 0.9]
    assert (first["state"], first["n_hits"], float(first["distance_mm"])) == ("hit", "2", 1)
    assert (second["state"], second["n_hits"], second["probability"]) == ("missed", "0", "")
    assert float(third["fp_per_scan"]) == pytest.approx(1 / 3)
    assert [float(second[k]) for k in ("coordX", "diameter_mm")] == [90, 6]
    false = rows_of(tmp_path / "out" / "false_positives.csv")
    assert [(row["seriesuid"], float(row["coordX"]), float(row["probability"])) for row in false] == [
        ("b", 70, 0.7),
        ("b", -70, 0.5),
    ]
    curve = [tuple(map(float, row.values())) for row in rows_of(tmp_path / "out" / "froc.csv")]
    assert curve[0] == (0, 0, float("inf"))
    assert curve[-1] == pytest.approx((2 / 3, 2 / 3, 0.5))


def test_the_plot_stands_alone_and_follows_dark_mode(worked, tmp_path):
    import xml.etree.ElementTree as ET

    evaluate_luna16(**worked, out_dir=tmp_path / "out")
    text = (tmp_path / "out" / "froc.svg").read_text()
    root = ET.fromstring(text)
    assert "prefers-color-scheme:dark" in text
    assert "CPM 0.571" in root.attrib["aria-label"]
    assert len(root.findall(".//{*}circle")) == 7
    assert "script" not in text
    assert text.count("http") == 1  # the namespace


def test_an_empty_submission_has_cpm_zero(worked, tables, tmp_path):
    summary = evaluate_luna16(**{**worked, "pred": tables.marks(name="none.csv")}, out_dir=tmp_path / "out")
    assert summary.cpm == 0
    assert summary.bootstrap.cpm_ci95 == (0, 0)
    assert summary.counts["n_missed"] == 3
    assert any("no marks" in line for line in summary.warnings)
    assert rows_of(tmp_path / "out" / "false_positives.csv") == []


def test_the_order_of_rows_changes_no_file(worked, tables, tmp_path):
    evaluate_luna16(**worked, out_dir=tmp_path / "one")
    header, *rows = worked["pred"].read_text().splitlines()
    random.Random(1).shuffle(rows)
    worked["pred"].write_text("\n".join([header, *rows]))
    evaluate_luna16(**worked, out_dir=tmp_path / "other")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes(), path.name


def test_columns_go_by_name(worked, tables, tmp_path):
    header, *rows = [line.split(",") for line in worked["pred"].read_text().split()]
    turned = [[*reversed(row), "x"] for row in [header, *rows]]
    worked["pred"].write_text("\n".join(",".join(row) for row in turned))
    assert evaluate_luna16(**worked, out_dir=tmp_path / "out").counts["n_tp"] == 2


def cube(x, y, z, side):
    """A box in RAS mm around a place in LPS mm."""
    return [-x - side / 2, -y - side / 2, z - side / 2, -x + side / 2, -y + side / 2, z + side / 2]


@pytest.mark.parametrize("layout", ["{case}/detections.json", "{case}.json", "deep/{case}/detections.json"])
def test_detections_score_like_the_submission(worked, tables, tmp_path, layout):
    wanted = evaluate_luna16(**worked, out_dir=tmp_path / "out")
    for case, boxes, scores in (
        ("a", [cube(10, 20, 30, 6), cube(11, 20, 30, 6), cube(-50, 0, 0, 4)], [0.9, 0.4, 0.8]),
        ("b", [cube(4.9, 0, 0, 6), cube(70, 0, 0, 6), cube(-70, 0, 0, 6)], [0.6, 0.7, 0.5]),
    ):
        tables.detections(case, boxes, scores, "p/" + layout.format(case=case))
    (tmp_path / "p" / "run.json").write_text("{}")
    got = evaluate_luna16(**{**worked, "pred": tmp_path / "p"}, out_dir=tmp_path / "boxes")
    assert got.counts == wanted.counts
    assert got.sensitivity_at_fp == wanted.sensitivity_at_fp
    assert "no detections of 1 of 3 scans" in got.warnings[0]


def test_a_file_without_boxes_is_a_scan_without_marks(tables, tmp_path):
    tables.detections("a", [cube(0, 0, 0, 6), cube(50, 0, 0, 6)], [0.5, 0.9])
    for case in "bcd":
        tables.detections(case, [], [])
    ref = tables.annotations(["a", 0, 0, 0, 6])
    summary = evaluate_luna16(tmp_path / "pred", ref, out_dir=tmp_path / "out")
    assert summary.counts["n_scans"] == 4
    assert summary.sensitivity_at_fp["0.25"] == 1
    assert summary.sensitivity_at_fp["0.125"] == 0


def test_one_detections_file_and_a_datalist(tables, tmp_path):
    pred = tables.detections("a", [[0, 0, 0, 6, 6, 6]], [0.5], "detections.json")
    ref = tables.datalist(
        [{"case_id": "a", "box_ras_mm": [[1, 1, 1, 6, 6, 6]]}],
        validation=[{"image": "scans/b.nii.gz", "label": "labels/b.nii.gz", "box_ras_mm": []}],
        testing=["c.nii.gz"],
    )
    summary = evaluate_luna16(pred, ref, out_dir=tmp_path / "out")
    assert (summary.cpm, summary.counts["n_scans"]) == (1, 2)
    assert summary.reference.case_ids == ("a", "b")
    assert [line.partition(": ")[2] for line in summary.warnings] == [
        "no detections of 1 of 2 scans; they count as scans without any."
    ]


def test_without_a_list_of_scans_a_warning_says_which_count(worked, tmp_path):
    del worked["series"]
    summary = evaluate_luna16(**worked, out_dir=tmp_path / "out")
    assert summary.counts["n_scans"] == 2
    assert "Give --series" in summary.warnings[0]
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["scans_listed"] is False


def test_a_subset_leaves_other_scans_out(worked, tables, tmp_path):
    worked["series"] = tables.series("b", "c")
    summary = evaluate_luna16(**worked, out_dir=tmp_path / "out", subset=True)
    counts = summary.counts
    assert (counts["n_scans"], counts["n_nodules"], counts["n_marks"]) == (2, 1, 3)
    assert (counts["n_nodules_of_other_scans"], counts["n_marks_of_other_scans"]) == (2, 3)


def test_marks_at_one_place_with_other_scores_are_a_warning(worked, tables, tmp_path):
    worked["pred"] = tables.marks(["a", 10, 20, 30, 0.9], ["a", 10, 20, 30, 0.8])
    summary = evaluate_luna16(**worked, out_dir=tmp_path / "out")
    assert summary.counts["n_double"] == 1
    assert "1 marks lie where another one" in summary.warnings[0]


ANNOTATED = [[uid, x, 40 + 7 * x, 100 + x, 8] for uid in "ab" for x in (-90, -60, -30, 30, 60)]


@pytest.mark.parametrize(
    ("turn", "name"),
    [
        (lambda x, y, z: (-x, -y, z), "x and y negated"),
        (lambda x, y, z: (-x, y, z), "x negated"),
        (lambda x, y, z: (x, -y, z), "y negated"),
        (lambda x, y, z: (z, y, x), "x and z exchanged"),
    ],
)
def test_marks_in_another_frame_are_suspected(tables, tmp_path, turn, name):
    rows = [[uid, *turn(x + 1, y, z), 0.5] for uid, x, y, z, _ in ANNOTATED]
    files = {"pred": tables.marks(*rows), "ref": tables.annotations(*ANNOTATED), "series": tables.series("a", "b")}
    summary = evaluate_luna16(**files, out_dir=tmp_path / "out")
    assert summary.cpm == 0
    (line,) = summary.warnings
    assert f"find 0 of 10 nodules as they stand, but 10 with {name}" in line


def test_a_poor_detector_is_not_suspected(tables, tmp_path):
    rows = [["a", 10 * i, 5, 5, 0.5] for i in range(90)]
    files = {"pred": tables.marks(*rows), "ref": tables.annotations(*ANNOTATED), "series": tables.series("a", "b")}
    assert evaluate_luna16(**files, out_dir=tmp_path / "out").warnings == ()


BAD = {
    "unknown series": (["marks", ["z", 0, 0, 0, 0.5]], r"mark of series z, .* 3 scans of .*seriesuids.csv .*--subset"),
    "annotation of an unknown series": (["annotations", ["z", 0, 0, 0, 5]], r"annotation of series z"),
    "excluded finding of an unknown series": (["excluded", ["z", 0, 0, 0, 5]], r"finding of series z"),
    "the same mark twice": (
        ["marks", ["a", 1, 2, 3, 0.5], ["a", 1, 2, 3, 0.5]],
        r"series a has the mark \(1, 2, 3\) with probability 0.5 2 times",
    ),
    "NaN score": (["marks", ["a", 1, 2, 3, "nan"]], r"line 2: probability is 'nan'"),
    "infinite score": (["marks", ["a", 1, 2, 3, "inf"]], r"probability is 'inf'"),
    "no number": (["marks", ["a", 1, "two", 3, 0.5]], r"line 2: coordY is 'two'"),
    "short row": (["marks", ["a", 1, 2]], r"line 2 has 3 values"),
    "no number in an annotation": (["annotations", ["a", 1, 2, 3, "big"]], r"line 2: diameter_mm is 'big'"),
    "nodule of no size": (["annotations", ["a", 1, 2, 3, 0]], r"diameter 0 mm, so no mark can hit it"),
    "nodule twice": (["annotations", ["a", 1, 2, 3, 5], ["a", 1, 2, 3, 5]], r"has the nodule at \(1, 2, 3\) twice"),
    "no nodules": (["annotations"], r"no nodule in the 3 scans"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_line(worked, tables, tmp_path, name):
    (kind, *rows), message = BAD[name]
    key = {"marks": "pred", "annotations": "ref", "excluded": "exclude"}[kind]
    write = tables.marks if kind == "marks" else tables.annotations
    with pytest.raises(DataError, match=message) as caught:
        evaluate_luna16(**{**worked, key: write(*rows, name="bad.csv")}, out_dir=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_table_with_wrong_columns_is_refused(worked, tmp_path):
    for key in ("pred", "ref", "exclude"):
        other = tmp_path / "columns.csv"
        other.write_text("id,x,y,z\na,1,2,3\n")
        with pytest.raises(DataError, match=r"columns.csv.*no column seriesuid.*Wanted seriesuid,coordX"):
            evaluate_luna16(**{**worked, key: other}, out_dir=tmp_path / "out")


def test_missing_files_are_named(worked, tmp_path):
    for key in worked:
        with pytest.raises(DataError, match=r"gone"):
            evaluate_luna16(**{**worked, key: tmp_path / "gone"}, out_dir=tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no detections.json here"):
        evaluate_luna16(**{**worked, "pred": tmp_path / "empty"}, out_dir=tmp_path / "out")


def test_two_files_of_one_case_are_refused(worked, tables, tmp_path):
    for folder in ("x", "y"):
        tables.detections("a", [cube(0, 0, 0, 4)], [0.5], f"pred/{folder}/detections.json")
    with pytest.raises(DataError, match=r"case a is in .*x/detections.json too"):
        evaluate_luna16(**{**worked, "pred": tmp_path / "pred"}, out_dir=tmp_path / "out")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([{"case_id": "a"}], "no entries like"),
        ([{"box_ras_mm": [[0, 0, 0, 1, 1, 1]]}], "no entries like"),
        ([{"case_id": "a", "box_ras_mm": [[0, 0, 0, 1, 1]]}], r"datalist.json: a: shape \(1, 5\)"),
        ([{"case_id": "a", "box_ras_mm": [[0, 0, 0, 1, 1, 0]]}], "has no size along an axis"),
        ([{"case_id": "a", "box_ras_mm": [["x", 0, 0, 1, 1, 1]]}], "no list of six numbers"),
        ([{"case_id": "a", "box_ras_mm": []}, {"case_id": "a", "box_ras_mm": []}], "case a stands in it twice"),
        ([{"case_id": "a", "box_ras_mm": [[0, 0, 0, 1, 1, 1]], "box_label": [0, 0]}], "one class index from 0 per box"),
        ([{"case_id": "a", "box_ras_mm": [[0, 0, 0, 1, 1, 1]], "label": [3]}], "class 3, but label_names has 1"),
    ],
)
def test_bad_datalists(tables, tmp_path, items, message):
    pred = tables.detections("a", [[0, 0, 0, 6, 6, 6]], [0.5])
    with pytest.raises(DataError, match=message):
        evaluate_luna16(pred, tables.datalist(items), out_dir=tmp_path / "out")


def test_a_file_that_is_no_datalist(tables, tmp_path):
    pred = tables.detections("a", [[0, 0, 0, 6, 6, 6]], [0.5])
    (tmp_path / "list.json").write_text("{")
    with pytest.raises(DataError, match=r"list.json: not a readable datalist"):
        evaluate_luna16(pred, tmp_path / "list.json", out_dir=tmp_path / "out")


def test_a_folder_that_cannot_be_made(worked, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file.*could not be"):
        evaluate_luna16(**worked, out_dir=tmp_path / "file")


def test_real_annotations_found_exactly(luna16, tables, tmp_path):
    found = read_annotations(luna16 / "annotations.csv")
    rows = [[f.series_uid, *f.center_lps_mm, 0.5 + i / 10_000] for i, f in enumerate(found)]
    files = {
        "ref": luna16 / "annotations.csv",
        "exclude": luna16 / "annotations_excluded.csv.gz",
        "series": luna16 / "seriesuids.csv",
    }
    perfect = evaluate_luna16(tables.marks(*rows), **files, out_dir=tmp_path / "out")
    assert perfect.cpm == 1
    counts = perfect.counts
    assert (counts["n_scans"], counts["n_nodules"], counts["n_excluded"]) == (888, 1186, 35192)
    assert (counts["n_tp"], counts["n_fp"], counts["n_missed"]) == (1186, 0, 0)
    # Every other nodule found, and 111 surer false positives: 1/8 per scan, at which the curve starts to climb.
    scans = read_series(luna16 / "seriesuids.csv")
    far = [[scans[i], 500, 500, 500, 0.9] for i in range(111)]
    half = evaluate_luna16(tables.marks(*rows[::2], *far), **files, out_dir=tmp_path / "out")
    assert half.sensitivity_at_fp == dict.fromkeys(KEYS, half.counts["n_tp"] / 1186)
    assert half.bootstrap.sensitivity_ci95[-1][0] < half.counts["n_tp"] / 1186 < half.bootstrap.sensitivity_ci95[-1][1]
    ignored = [[f.series_uid, *f.center_lps_mm, 0.99] for f in read_annotations(files["exclude"])[::700]]
    with_excluded = evaluate_luna16(tables.marks(*rows[::2], *far, *ignored), **files, out_dir=tmp_path / "out")
    assert with_excluded.counts["n_fp"] == 111
    assert with_excluded.cpm >= half.cpm
