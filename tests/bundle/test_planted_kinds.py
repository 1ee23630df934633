"""What people who edit bundles do wrong, one fault of each kind: each is found at its file and line."""

# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.bundle.check import check_bundle

LUNG = "lung_nodule_ct_detection"
BRATS, MSD, HIPPOCAMPUS = "brats_mri_segmentation", "msd_organ_segmentation", "hippocampus_mri_segmentation"
TRAIN, INFERENCE, EVALUATE = "configs/train.yaml", "configs/inference.yaml", "configs/evaluate.yaml"
CARD, LOGGING, LARGE = "docs/README.md", "configs/logging.conf", "large_files.yml"
METADATA, PLAN, ARGS = "configs/metadata.json", "configs/plans/phantom.yaml", "configs/args/evaluate.yaml"
SAVE = "  - _target_: medseg.transforms.SaveCased\n    keys: pred\n    output_dir: '@output_dir'\n"
TERMS = "  terms:\n    dice:\n      _target_: monai.losses.DiceLoss\n      sigmoid: true\n      batch: true\n      smooth_nr: 1.0\n      smooth_dr: 1.0\n    bce:\n      _target_: torch.nn.BCEWithLogitsLoss\n"
SETTLE = "  - _target_: medseg.transforms.SettleRegionsd    # of labels that exclude each other, the likeliest\n    keys: pred\n    convention: '@label_convention'\n    threshold: 0.5\n"
NUMBER = "  - _target_: medseg.transforms.RegionsToLabelsd\n    keys: pred\n    convention: '@label_convention'\n"

# Bundle, file, what stands there, what takes its place, text on the line where it must be found, what must be said.
# fmt: off
FAULTS = [
    (HIPPOCAMPUS, INFERENCE, "orig_keys: image", "orig_keys: label", "orig_keys: label", "no transform of preprocessing works on 'label', only on image"),
    (HIPPOCAMPUS, INFERENCE, SETTLE + NUMBER, NUMBER + SETTLE, "medseg.transforms.SettleRegionsd", "comes after the channels have become one label map"),
    (HIPPOCAMPUS, INFERENCE, "$not @save_probabilities", "$not save_probabilities", "$not save", "Write '@save_probabilities' for the key of the config"),
    (HIPPOCAMPUS, EVALUATE, "+postprocessing::transforms", "postprocessing::transforms", "postprocessing::transforms", "takes the place of all 6 steps of configs/inference.yaml:44"),
    (HIPPOCAMPUS, TRAIN, "RandGaussianNoised\n  keys: image", "RandGaussianNoised\n  keys: [image, label] # all", "keys: [image, label] # all", "changes the values of 'label', which are classes"),
    (BRATS, TRAIN, "  keys: [image, label]\n  prob: 0.5\n  spatial_axis: 1", "  keys: [image] # one\n  prob: 0.5\n  spatial_axis: 1", "keys: [image] # one", "moves 'image' and leaves 'label' where it was"),
    (BRATS, TRAIN, "  keys: [image, label]\n  prob: 0.5\n  spatial_axis: 1", "  keys: label # one\n  prob: 0.5\n  spatial_axis: 1", "keys: label # one", "moves 'label' and leaves 'image' where it was"),
    (HIPPOCAMPUS, METADATA, '"modality": "MR"', '"modality": "CT"', '"modality"', "is 'CT', but modalities are ['mr']. Write 'MR'"),
    (MSD, METADATA, '"modality": "CT"', '"modality": "MRI"', '"modality"', "is 'MRI', but modalities are ['ct']. Write 'CT'"),
    (HIPPOCAMPUS, METADATA, '    "medseg": "0.1.0",\n', "", '"required_packages_version"', "medseg is missing: configs/common.yaml:"),
    (MSD, PLAN, "regions: [liver, spleen]", "regions: [liver, spleen, kidney]", "regions: [liver", "are not the regions of {'liver': 1, 'spleen': 2}"),
    (HIPPOCAMPUS, ARGS, "- configs/inference.yaml\n- configs/evaluate.yaml", "- configs/evaluate.yaml\n- configs/inference.yaml", "- configs/inference.yaml", "inference comes after evaluate, and would lie over it"),
    (BRATS, TRAIN, "  pos: '@tumour_share'\n  neg: $1 - @tumour_share", "  pos: 0\n  neg: 0", "  neg: 0", "neither pos nor neg has a share"),
    (HIPPOCAMPUS, TRAIN, TERMS, "  terms: {}\n", "  terms: {}", "a sum of no terms is no loss"),
    (LUNG, TRAIN, "params: '@parameters'", "params: '@network'", "params: '@network'", "is a network, whose parameters are wanted. Write '$@network.parameters()'"),
    (LUNG, TRAIN, "params: '@parameters'", "params: '@network_def'", "params: '@network_def'", "is a network, whose parameters are wanted"),
    (HIPPOCAMPUS, TRAIN, "val_data_loader: '@validate::dataloader'", "val_data_loader: '@train::dataloader'", "val_data_loader", "validates on the batches of the training"),
    (HIPPOCAMPUS, INFERENCE, "runtime: torch", "runtime: onnx", "runtime: onnx", "'onnx' is none of torch, onnxruntime, openvino"),
    (HIPPOCAMPUS, EVALUATE, "  score: '@score'\n", "", "score:", "nothing refers to '@score'"),
    (HIPPOCAMPUS, TRAIN, "    checkpoint: '@train::checkpoint'\n", "", "  checkpoint:", "nothing refers to '@train::checkpoint'"),
    (HIPPOCAMPUS, TRAIN, "$@train::trainer.run()", "$@validate::evaluator.run()", "- $@validate", "runs the validation alone, and trains nothing"),
    (BRATS, METADATA, '["32*n", "32*n", "32*n"]', '["32n", "32*n", "32*n"]', '"32n"', "is '32n', which does not look like a size"),
    (HIPPOCAMPUS, CARD, "configs/args/train.yaml", "configs/args/training.yaml", "training.yaml", "the bundle has no 'configs/args/training.yaml'"),
    (HIPPOCAMPUS, LOGGING, "sys.stdout", "sys.stdot", "sys.stdot", "sys has no 'stdot'. Did you mean 'stdout'?"),
    (HIPPOCAMPUS, LOGGING, "(sys.stdout,)", "(sys.stdout,", "args=", "is no Python expression"),
    (LUNG, LARGE, "hash_type: md5", "hash_type: md-5", "md-5", "'md-5' is no hash that is known"),
    (HIPPOCAMPUS, "configs/common.yaml", "'/models/model.safetensors'", "'/model/model.safetensors'", "ckpt_path", "the bundle has no 'model/model.safetensors'; it has models/model.safetensors"),
    (HIPPOCAMPUS, TRAIN, "run_dir: '@output_dir'", "run_dir: output_dir", "run_dir: output_dir", "'output_dir' is a text to RunCheckpoint. Write '@output_dir'"),
    (HIPPOCAMPUS, TRAIN, "device: '@device'", "device: gpu", "device: gpu", "torch knows no device 'gpu'"),
    (HIPPOCAMPUS, TRAIN, "lr_scheduler: '@lr_scheduler'", "lr_scheduler: '@optimizer'", "lr_scheduler: '@optimizer'", "torch.optim.AdamW is an optimiser, and no schedule"),
    (HIPPOCAMPUS, TRAIN, "$[@load] + @label_transforms + @spatial_transforms", "$@label_transforms + @spatial_transforms + [@load]", "deterministic_transforms:", "3 steps come before LoadCased"),
    (HIPPOCAMPUS, INFERENCE, NUMBER + SAVE, SAVE + NUMBER, "medseg.transforms.SaveCased\n    keys: pred\n    output_dir: '@", "saves the channels before they have become one label map"),
    (BRATS, TRAIN, "+ [@crop_indices] + @random", "+ @random", "fg_indices_key", "no step before it makes these indices"),
    (BRATS, INFERENCE, "    sigmoid: true", "    softmax: true", "softmax: true", "a voxel may be in several of the regions"),
    (MSD, "configs/common.yaml", "['@clip_ct']", "['clip_ct']", "['clip_ct']", "'clip_ct' is a text among transforms. Write '@clip_ct'"),
    (HIPPOCAMPUS, ARGS, "- configs/common.yaml\n", "", "config_file:", "common is missing. Wanted: common, inference, evaluate"),
]
# fmt: on


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault[4].strip()}: {fault[5]}")
def test_a_fault_is_found_at_its_line(plant: Callable[..., list[str]], fault: tuple[str, ...]) -> None:
    bundle, file, old, new, at, says = fault
    found = plant(bundle, file, old, new, at=at)
    assert any(says in text for text in found), found


LOSS = "loss: {_target_: scripts.losses.%s}\n"
CARRIED = [
    (
        "import torch\n\nclass FocalBCE(torch.nn.Module): ...\n",
        "FocalBce",
        "has no 'FocalBce'. Did you mean 'FocalBCE'?",
    ),
    ("import torch\nclass FocalBCE(torch.nn.Module)\n    pass\n", "FocalBCE", "scripts/losses.py:2 is no Python"),
    ("import torch\nclass FocalBCE(torch.nn.Module): ...\n", "FocalBCE", ""),
    ("from torch.nn import *\n", "BCELoss", ""),
]


@pytest.mark.parametrize(("source", "name", "says"), CARRIED)
def test_a_name_in_the_bundles_own_code_is_looked_for_in_its_text(
    make_bundle: Callable[..., Path], source: str, name: str, says: str
) -> None:
    root = make_bundle(train=LOSS % name)
    (root / "scripts").mkdir()
    (root / "scripts" / "losses.py").write_text(source + "raise SystemExit('nothing of it may run')\n")
    found = [str(f) for f in check_bundle(root, presets=[]) if f.level == "error" and "scripts" in str(f)]
    assert [says in text for text in found] == ([True] if says else []), found


def test_a_module_that_the_bundle_lacks_is_found_where_others_are_there(make_bundle: Callable[..., Path]) -> None:
    root = make_bundle(train=(LOSS % "Focal").replace("losses", "loses"))
    (root / "scripts").mkdir()
    (root / "scripts" / "__init__.py").write_text("")
    assert not [f for f in check_bundle(root, presets=[]) if f.level == "error"]
    (root / "scripts" / "losses.py").write_text("class Focal: ...\n")
    found = [str(f) for f in check_bundle(root, presets=[]) if f.level == "error"]
    assert any("scripts has no module 'loses'. Did you mean 'losses'?" in text for text in found), found


def test_a_plan_is_no_fault_where_the_config_under_it_cannot_be_read(tmp_path: Path) -> None:
    import shutil

    from medseg.bundle.find import find_bundle

    root = shutil.copytree(find_bundle(MSD), tmp_path / MSD)
    path = root / TRAIN
    path.write_text(path.read_text().replace("    max_epochs:", "\t\tmax_epochs:", 1))
    assert {f.file for f in check_bundle(root, presets=[])} == {TRAIN}
