from __future__ import annotations

from pathlib import Path

import pytest

from medseg.bundle.compose import CONTRACT_KEYS
from medseg.bundle.documents import read_document
from medseg.bundle.find import list_presets

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "presets"
PRESETS = sorted(path for path in FOLDER.rglob("*") if path.is_file())


def test_every_file_is_found_as_a_preset() -> None:
    assert {path.stem for path in PRESETS} <= set(list_presets())
    assert {"smoke", "cpu", "gpu", "ddp"} <= {path.stem for path in PRESETS}


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_says_how_and_not_what(path: Path) -> None:
    document = read_document(path)
    assert document.content.keys() <= CONTRACT_KEYS | {"train::dataloader", "train::sampler", "+train::handlers"}
    # Stock MONAI reads presets too, when they are listed after a bundle's files.
    assert document.traps == ()
    assert path.read_text(encoding="utf-8").startswith("#")
