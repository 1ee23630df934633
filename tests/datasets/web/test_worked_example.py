import re
import zipfile
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg.datasets.download import get_dataset
from medseg.datasets.layouts import take_inventory
from medseg.datasets.registry import DATASETS, get_spec
from medseg.datasets.shelf import dataset_folder, read_record
from medseg.datasets.splits import datalist_of, split_cases
from medseg.datasets.verify import verify_dataset

CONTRIBUTING = Path(__file__).resolve().parents[3] / "CONTRIBUTING.md"


@pytest.fixture
def blocks():
    """The two files of the worked example in CONTRIBUTING.md, as they stand there, run."""
    section = CONTRIBUTING.read_text(encoding="utf-8").partition("## Adding a dataset")[2].partition("\n## ")[0]
    codes = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(codes) == 2
    files = []
    for code in codes:
        told = {}
        exec(compile(code, "CONTRIBUTING.md", "exec"), told)
        files.append(told)
    return files


@pytest.fixture
def fetched(site, rules, blocks, tmp_path, monkeypatch):
    """Fetches the example's dataset from a server that plays its two mirrors; the first has lost it."""
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path / "home"))
    monkeypatch.setitem(DATASETS, "toothfairy", blocks[0]["DENTAL"]["toothfairy"])  # the one line

    def make(name):
        spec = get_spec(name)
        packed = tmp_path / "toothfairy.zip"
        with zipfile.ZipFile(packed, "w") as archive:
            for file, content in _scans(tmp_path).items():
                archive.writestr(f"ToothFairy/{file}", content)
        mirrors = (site.put("/gone", b"", "404"), site.put("/there", packed.read_bytes()))
        spec = replace(spec, files=(replace(spec.files[0], urls=mirrors),))
        return spec, get_dataset(spec, rules=rules)

    return make


def _scans(folder):
    draw, files = np.random.default_rng(0), {}
    for case in ("P1", "P2"):
        for place, voxels in (("imagesTr", draw.normal(size=(4, 5, 6))), ("labelsTr", draw.integers(0, 2, (4, 5, 6)))):
            path = folder / "scan.nii.gz"
            nib.save(nib.Nifti1Image(voxels.astype(np.float32), np.eye(4)), path)
            files[f"{place}/{case}.nii.gz"] = path.read_bytes()
    return files


def test_the_worked_example_is_a_dataset(fetched, blocks):
    tests = [value for name, value in blocks[1].items() if name.startswith("test_")]
    assert len(tests) == 1
    tests[0](fetched)
    folder = dataset_folder("toothfairy")
    assert read_record(folder)["licence"] == "CC BY-SA 4.0"
    assert verify_dataset(folder).findings == ()
    taken = take_inventory(folder)
    assert taken.name == "toothfairy"
    assert [entry["fold"] for entry in datalist_of(taken, split_cases(taken, folds=2))["training"]] in ([0, 1], [1, 0])
