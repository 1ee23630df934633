"""Words that an argument does not know, and lists that do not fit: found at their line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medseg.bundle.check import check_bundle
from medseg.bundle.find import find_bundle

HIPPOCAMPUS, LUNA, MSD = "hippocampus_mri_segmentation", "lung_nodule_ct_detection", "msd_organ_segmentation"
COMMON, TRAIN, INFERENCE = "configs/common.yaml", "configs/train.yaml", "configs/inference.yaml"

FAULTS = [
    (TRAIN, "spatial_modes: [bilinear, nearest]", "spatial_modes: [bilinaer, nearest]", "Did you mean 'bilinear'"),
    (TRAIN, "  mode: [bilinear, nearest]", "  mode: [bilinear, naerest]", "Did you mean 'nearest'"),
    (
        TRAIN,
        "spatial_modes: [bilinear, nearest]",
        "spatial_modes: [bilinear, nearest, nearest]",
        "3 modes for the 2",
    ),
    (TRAIN, "padding_mode: zeros", "padding_mode: zero", "Did you mean 'zeros'"),
    (INFERENCE, "section: validation", "section: validaton", "Did you mean 'validation'"),
    (INFERENCE, "    keys: pred\n    sigmoid", "    keys: prde\n    sigmoid", "Did you mean 'pred'"),
    (COMMON, "norm_name: [INSTANCE,", "norm_name: [INSTANSE,", "Did you mean 'instance'"),
    (COMMON, "amp: true", "amp: ture", "Write true or false"),
    (COMMON, "filters: [16, 32, 64, 128]", "filters: [16, 32, 64]", "3 filters for 4 strides"),
    (COMMON, "upsample_kernel_size: [2, 2, 2]", "upsample_kernel_size: [2, 2]", "2 kernels for 3 steps up"),
    (COMMON, "{anterior: 1, posterior: 2}", "{anterior: 0, posterior: 2}", "anterior"),
    (COMMON, "{anterior: 1, posterior: 2}", "{anterior: 1, posterior: 1}", "also in a later region"),
]
OTHERS = [
    (MSD, COMMON, "act: LEAKYRELU", "act: LEEKYRELU", "Did you mean 'leakyrelu'"),
    (LUNA, COMMON, "annotations: boxes", "annotations: box", "'box' is none of boxes, masks"),
]


@pytest.mark.parametrize(
    ("bundle", "file", "old", "new", "says"), [*((HIPPOCAMPUS, *fault) for fault in FAULTS), *OTHERS]
)
def test_a_word_or_a_list_that_does_not_fit_is_found_at_its_line(
    tmp_path: Path, bundle: str, file: str, old: str, new: str, says: str
) -> None:
    root = shutil.copytree(find_bundle(bundle), tmp_path / bundle, ignore=shutil.ignore_patterns("runs", "models"))
    before = (root / file).read_text()
    assert old in before, "the bundle has changed; plant the fault anew"
    text = before.replace(old, new, 1)
    (root / file).write_text(text)
    line = text.count("\n", 0, text.index(new)) + 1
    findings = [f for f in check_bundle(root, presets=[]) if f.level != "note"]
    here = [str(f) for f in findings if f.where.split(": ")[0] == f"{file}:{line}"]
    assert any(says in text for text in here), "\n".join(map(str, findings))
    assert len(here) == len(findings), "\n".join(map(str, findings))


def test_a_spline_and_a_reference_are_ways_to_interpolate(tmp_path: Path) -> None:
    root = shutil.copytree(find_bundle(HIPPOCAMPUS), tmp_path / HIPPOCAMPUS, ignore=shutil.ignore_patterns("runs"))
    path = root / TRAIN
    path.write_text(path.read_text().replace("spatial_modes: [bilinear, nearest]", "spatial_modes: [3, nearest]"))
    assert [f for f in check_bundle(root, presets=[]) if f.level == "error"] == []
