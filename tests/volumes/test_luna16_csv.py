import gzip

import numpy as np
import pytest

from medseg.errors import DataError
from medseg.volumes.luna16_csv import Finding, box_ras_mm, finding_of_box, read_annotations, read_series

_HEAD = "seriesuid,coordX,coordY,coordZ,diameter_mm"


@pytest.fixture
def tables(real_data):
    folder = real_data / "luna16"
    if not folder.is_dir():
        pytest.skip("LUNA16's tables are not on this machine (../shared/data/luna16)")
    return folder


def test_the_real_tables_hold_888_scans_1186_nodules_and_35192_exclusions(tables):
    scans = read_series(tables / "seriesuids.csv")
    nodules = read_annotations(tables / "annotations.csv")
    excluded = read_annotations(tables / "annotations_excluded.csv.gz")
    assert (len(scans), len(nodules), len(excluded)) == (888, 1186, 35192)
    assert {nodule.series_uid for nodule in nodules} <= set(scans)
    assert nodules[0] == Finding(scans[0], (-128.6994211, -175.3192718, -298.3875064), 5.651470635)
    assert min(nodule.diameter_mm for nodule in nodules) > 3.0
    assert any(mark.diameter_mm == -1 for mark in excluded)


def test_boxes_of_the_real_nodules_go_to_ras_and_back_within_a_millionth_of_a_mm(tables):
    for nodule in read_annotations(tables / "annotations.csv"):
        box = np.array(box_ras_mm(nodule))
        assert (box[:3] < box[3:]).all()
        np.testing.assert_allclose(
            (box[:3] + box[3:]) / 2, nodule.center_lps_mm * np.array([-1, -1, 1]), rtol=0, atol=1e-9
        )
        back = finding_of_box(nodule.series_uid, box)
        assert back.series_uid == nodule.series_uid
        np.testing.assert_allclose(back.center_lps_mm, nodule.center_lps_mm, rtol=0, atol=1e-6)
        assert back.diameter_mm == pytest.approx(nodule.diameter_mm, abs=1e-6)


def test_a_box_that_is_no_cube_has_the_mean_side_as_diameter():
    assert finding_of_box("1.2", [0, 0, 0, 2, 4, 6]) == Finding("1.2", (-1.0, -2.0, 3.0), 4.0)


def test_columns_in_another_order_extra_ones_gzip_and_a_byte_order_mark(tmp_path):
    text = "\ufeffdiameter_mm,coordZ,coordY,coordX,class,seriesuid\r\n5,3,2,1,0,1.2\r\n\r\n-1,6,5,4,1,1.3\r\n"
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert read_annotations(path) == [Finding("1.2", (1.0, 2.0, 3.0), 5.0), Finding("1.3", (4.0, 5.0, 6.0), -1.0)]


def test_a_table_without_rows_has_no_findings(tmp_path):
    (tmp_path / "a.csv").write_text(_HEAD + "\n")
    assert read_annotations(tmp_path / "a.csv") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"a\.csv: the first line has no column seriesuid, .* but 'nothing'\. Wanted seriesuid,coordX"),
        ("seriesuid,coordX,coordY,coordZ,class\n1,2,3,4,0\n", r"no column diameter_mm but 'seriesuid,.*class'"),
        (f"{_HEAD}\n1.2,1,2,3,4\n1.2,1,two,3,4\n", r"a\.csv, line 3: coordY is 'two'\. Wanted a number of mm\."),
        (f"{_HEAD}\n1.2,1,nan,3,4\n", r"line 2: coordY is 'nan'"),
        (f"{_HEAD}\n1.2,1,2,inf,4\n", r"line 2: coordZ is 'inf'"),
        (f"{_HEAD}\n1.2,1,2,3,\n", r"line 2: diameter_mm is ''"),
        (f"{_HEAD}\n1.2,1,2\n", r"line 2: 3 columns, where the first line has more"),
        (f"{_HEAD}\n,1,2,3,4\n", r"line 2: no seriesuid"),
    ],
)
def test_a_bad_table_is_one_line_that_names_the_line(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_annotations(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"\xff\xfe\x00\x81", "not a readable CSV table"), (b"\x1f\x8b\x08cut", "not a readable CSV table")],
)
def test_a_damaged_file_is_one_line(tmp_path, data, message):
    for name in ("a.csv", "a.csv.gz"):
        (tmp_path / name).write_bytes(data)
        for read in (read_annotations, read_series):
            with pytest.raises(DataError, match=message):
                read(tmp_path / name)
    with pytest.raises(DataError, match="no such file"):
        read_annotations(tmp_path / "b.csv")


def test_a_list_of_scans_with_and_without_a_heading(tmp_path):
    (tmp_path / "a.csv").write_text("1.2\r\n1.3\r\n")
    (tmp_path / "b.csv").write_text("seriesuid\n1.2\n1.3")
    assert read_series(tmp_path / "a.csv") == read_series(tmp_path / "b.csv") == ["1.2", "1.3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no scans in it"),
        ("1.2\n1.3,4\n", r"line 2: '1\.3,4' is not one scan's UID"),
        ("1.2\n1.3\n1.2\n", r"line 3: scan 1\.2 stands in line 1 already"),
    ],
)
def test_a_bad_list_of_scans_is_one_line(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_series(tmp_path / "a.csv")


def test_a_mark_without_a_diameter_has_no_box_and_a_wrong_box_is_refused():
    with pytest.raises(DataError, match=r"scan 1\.2: a finding with diameter -1 mm has no box"):
        box_ras_mm(Finding("1.2", (0.0, 0.0, 0.0), -1.0))
    for box in ([0, 0, 0, 1, 1], [0, 0, 0, 1, 0, 1], [0, 0, 0, 1, np.nan, 1]):
        with pytest.raises(DataError, match=r"scan 1\.2: box .* is not x0, y0, z0, x1, y1, z1"):
            finding_of_box("1.2", box)
