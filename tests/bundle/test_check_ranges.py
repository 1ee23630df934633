"""Values of the right kind that nothing can be done with: found at their line in a copy of a bundle of ours."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medseg.bundle.check import check_bundle
from medseg.bundle.find import find_bundle

BRATS, LUNA = "brats_mri_segmentation", "lung_nodule_ct_detection"
COMMON, TRAIN, META = "configs/common.yaml", "configs/train.yaml", "configs/metadata.json"

FAULTS = [
    (BRATS, COMMON, "spacing_mm: [1.0, 1.0, 1.0]", "spacing_mm: [1.0, 1.0]", "has 2 axes; 3 are wanted"),
    (BRATS, COMMON, "spacing_mm: [1.0, 1.0, 1.0]", "spacing_mm: [1.0, 0.0, 1.0]", "wanted above 0"),
    (BRATS, COMMON, "overlap: 0.5", "overlap: 1.5", "wanted from 0 to below 1"),
    (BRATS, COMMON, "amp_dtype: bfloat16", "amp_dtype: bfloat", "is none of bfloat16, float16"),
    (BRATS, COMMON, "dropout_prob: 0.2", "dropout_prob: 2.0", "out of range"),
    (BRATS, COMMON, "axcodes: RAS", "axcodes: RRS", "'RRS' is no orientation"),
    (BRATS, COMMON, "[t1, t1c, t2, flair]", "[t1, t1c, t2, t2]", "'t2' comes twice"),
    (BRATS, COMMON, "[t1, t1c, t2, flair]", "[t1, t1c, t2, flare]", "'flare' is 'FLAIR' in the metadata"),
    (BRATS, COMMON, "monai.networks.nets.UNet", "monai.networks.nets.unet", "is a module"),
    (BRATS, TRAIN, "learning_rate: 4.0e-3", "learning_rate: -4.0e-3", "wanted above 0"),
    (BRATS, TRAIN, "prob: 0.5", "prob: 5.0", "wanted from 0 to 1"),
    (BRATS, TRAIN, "spatial_keys: [image, label]", "spatial_keys: [image, lable]", "Did you mean 'label'"),
    (BRATS, TRAIN, "optimizer: '@optimizer'", "optimizer: optimizer", "Write '@optimizer'"),
    (BRATS, META, '"modality": "MR"', '"modality": 3', "string is wanted"),
    (LUNA, COMMON, "window_hu: [-1024.0, 300.0]", "window_hu: [300.0, -1024.0]", "is empty"),
    (LUNA, COMMON, "nms_iou: 0.22", "nms_iou: 22", "wanted from 0 to 1"),
    (LUNA, COMMON, "a_min: $@window_hu[0]", "a_min: $@window_hu[2]", "beyond the end of a list"),
    (LUNA, COMMON, "a_min: $@window_hu[0]", "a_min: 900", "the window from 900 to 300.0 is empty"),
]


@pytest.mark.parametrize(("bundle", "file", "old", "new", "says"), FAULTS)
def test_an_impossible_value_is_found_at_its_line(
    tmp_path: Path, bundle: str, file: str, old: str, new: str, says: str
) -> None:
    root = shutil.copytree(find_bundle(bundle), tmp_path / bundle, ignore=shutil.ignore_patterns("runs"))
    before = (root / file).read_text()
    assert old in before, "the bundle has changed; plant the fault anew"
    text = before.replace(old, new, 1)
    (root / file).write_text(text)
    line = text.count("\n", 0, text.index(new)) + 1
    findings = [f for f in check_bundle(root, presets=[]) if f.level != "note"]
    here = [str(f) for f in findings if f.where.split(": ")[0] == f"{file}:{line}"]
    assert any(says in text for text in here), "\n".join(map(str, findings))


def test_a_method_that_a_class_lacks_is_found(tmp_path: Path) -> None:
    root = shutil.copytree(find_bundle(BRATS), tmp_path / BRATS, ignore=shutil.ignore_patterns("runs"))
    path = root / "configs" / "common.yaml"
    path.write_text(path.read_text() + "coder: {_target_: json.JSONDecoder}\ncoded: $@coder.decod('1')\n")
    said = [str(f) for f in check_bundle(root, presets=[])]
    assert any("@coder has no 'decod'. Did you mean 'decode'?" in text for text in said), said
