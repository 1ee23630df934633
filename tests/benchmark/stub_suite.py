"""A tiny dataset and a suite on it whose heavy stages are cheap.

`python stub_suite.py DATA OUT STEP_S [EXECUTOR [AT_ONCE]]` runs it.
"""

import hashlib
import json
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from medseg.benchmark.executors import make_executor
from medseg.benchmark.heavy import StageError
from medseg.benchmark.local import run_suite
from medseg.benchmark.suite import read_suite
from medseg.bundle.split_record import write_split

SUITE = """
name: stub
dataset: {folder: DATA}
folds: {run: [0, 1]}
seeds: [0, 1]
regions: {blob: 1}
entries:
- {name: good, bundle: brats_mri_segmentation, overrides: {modalities: [t1]}}
- {name: poor, bundle: brats_mri_segmentation, overrides: {modalities: [t1], learning_rate: 0.1}}
"""


def write_dataset(folder, *, cases=6, folds=3):
    entries = []
    for number in range(cases):
        labels = np.zeros((8, 8, 8), np.uint8)
        labels[1:5, 1:5, 1 : 3 + number % 3] = 1
        folder.mkdir(parents=True, exist_ok=True)
        for kind, array in (("t1", labels.astype(np.float32)), ("seg", labels)):
            nib.Nifti1Image(array, np.eye(4)).to_filename(folder / f"p{number}_{kind}.nii.gz")
        entries.append(
            {
                "case_id": f"p{number}",
                "image": f"p{number}_t1.nii.gz",
                "label": f"p{number}_seg.nii.gz",
                "fold": number % folds,
            }
        )
    content = {"name": "tiny", "modality": {"0": "t1"}, "training": entries}
    (folder / "datalist.json").write_text(json.dumps(content))
    return folder


def write_suite(path, data, text=SUITE):
    path.write_text(text.replace("DATA", str(data)))
    return read_suite(path)


class Stub:
    """Trains and predicts in no time, or in small steps that a kill can fall between."""

    def __init__(self, step_s=0.0, fail_training=(), fail_cases=(), spoil_split=None):
        self.step_s, self.fail_training, self.fail_cases, self.spoil_split = (
            step_s,
            fail_training,
            fail_cases,
            spoil_split,
        )
        self.trained, self.predicted = [], []

    def train(self, work):
        folder = Path(work.folder)
        run = folder / "run"
        if folder.name in self.fail_training:
            msg = f"{run}: the training ended with code 1: out of memory."
            raise StageError(msg)
        self.trained.append(folder.name)
        run.mkdir(exist_ok=True)
        done = run / "epochs.txt"
        for epoch in range(len(done.read_text()) if done.exists() else 0, 3):
            time.sleep(self.step_s)
            done.write_text("x" * (epoch + 1))
        datalist = json.loads((folder / "datalist.json").read_text())
        lists = {name: [entry["case_id"] for entry in datalist[name]] for name in ("training", "validation")}
        if self.spoil_split:
            self.spoil_split(lists)
        (run / "run.json").write_text(json.dumps({"split": write_split(run, lists)}))
        (run / "model.pt").write_text(json.dumps([sorted(work.overrides)[0], folder.name, lists]))

    def predict(self, work):
        folder, quality = Path(work.folder), 1 if "good" in Path(work.folder).name else 2
        out = folder / "predictions"
        out.mkdir(exist_ok=True)
        failed = {}
        for item in work.items:
            case = item["case_id"]
            target = out / f"{case}.nii.gz"
            if case in self.fail_cases:
                failed[case] = f"{case}: broken"
                continue
            if target.exists():
                continue
            self.predicted.append((folder.name, case))
            time.sleep(self.step_s)
            image = np.asarray(nib.load(item["image"]).dataobj) > 0.5
            draw = int(hashlib.sha256(f"{folder.name}{case}".encode()).hexdigest(), 16) % 2
            shifted = np.roll(image, quality - 1 + draw, axis=2).astype(np.uint8)
            temporary = out / f".{case}.tmp.nii.gz"
            if "save_probabilities=true" in work.overrides:
                (out / "probabilities").mkdir(exist_ok=True)
                sure = (0.1 + 0.8 * shifted).astype(np.float32)
                nib.Nifti1Image(sure[..., None], np.eye(4)).to_filename(out / "probabilities" / f"{case}.nii.gz")
            nib.Nifti1Image(shifted, np.eye(4)).to_filename(temporary)
            temporary.replace(target)
        return failed


if __name__ == "__main__":
    data, out, step_s, *how = sys.argv[1:]
    executor = make_executor(how[0] if how else "local", at_once=int(how[1]) if how[1:] else None)
    run_suite(read_suite(Path(data).parent / "suite.yaml"), Path(out), heavy=Stub(float(step_s)), executor=executor)
