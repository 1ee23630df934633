"""Every notebook runs from top to bottom on phantoms, and its .ipynb is the one made from its source."""

import runpy
from pathlib import Path

import pytest

from medseg.bundle.find import find_bundle
from medseg.bundle.weights import ships_weights

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "notebooks").rglob("*.py"))
each_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def test_there_are_notebooks():
    assert [source.stem[:2] for source in SOURCES] == ["01", "02", "03", "04", "05"]


@each_notebook
def test_it_runs_on_phantoms(source, tmp_path, monkeypatch):
    if source.stem.startswith("01") and not ships_weights(find_bundle("hippocampus_mri_segmentation")):
        pytest.skip("the weights of hippocampus_mri_segmentation are not in this checkout")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(source), run_name="__main__")


@each_notebook
def test_the_notebook_is_the_one_made_from_its_source(source):
    jupytext = pytest.importorskip("jupytext", reason="jupytext is not installed: pip install 'medseg[notebooks]'")
    made, kept = jupytext.read(source), jupytext.read(source.with_suffix(".ipynb"))
    cells = [[(cell.cell_type, cell.source) for cell in book.cells] for book in (made, kept)]
    assert cells[0] == cells[1], f"make it again: make notebooks ({source.name})"
    assert not any(cell.get("outputs") for cell in kept.cells), "outputs are not kept"
