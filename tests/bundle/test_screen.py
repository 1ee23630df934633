from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medseg.bundle.compose import Composition
from medseg.bundle.culprit import find_culprit, item_files
from medseg.bundle.hints import hint_for
from medseg.bundle.screen import MAX_LINES, explain, first_of, screen_of
from medseg.errors import DataError

CONFIG: dict[str, Any] = {
    "run": ["$@trainer.run()"],
    "trainer": {"_target_": "toy.Trainer", "dataset": "@dataset", "handlers": ["@logger"]},
    "dataset": {"_target_": "toy.Dataset", "transform": {"_target_": "toy.Compose", "transforms": "@steps"}},
    "steps": [{"_target_": "toy.Load"}, {"_target_": "toy.Crop"}],
    "logger": {"_target_": "toy.Logger"},
}


def test_an_error_from_another_process_is_placed_by_the_class_it_names() -> None:
    error = DataError("case_3: too small.")
    error.case, error.component, error.file = "case_3", "Crop", "/data/case_3.nii.gz"
    outer = RuntimeError("the loader stopped")
    outer.__cause__ = error
    culprit = find_culprit(outer, CONFIG)
    assert culprit.id_ == "steps::1"
    assert culprit.chain == ("run", "trainer", "dataset", "steps", "steps::1")
    assert (culprit.case, culprit.file) == ("case_3", "/data/case_3.nii.gz")


def test_an_error_of_the_user_without_a_config_is_one_line() -> None:
    assert screen_of(DataError("a:\n  bad.")) == ["error: a: bad."]


def test_an_error_that_nobody_foresaw_says_its_line_of_code_and_what_to_do() -> None:
    try:
        {}["key"]
    except KeyError as error:
        lines = screen_of(error)
    assert lines[0] == "error: KeyError: 'key'"
    assert lines[1].startswith("code: ")
    assert "test_screen.py" in lines[1]
    assert lines[2].startswith("next: An item, a mapping or the config lacks this key")


def test_the_first_explanation_is_kept(tmp_path: Path) -> None:
    error = DataError("bad.")
    composition = Composition(bundle_root=tmp_path, workflow="train", config=CONFIG)
    error.case = "c"
    explain(error, composition)
    explain(error)
    assert "case: c" in screen_of(error)


def test_many_failed_cases_are_one_screen() -> None:
    error = first_of({f"c{n}": DataError(f"c{n}: bad.") for n in range(40)}, remark="(0 of 40)")
    assert str(error).startswith("c0: bad. 39 more failed: c1, c2")
    assert str(error).endswith("(0 of 40)")
    assert len(screen_of(error)) <= MAX_LINES


def test_files_are_known_before_and_after_they_are_read() -> None:
    class Read:
        meta = {"filename_or_obj": "/a/label.nii"}  # noqa: RUF012

    assert item_files({"image": ["/a/t1.nii", "/a/t2.nii"], "label": Read()}) == {
        "image": ["/a/t1.nii", "/a/t2.nii"],
        "label": ["/a/label.nii"],
    }


@pytest.mark.parametrize(
    ("cause", "advice"),
    [
        ("RuntimeError: Sizes of tensors must match except in dimension 1", "roi_size divisible"),
        (
            "RuntimeError: Given groups=1, expected input[1, 2, 8] to have 4 channels, but got 2 channels instead",
            "modalities",
        ),
        ("OutOfMemoryError: CUDA out of memory.", "Lower batch_size"),
        ("PermissionError: [Errno 13] Permission denied: '/x'", "may write"),
        ("Strange: thing", "report it"),
    ],
)
def test_advice_follows_the_cause(cause: str, advice: str) -> None:
    assert advice in hint_for(cause)
