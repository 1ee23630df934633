from __future__ import annotations

import json
from pathlib import Path

import pytest

from medseg.bundle.run_folder import claim_folder
from medseg.errors import ConfigError

TRAINING = "bundle_root: .\ntrain: {trainer: {_target_: a.B}}\n"


@pytest.mark.parametrize("verb", ["train", "predict"])
def test_a_new_folder_and_one_of_the_same_verb_are_taken(tmp_path: Path, verb: str) -> None:
    folder = tmp_path / "a" / "b"
    claim_folder(folder, verb)
    (folder / "config.yaml").write_text(TRAINING if verb == "train" else "bundle_root: .\n")
    (folder / "run.json").write_text(json.dumps({"verb": verb}))
    (folder / "notes.txt").touch()
    claim_folder(folder, verb)
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "notes.txt", "run.json"]


@pytest.mark.parametrize(
    ("file", "text", "verb", "match"),
    [
        ("config.yaml", "site: mine\n", "train", r"but no medseg run wrote it\. Give another folder with --run-dir\."),
        ("config.yaml", "- a list\n", "predict", r"but no medseg run wrote it\. Give another folder with -o\."),
        ("config.yaml", "a: 1\na: 2\n", "predict", "but no medseg run wrote it"),
        ("config.yaml", TRAINING, "predict", "but medseg train wrote it"),
        ("config.yaml", "bundle_root: .\n", "train", "but medseg predict wrote it"),
        ("run.json", '{"verb": "train"}', "predict", "but medseg train wrote it"),
        ("run.json", '{"verb": "predict"}', "train", "but medseg predict wrote it"),
        ("run.json", '{"model": "mine"}', "train", "but no medseg run wrote it"),
        ("run.json", "{half", "predict", "but no medseg run wrote it"),
    ],
)
def test_what_another_wrote_is_not_written_over(tmp_path: Path, file: str, text: str, verb: str, match: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(ConfigError, match=match):
        claim_folder(tmp_path, verb)
    assert (tmp_path / file).read_text() == text


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="the folder cannot be made"):
        claim_folder(tmp_path / "file" / "run", "train")
