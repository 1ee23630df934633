from pathlib import Path

import pytest

from medseg.benchmark.heavy import Processes, Work
from medseg.benchmark.stages import key_of, print_of, prints_of, run_stage
from medseg.errors import ConfigError


def test_keys_do_not_hang_on_the_order_of_inputs():
    assert key_of({"a": 1, "b": [2]}) == key_of({"b": [2], "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2})


def test_prints_tell_contents_and_not_places(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_bytes(b"same")
    assert prints_of([tmp_path / "one" / "x"], under=tmp_path / "one") == prints_of(
        [tmp_path / "two" / "x"], under=tmp_path / "two"
    )
    (tmp_path / "one" / "x").write_bytes(b"sane")
    assert print_of(tmp_path / "one" / "x") != print_of(tmp_path / "two" / "x")
    assert print_of(tmp_path / "nothing") == ""


def test_long_files_are_told_by_their_ends_and_length(tmp_path):
    prints = set()
    for name, content in {"a": bytes(1 << 23), "b": bytes((1 << 23) - 1), "c": bytes((1 << 23) - 1) + b"x"}.items():
        (tmp_path / name).write_bytes(content)
        prints.add(print_of(tmp_path / name))
    assert len(prints) == 3


def test_a_stage_is_done_once_and_goes_on_where_it_was_stopped(tmp_path):
    made = []

    def work():
        made.append(sorted(path.name for path in tmp_path.glob("out*")))
        (tmp_path / f"out{len(made)}").touch()
        if len(made) == 1:
            raise KeyboardInterrupt
        return {"n": len(made)}

    stage = {"inputs": {"a": 1}, "outputs": ["out1", "out2"], "work": work}
    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path, "s", **stage)
    assert run_stage(tmp_path, "s", **stage) == run_stage(tmp_path, "s", **stage) == {"n": 2}
    assert made == [[], ["out1"]], "what a stopped stage left is still there"
    run_stage(tmp_path, "s", **{**stage, "inputs": {"a": 2}})
    assert made[-1] == [], "what was made of other inputs is gone"


def test_files_of_somebody_else_are_left(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(ConfigError, match="this suite did not make it"):
        run_stage(tmp_path, "s", inputs={}, outputs=["out"], work=dict)
    assert (tmp_path / "out").exists()


@pytest.fixture
def crashing(monkeypatch):
    """Workers that write what they can and die at the cases in `deadly`."""
    calls = []

    def make(deadly, code=-9):
        def run(work, *, limit_s=None):
            del limit_s
            calls.append([item["case_id"] for item in work.items])
            folder = Path(work.folder)
            (folder / "predictions").mkdir(exist_ok=True)
            (folder / "predict.log").write_text("Killed\n")
            for case in calls[-1]:
                if case in deadly:
                    return code
                (folder / "predictions" / f"{case}.nii.gz").touch()
            return 0

        monkeypatch.setattr("medseg.benchmark.heavy._run", run)
        return calls

    return make


def work_of(folder, n=6):
    items = tuple({"case_id": f"c{i}"} for i in range(n))
    return Work(verb="predict", folder=str(folder), bundle="b", items=items)


def test_a_case_that_kills_the_process_is_lost_and_no_other(tmp_path, crashing):
    calls = crashing({"c1", "c4"})
    failed = Processes().predict(work_of(tmp_path))
    assert failed == dict.fromkeys(("c1", "c4"), "the process ended with code -9: Killed")
    assert calls == [["c0", "c1", "c2", "c3", "c4", "c5"], ["c2", "c3", "c4", "c5"], ["c5"]]


def test_when_every_case_kills_it_the_rest_is_not_tried(tmp_path, crashing):
    calls = crashing({f"c{i}" for i in range(6)})
    failed = Processes().predict(work_of(tmp_path))
    assert len(failed) == 6
    assert len(calls) == 3


def test_cases_that_medseg_refused_are_not_tried_again(tmp_path, crashing):
    calls = crashing({"c2"}, code=2)
    assert set(Processes().predict(work_of(tmp_path))) == {"c2", "c3", "c4", "c5"}
    assert len(calls) == 1
