from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

METADATA = {
    "schema": "https://example.org/meta_schema.json",
    "version": "0.1.0",
    "changelog": {"0.1.0": "first"},
    "monai_version": "1.6.1",
    "pytorch_version": "2.13.0",
    "numpy_version": "2.4.6",
    "required_packages_version": {},
    "task": "toy",
    "description": "toy",
    "authors": "nobody",
    "copyright": "nobody",
    "name": "toy",
    "data_source": "-",
    "data_type": "-",
    "image_classes": "-",
    "label_classes": "-",
    "pred_classes": "-",
    "eval_metrics": {},
    "intended_use": "tests",
    "references": [],
    "supported_apps": {},
    "network_data_format": {
        "inputs": {"image": {"type": "image", "format": "magnitude", "num_channels": 1, "spatial_shape": ["*"]}},
        "outputs": {"pred": {"type": "image", "format": "segmentation", "num_channels": 1, "spatial_shape": ["*"]}},
    },
}
for tensors in METADATA["network_data_format"].values():
    for tensor in tensors.values():
        tensor |= {"dtype": "float32", "value_range": []}

PARTS = """
from pathlib import Path
from ignite.engine import Engine, Events
from medseg.errors import DataError

class Trainer:
    def __init__(self, max_epochs, output_dir, *, resume=False, learning_rate=0.1):
        self.text = f"{max_epochs} {resume} {learning_rate}"
        self.folder = Path(output_dir)

    def run(self):
        with (self.folder / "trained.txt").open("a") as file:
            file.write(self.text + chr(10))

# A trainer that is an engine, and starts only where its data is good.
class Loop(Engine):
    def __init__(self, max_epochs, output_dir, data, *, resume=False, learning_rate=0.1):
        super().__init__(lambda engine, batch: None)
        self.max_epochs, self.data = max_epochs, data
        self.add_event_handler(Events.STARTED, self.check)

    def check(self, engine):
        if self.data == "bad":
            raise DataError("the data changed, so the resume would not be exact.")

    def run(self):
        super().run([1, 2], max_epochs=self.max_epochs)

def fail(kind):
    if kind == "user":
        try:
            raise DataError("case_7: the header is damaged.")
        except DataError as error:
            raise RuntimeError("applying transform <LoadImaged>") from error
    if kind == "bug":
        raise KeyError("a bug")
    if kind == "stop":
        raise KeyboardInterrupt

class Evaluator(Engine):
    def __init__(self, data, output_dir, failing):
        self.data, self.folder, self.failing = data, Path(output_dir), failing
        super().__init__(self.write)

    def write(self, engine, item):
        if item["case_id"] == self.failing:
            raise DataError(f"{item['case_id']}: the header is damaged.")
        (self.folder / f"{item['case_id']}.nii.gz").write_text("label map")

    def run(self, *data):
        return super().run(self.data)
"""
COMMON = """
imports:
- $import toy_parts
bundle_root: .
dataset_dir: data
datalist: null
output_dir: out
ckpt_path: null
device: cpu
amp: true
modalities: [ct]
roi_size: [8, 8, 8]
network_def: '@small'
small: {_target_: fractions.Fraction, numerator: 1}
large: {_target_: fractions.Fraction, numerator: 2}
"""
TRAIN = """
seed: 0
resume: false
epochs: 3
learning_rate: 1.0e-3
num_workers: 0
val_interval: 1
fold: 0
failure: none
train:
  dataset: {data: []}
  inferer: null
  handlers: []
  preprocessing: null
  postprocessing: null
  key_metric: null
  trainer:
    _target_: toy_parts.Trainer
    max_epochs: '@epochs'
    output_dir: '@output_dir'
    resume: '@resume'
    learning_rate: '@learning_rate'
validate:
  evaluator: null
  dataset: {data: []}
  dataloader: null
  inferer: null
  preprocessing: null
  postprocessing: null
  key_metric: null
  handlers: []
initialize:
- $toy_parts.fail(@failure)
run:
- $@train::trainer.run()
"""
INFERENCE = """
save_probabilities: false
failing: ''
dataset: {data: []}
handlers: []
inferer: null
preprocessing: null
postprocessing: null
key_metric: null
evaluator:
  _target_: toy_parts.Evaluator
  data: '@dataset::data'
  output_dir: '@output_dir'
  failing: '@failing'
initialize: []
run:
- $@evaluator.run()
"""


OWN_NAMES = """
fractions.Fraction
toy_parts
toy_parts.Evaluator
toy_parts.Loop
toy_parts.Trainer
toy_parts.fail
"""


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This user's settings, which let the toy bundles' parts in."""
    folder = tmp_path / "settings" / "medseg"
    folder.mkdir(parents=True)
    (folder / "allowed.txt").write_text(OWN_NAMES)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder.parent))
    return folder


@pytest.fixture(scope="session", autouse=True)
def toy_parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the toy bundles' targets point at."""
    folder = tmp_path_factory.mktemp("parts")
    (folder / "toy_parts.py").write_text(PARTS)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Path]:
    """Writes a toy bundle that trains nothing; text given by a file's name is appended to that file."""

    def make(name: str = "toy", **more: str) -> Path:
        root = tmp_path / "bundles" / name
        (root / "configs").mkdir(parents=True)
        (root / "docs").mkdir()
        (root / "LICENSE").write_text("Apache License 2.0. " * 12)
        (root / "docs" / "README.md").write_text("# toy\n## Input\n## Output\n## Data\n## Training\n## Limits\n")
        (root / "configs" / "metadata.json").write_text(json.dumps(METADATA))
        for file, text in {"common": COMMON, "train": TRAIN, "inference": INFERENCE}.items():
            (root / "configs" / f"{file}.yaml").write_text(text + more.get(file, ""))
        return root

    return make


@pytest.fixture
def plant(tmp_path: Path) -> Callable[..., list[str]]:
    """Changes one file in a copy of a bundle of ours; what the check says of the line with the text `at`.

    Without an `old`, the file is a new one.
    """
    from medseg.bundle.check import check_bundle
    from medseg.bundle.find import find_bundle

    def change(bundle: str, file: str, old: str, new: str, *, at: str) -> list[str]:
        ignored = shutil.ignore_patterns("runs", "*.pt")
        root = shutil.copytree(find_bundle(bundle), tmp_path / bundle, ignore=ignored)
        path = root / file
        before = path.read_text() if old else ""
        assert old in before, "the bundle has changed; plant the fault anew"
        text = before.replace(old, new, 1) if old else new
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        line = text.count("\n", 0, text.index(at)) + 1
        findings = [f for f in check_bundle(root, presets=[]) if f.level != "note"]
        here = [str(f) for f in findings if f.where.split(": ")[0] == f"{file}:{line}"]
        assert here, f"wanted {file}:{line}, found:\n" + "\n".join(map(str, findings))
        return here

    return change
