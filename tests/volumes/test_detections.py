import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from medseg.errors import DataError
from medseg.volumes.detections import (
    make_detections,
    read_detections,
    read_submission,
    update_submission,
    write_detections,
    write_submission,
)

BOXES = [[0, 0, 0, 1, 2, 3], [-10.1, -20, 5, -4, -12, 9.3]]
HEADER = "seriesuid,coordX,coordY,coordZ,probability\n"


@pytest.fixture
def found():
    return make_detections("1.2.3", BOXES, [0.25, 0.75])


def test_a_file_comes_back_as_it_was_highest_score_first(tmp_path, found):
    back = read_detections(write_detections(tmp_path / "case" / "detections.json", found))
    assert back.case_id == "1.2.3"
    np.testing.assert_array_equal(back.box_ras_mm, found.box_ras_mm[::-1])
    assert back.score.tolist() == [0.75, 0.25]
    assert (back.label.dtype, back.label_names) == (np.int64, ("nodule",))


def test_the_file_states_frame_unit_order_names_and_versions(tmp_path, found):
    content = json.loads(write_detections(tmp_path / "d.json", found).read_text())
    assert {key: content[key] for key in ("frame", "unit", "box_order", "label_names", "case_id")} == {
        "frame": "RAS",
        "unit": "mm",
        "box_order": "x0,y0,z0,x1,y1,z1",
        "label_names": ["nodule"],
        "case_id": "1.2.3",
    }
    assert content["format_version"] == 1
    assert content["medseg_version"]
    assert content["detections"][1] == {"box_ras_mm": [0, 0, 0, 1, 2, 3], "score": 0.25, "label": 0}


def test_a_case_without_detections_is_a_file_too(tmp_path):
    back = read_detections(write_detections(tmp_path / "d.json", make_detections("a", [], [])))
    assert (len(back), back.box_ras_mm.shape, back.label.shape) == (0, (0, 6), (0,))


FAULTS = {
    "nan": ({"score": [0.5, np.nan]}, "the score of box 1 is nan"),
    "zero": ({"box_ras_mm": [[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1]]}, "box 1 .* has no size"),
    "inverted": ({"box_ras_mm": [[0, 0, 0, -1, 1, 1], [0, 0, 0, 1, 1, 1]]}, "box 0 .* is inverted"),
    "counts": ({"score": [1.0]}, "2 boxes, 1 scores, 2 labels"),
    "class": ({"label": [0, 1]}, r"labels 0 to 1, but the classes are \['nodule'\]"),
    "fraction": ({"label": [0, 0.5]}, "no whole number"),
    "twice": ({"box_ras_mm": [BOXES[0]] * 2}, "box 0 comes 2 times"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_is_refused_in_one_line(fault):
    changed, message = FAULTS[fault]
    good = {"box_ras_mm": BOXES, "score": [0.5, 0.6], "label": [0, 0]}
    with pytest.raises(DataError, match=message) as error:
        make_detections("case7", **{**good, **changed})
    assert str(error.value).startswith("case7: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"), [("frame", "LPS"), ("unit", "voxel"), ("box_order", "cccwhd"), ("format_version", 2)]
)
def test_another_frame_or_unit_is_refused(tmp_path, found, key, value):
    path = write_detections(tmp_path / "d.json", found)
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(DataError, match=f"d.json: {key}.*{value}"):
        read_detections(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", None])
def test_what_is_no_detections_file_is_refused(tmp_path, text):
    path = tmp_path / "d.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=r"d\.json"):
        read_detections(path)


def test_a_detection_without_a_score_is_refused(tmp_path, found):
    path = write_detections(tmp_path / "d.json", found)
    path.write_text(path.read_text().replace('"score": 0.25', '"probability": 0.25'))
    with pytest.raises(DataError, match="lacks its box_ras_mm, score or label"):
        read_detections(path)


def test_a_submission_holds_centres_in_lps(tmp_path, found):
    path = write_submission(tmp_path / "submission.csv", [found, make_detections("empty", [], [])])
    assert path.read_text().splitlines() == [
        "seriesuid,coordX,coordY,coordZ,probability",
        "1.2.3,7.05,16.0,7.15,0.75",
        "1.2.3,-0.5,-1.0,1.5,0.25",
    ]


def test_a_submission_comes_back_in_ras_bit_for_bit(tmp_path):
    rng = np.random.default_rng(0)
    low = rng.normal(0, 100, (50, 3))
    found = make_detections("u", np.concatenate([low, low + rng.uniform(1, 30, (50, 3))], axis=1), rng.uniform(size=50))
    marks = read_submission(write_submission(tmp_path / "s.csv", [found]))
    order = np.argsort(-found.score)
    np.testing.assert_array_equal(marks.centre_ras_mm, ((found.box_ras_mm[:, :3] + found.box_ras_mm[:, 3:]) / 2)[order])
    np.testing.assert_array_equal(marks.score, found.score[order])
    assert set(marks.case_id.tolist()) == {"u"}


def test_columns_go_by_name(tmp_path):
    path = tmp_path / "s.csv"
    path.write_bytes(b"\xef\xbb\xbfprobability,seriesuid,coordZ,coordY,coordX,note\r\n.5,a,3,2,1,x\r\n")
    marks = read_submission(path)
    assert (marks.centre_ras_mm.tolist(), marks.score.tolist(), marks.case_id.tolist()) == ([[-1, -2, 3]], [0.5], ["a"])


def test_an_empty_submission_has_no_marks(tmp_path):
    (tmp_path / "s.csv").write_text(HEADER)
    marks = read_submission(tmp_path / "s.csv")
    assert (len(marks), marks.centre_ras_mm.shape) == (0, (0, 3))


BAD_CSV = {
    "a column too few": (HEADER.replace(",probability", "") + "a,1,2,3\n", "no column probability; it has seriesuid"),
    "annotations": ("seriesuid,coordX,coordY,coordZ,diameter_mm\na,1,2,3,4\n", "no column probability"),
    "nothing": ("", "it has none"),
    "nan": (HEADER + "a,1,2,3,0.5\na,1,2,4,nan\n", "line 3: probability is 'nan', no finite number"),
    "text": (HEADER + "a,1,two,3,0.5\n", "line 2: coordY is 'two'"),
    "short row": (HEADER + "a,1,2,3\n", "line 2 has 4 values, the header 5"),
    "duplicate": (HEADER + "a,1,2,3,.5\nb,1,2,3,.5\na,1,2,3.0,.6\n", "lines 2 and 4 mark the same place of series a"),
}


@pytest.mark.parametrize("fault", BAD_CSV)
def test_a_bad_submission_is_refused_in_one_line(tmp_path, fault):
    text, message = BAD_CSV[fault]
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        read_submission(tmp_path / "s.csv")
    assert "\n" not in str(error.value)


def test_duplicates_pass_on_request(tmp_path):
    (tmp_path / "s.csv").write_text(HEADER + "a,1,2,3,.5\na,1,2,3,.5\n")
    assert len(read_submission(tmp_path / "s.csv", allow_duplicates=True)) == 2


def test_a_case_given_twice_is_refused(tmp_path, found):
    with pytest.raises(DataError, match=r"case 1\.2\.3 comes twice"):
        write_submission(tmp_path / "s.csv", [found, found])
    assert not (tmp_path / "s.csv").exists()


def test_boxes_around_one_centre_are_one_mark_the_surest(tmp_path):
    nested = make_detections("a", [[0, 0, 0, 4, 4, 4], [1, 1, 1, 3, 3, 3]], [0.2, 0.9])
    marks = read_submission(write_submission(tmp_path / "s.csv", [nested]))
    assert (marks.centre_ras_mm.tolist(), marks.score.tolist()) == ([[2, 2, 2]], [0.9])


def test_a_case_that_is_written_again_takes_the_place_of_its_marks(tmp_path):
    path = tmp_path / "out" / "submission.csv"
    for case_id in ("1.2", "1.23", "1.2,odd"):
        update_submission(path, make_detections(case_id, BOXES, [0.25, 0.75]))
    before = read_submission(path)
    update_submission(path, make_detections("1.2", BOXES[:1], [0.5]))
    after = read_submission(path)
    assert before.case_id.tolist() == ["1.2", "1.2", "1.23", "1.23", "1.2,odd", "1.2,odd"]
    assert after.case_id.tolist() == ["1.23", "1.23", "1.2,odd", "1.2,odd", "1.2"]
    update_submission(path, make_detections("1.2,odd", [], []))
    assert read_submission(path).case_id.tolist() == ["1.23", "1.23", "1.2"]


def test_updating_case_by_case_gives_the_file_that_is_written_at_once(tmp_path):
    found = [make_detections(str(number), BOXES, [0.1 * number, 0.2]) for number in range(3)]
    for one in found:
        update_submission(tmp_path / "a.csv", one)
    assert (tmp_path / "a.csv").read_text() == write_submission(tmp_path / "b.csv", found).read_text()


def test_processes_that_write_at_once_lose_no_case(tmp_path):
    path = tmp_path / "submission.csv"

    def write(number):
        update_submission(path, make_detections(f"case{number}", BOXES, [0.25, 0.75]))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(24)))
    assert len(set(read_submission(path).case_id.tolist())) == 24


def test_another_file_is_never_replaced_by_a_submission(tmp_path, found):
    (tmp_path / "s.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n")
    with pytest.raises(DataError, match="no submission of medseg"):
        update_submission(tmp_path / "s.csv", found)
    assert (tmp_path / "s.csv").read_text().endswith("diameter_mm\n")
