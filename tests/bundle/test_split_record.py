import json

import pytest

from medseg.bundle.split_record import ids_of, read_split, write_split
from medseg.datasets.splits import ids_sha256
from medseg.errors import DataError


def test_ids_and_hashes(tmp_path):
    facts = write_split(tmp_path, {"training": ["b", "a"], "validation": ["c"]})
    assert facts["training"] == {"n": 2, "ids_sha256": ids_sha256(["a", "b"])}
    (tmp_path / "run.json").write_text(json.dumps({"split": facts}))
    assert read_split(tmp_path) == {"training": ["a", "b"], "validation": ["c"]}


def test_a_changed_list_is_refused(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"split": write_split(tmp_path, {"training": ["a"]})}))
    (tmp_path / "split.json").write_text('{"training": ["b"]}')
    with pytest.raises(DataError, match="the ids of 'training' are not those"):
        read_split(tmp_path)
    (tmp_path / "split.json").write_text("[]")
    with pytest.raises(DataError, match="not readable"):
        read_split(tmp_path)


def test_runs_without_a_record_say_nothing(tmp_path):
    assert read_split(tmp_path) is None


def test_only_lists_of_items_have_ids():
    assert ids_of([{"case_id": "a"}]) == ["a"]
    assert ids_of([{"image": "a"}]) is None
    assert ids_of("abc") is ids_of(None) is ids_of([]) is None
