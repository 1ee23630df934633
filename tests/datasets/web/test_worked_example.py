import re
import zipfile
from dataclasses import replace
from pathlib import Path

from medseg.datasets.download import get_dataset
from medseg.datasets.shelf import read_record

DOCS = Path(__file__).resolve().parents[3] / "docs" / "datasets.md"


def test_the_spec_in_the_docs_fetches_a_dataset(site, rules, tmp_path):
    """The worked example of docs/datasets.md, run as it stands there; only its addresses are ours."""
    code = re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    told = {}
    exec(compile(code[1], "registry/dental.py", "exec"), told)
    spec = told["DENTAL"]["toothfairy"]
    packed = tmp_path / "toothfairy.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("ToothFairy/imagesTr/P1.nii.gz", b"scan")
    mirrors = (site.put("/gone", b"", "404"), site.put("/there", packed.read_bytes()))
    spec = replace(spec, files=(replace(spec.files[0], urls=mirrors),))
    folder = get_dataset(spec, tmp_path / "home" / spec.name, rules=rules)
    assert (folder / "imagesTr/P1.nii.gz").read_bytes() == b"scan"
    assert read_record(folder)["licence"] == "CC BY-SA 4.0"
