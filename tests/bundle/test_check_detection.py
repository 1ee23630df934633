"""Faults planted one at a time in a copy of the detection bundle: each is found at its file and line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medseg.bundle.check import check_bundle
from medseg.bundle.find import find_bundle

BUNDLE = "lung_nodule_ct_detection"
COMMON, TRAIN, META = "configs/common.yaml", "configs/train.yaml", "configs/metadata.json"
ANCHORS_OF_ONE = "  num_anchors: $len(@base_anchor_shapes)\n  size_divisible: '@size_divisible'\n\n"

# File, what stands there, what takes its place, text on the line where it must be found, and what must be said.
FAULTS = {
    "crop": (COMMON, "roi_size: [192, 192, 80]", "roi_size: [192, 192, 84]", "roi_size: [", "not divisible by 16x16x8"),
    "window": (COMMON, "[256, 256, 128]", "[250, 256, 128]", "window_size: [", "not divisible by 16x16x8"),
    "axes of a window": (COMMON, "[256, 256, 128]", "[256, 256]", "window_size: [", "has 2 axes"),
    "last crop": (TRAIN, "'@roi_size'", "[100, 96, 96]", "[100, 96, 96]", "not divisible by 16x16x8"),
    "anchors at a place": (
        COMMON,
        ANCHORS_OF_ONE,
        "  num_anchors: 2\n  size_divisible: '@size_divisible'\n\n",
        "num_anchors: 2",
        "2 anchors at each place, but base_anchor_shapes of anchors has 3",
    ),
    "levels": (
        COMMON,
        "feature_map_scales: [1, 2, 4]",
        "feature_map_scales: [1, 2]",
        "feature_map_scales: [1, 2]",
        "2 scales, but resnet50_fpn::feature_extractor (resnet_feature_pyramid) has 3 levels",
    ),
    "stages": (COMMON, "    channels: [32, 64]", "    channels: [32]", "    blocks: [1, 2]", "2 numbers of blocks"),
    "groups": (COMMON, "    out_channels: 32", "    out_channels: 30", "    out_channels: 30", "multiples of 8"),
    "strides": (
        COMMON,
        "size_divisible: [16, 16, 8]",
        "size_divisible: [8, 8, 4]",
        "size_divisible: [8, 8, 4]",
        "no multiples of [16, 16, 8], the strides of resnet50_fpn's coarsest level",
    ),
    "coarser stage": (
        COMMON,
        "returned_layers: [1, 2]",
        "returned_layers: [1, 3]",
        "size_divisible: [16",
        "no multiples of [32, 32, 16]",
    ),
    "folds": (
        COMMON,
        "    stem: 16",
        "    fold: [4, 4, 2]\n    stem: 16",
        "size_divisible: [16",
        "no multiples of [32, 32, 16], the strides of light_fpn's",
    ),
    "widths of an anchor": (COMMON, "[8, 6, 5]", "[8, 0, 5]", "base_anchor_shapes: [[", "anchor 1 is [8, 0, 5]"),
    "axes of an anchor": (COMMON, "[8, 6, 5]", "[8, 6]", "base_anchor_shapes: [[", "three widths above 0"),
    "classes": (
        COMMON,
        "  num_classes: $len(@label_names)\n  num_anchors",
        "  num_classes: 2\n  num_anchors",
        "  num_classes: 2",
        "2 classes, but label_names has 1",
    ),
    "channels": (COMMON, "modalities: [ct]", "modalities: [ct, pet]", "  feature_extractor:", "takes 1 channels"),
    "names of the classes": (META, '"0": "nodule"', '"0": "lesion"', '"0": "lesion"', "class 0 is 'lesion' here"),
    "number of classes": (META, '"channel_def": { "0": "nodule" }', '"channel_def": { "0": "nodule", "1": "mass" }',
                          '"1": "mass"', "channel_def says 2 channels"),
    "spatial shape": (META, '["16*n", "16*n", "8*n"]', '["8*n", "16*n", "8*n"]', '"8*n"', "not divisible by 16"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_detector_is_found_at_its_line(tmp_path: Path, name: str) -> None:
    file, old, new, at, says = FAULTS[name]
    root = shutil.copytree(find_bundle(BUNDLE), tmp_path / BUNDLE, ignore=shutil.ignore_patterns("runs"))
    before = (root / file).read_text()
    assert old in before, "the bundle has changed; plant the fault anew"
    text = before.replace(old, new, 1)
    (root / file).write_text(text)
    line = text.count("\n", 0, text.index(at)) + 1
    findings = [f for f in check_bundle(root, presets=[]) if f.level != "note"]
    said = "\n".join(map(str, findings))
    here = [f for f in findings if f.where.split(": ")[0] == f"{file}:{line}"]
    assert here, f"wanted {file}:{line}, found:\n{said}"
    assert any(says in str(f) for f in here), said


def test_the_window_of_monai_s_detector_is_looked_at_too(tmp_path: Path) -> None:
    root = shutil.copytree(find_bundle(BUNDLE), tmp_path / BUNDLE, ignore=shutil.ignore_patterns("runs"))
    path = root / "configs" / "inference.yaml"
    call = "big_window: [500, 512, 192]\ndetector_ops: ['$@detector.set_sliding_window_inferer(roi_size=@big_window)']"
    path.write_text(path.read_text().replace("detector_ops: []", call))
    assert any("big_window: [500, 512, 192] is not divisible by 16x16x8" in str(f) for f in check_bundle(root))
