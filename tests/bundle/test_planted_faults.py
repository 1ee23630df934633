"""Faults planted one at a time in a copy of a bundle of ours: each is found at its file and line."""

# ruff: noqa: E501

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from medseg.bundle.check import check_bundle
from medseg.bundle.find import find_bundle

BUNDLE = "brats_mri_segmentation"


@dataclass(frozen=True)
class Fault:
    """A change of one file, the text on the line where it must be found, and what must be said."""

    file: str
    old: str
    new: str
    at: str
    says: str


COMMON, TRAIN, INFERENCE = "configs/common.yaml", "configs/train.yaml", "configs/inference.yaml"
EVALUATE, META, LARGE = "configs/evaluate.yaml", "configs/metadata.json", "large_files.yml"

FAULTS = {
    # --- syntax and keys -------------------------------------------------------------------------------------
    "YAML bracket": Fault(COMMON, "[1.0, 1.0, 1.0]", "[1.0, 1.0, 1.0", "spacing_mm: [", "not valid YAML"),
    "YAML tab": Fault(TRAIN, "seed: 0", "seed:\t0\n\tbad: 1", "bad: 1", "not valid YAML"),
    "YAML indentation": Fault(
        TRAIN,
        "  network: '@network'\n  decay",
        "   network: '@network'\n  decay",
        "   network: '@network'\n  decay",
        "not valid",
    ),
    "JSON comma": Fault(
        META, '"monai_version": "1.6.1",', '"monai_version": "1.6.1"', '"pytorch_version"', "not valid JSON"
    ),
    "duplicate key": Fault(TRAIN, "batch_size: 2", "batch_size: 2\nbatch_size: 4", "batch_size: 4", "comes twice"),
    "duplicate nested key": Fault(
        COMMON, "  dropout_prob: 0.2", "  dropout_prob: 0.2\n  init_filters: 8", "init_filters: 8", "comes twice"
    ),
    "duplicate JSON key": Fault(
        META, '"name": "BraTS', '"task": "x",\n  "name": "BraTS', '"task": "Brain', "comes twice"
    ),
    "unknown key": Fault(
        TRAIN, "seed: 0", "seed: 0\nlerning_rate: 0.1", "lerning_rate", "Did you mean 'learning_rate'"
    ),
    "left-over key": Fault(
        COMMON, "tta: false", "tta: false\nforgotten: [1, 2]", "forgotten", "nothing reads this key"
    ),
    "shadowed key": Fault(
        TRAIN, "seed: 0", "seed: 0\nnum_workers: 8", "num_workers: 8", "hides the value that configs/common"
    ),
    "key set twice by path": Fault(
        TRAIN,
        "initialize:",
        "train::inferer: null\ntrain: {a: 1}\ninitialize:",
        "train: {a: 1}",
        "comes twice|replaces what",
    ),
    "key that is no text": Fault(COMMON, "tta: false", "tta: false\nno: 1", "no: 1", "reads the key no as no text"),
    "special key": Fault(
        TRAIN,
        "    _target_: torch.nn.BCE",
        "    _disable_: true\n    _target_: torch.nn.BCE",
        "_disable_",
        "none of MONAI's special keys",
    ),
    "misspelt _target_": Fault(
        COMMON,
        "_target_: monai.networks.nets.SegResNet",
        "_targets_: monai.networks.nets.SegResNet",
        "_targets_",
        "none of MONAI's special keys",
    ),
    "target without underscores": Fault(
        TRAIN, "_target_: torch.nn.BCE", "target: torch.nn.BCE", "target: torch.nn.BCE", "Did you mean '_target_'"
    ),
    "key of an overlay without parent": Fault(
        EVALUATE, "load::label_key", "laod::label_key", "laod::", "has no parent"
    ),
    # --- references and expressions --------------------------------------------------------------------------
    "reference": Fault(INFERENCE, "overlap: '@overlap'", "overlap: '@overlp'", "'@overlp'", "Did you mean '@overlap'"),
    "nested reference": Fault(
        TRAIN, "dataset: '@train::dataset'", "dataset: '@train::datset'", "train::datset", "refers to a key"
    ),
    "reference in an expression": Fault(
        COMMON, "$len(@modalities)", "$len(@modalitis)", "modalitis", "Did you mean '@modalities'"
    ),
    "reference in a list of an expression": Fault(INFERENCE, "$[@load] +", "$[@laod] +", "@laod", "refers to a key"),
    "reference with a dot": Fault(
        TRAIN,
        "transform: '@train::preprocessing'",
        "transform: '@train.preprocessing'",
        "@train.pre",
        "a text to MONAI",
    ),
    "reference with a rest": Fault(
        INFERENCE, "path: '@ckpt_path'", "path: '@bundle_root/models/a.pt'", "@bundle_root/", "a reference stands alone"
    ),
    "macro of nothing": Fault(INFERENCE, "tta: '@tta'", "tta: '%tto'", "%tto", "copies a key"),
    "macro of a file": Fault(INFERENCE, "tta: '@tta'", "tta: '%common.yaml::tta'", "%common", "working directory"),
    "circle": Fault(
        COMMON, "num_channels: $len(@modalities)", "num_channels: '@num_channels'", "num_channels: '@", "circle"
    ),
    "expression syntax": Fault(TRAIN, "neg: $1 - @tumour_share", "neg: $1 - ", "neg: $1 -", "not a Python expression"),
    "unknown name": Fault(
        INFERENCE, "$not @save_probabilities", "$nott(@save_probabilities)", "$nott", "unknown name 'nott'"
    ),
    "function that is not there": Fault(
        INFERENCE,
        "$monai.utils.set_determinism",
        "$monai.utils.set_determinsm",
        "set_determinsm",
        "Did you mean 'set_determinism'",
    ),
    "keyword of a function": Fault(
        INFERENCE, "set_determinism(seed=0)", "set_determinism(seeds=0)", "seeds=0", "takes no argument 'seeds'"
    ),
    "at sign in a text": Fault(
        INFERENCE, "$@output_dir + '/probabilities'", "$@output_dir + '/a@b'", "/a@b", "refers to a key"
    ),
    # --- targets and arguments -------------------------------------------------------------------------------
    "target": Fault(
        COMMON, "medseg.transforms.Spacingd", "medseg.transforms.Spacngd", "Spacngd", "Did you mean 'Spacingd'"
    ),
    "target's package": Fault(TRAIN, "torch.optim.AdamW", "torchoptim.AdamW", "torchoptim", "is not installed"),
    "target of ours": Fault(
        INFERENCE, "medseg.inference.SlidingWindow", "medseg.inference.SlideWindow", "SlideWindow", "does not exist"
    ),
    "argument": Fault(COMMON, "num_res_units: 2", "num_res_unit: 2", "num_res_unit: 2", "Did you mean 'num_res_units'"),
    "argument of a nested component": Fault(
        TRAIN, "    gamma: [0.7, 1.5]", "    gama: [0.7, 1.5]", "gama:", "takes no argument 'gama'"
    ),
    "argument missing": Fault(
        COMMON,
        "  spatial_dims: 3\n  in_channels: '@num_channels'\n  out_channels: $len(@regions)\n  channels",
        "  spatial_dims: 3\n  in_channels: '@num_channels'\n  channels",
        "residual_unet:",
        "needs the argument 'out_channels'",
    ),
    "kind of an argument": Fault(
        COMMON, "init_filters: 16", "init_filters: sixteen", "sixteen", "takes init_filters: int"
    ),
    "kind of a list's elements": Fault(
        COMMON,
        "channels: [32, 64, 128, 256]",
        "channels: [32, 64, 128, wide]",
        "wide]",
        "takes channels: Sequence[int]",
    ),
    "number as text in an argument": Fault(
        COMMON, "dropout_prob: 0.2", "dropout_prob: '0.2'", "dropout_prob: '0.2'", "takes dropout_prob"
    ),
    "key of an item": Fault(
        COMMON, "source_key: image", "source_key: imgae", "source_key: imgae", "Did you mean 'image'"
    ),
    "axes": Fault(COMMON, "roi_size: [128, 128, 128]", "roi_size: [128, 128]", "roi_size: [", "2 axes"),
    "one-hot": Fault(
        INFERENCE, "    threshold: 0.5", "    to_onehot: 5", "    to_onehot: 5", "to_onehot says 5 channels"
    ),
    "mode": Fault(
        TRAIN,
        "  _target_: medseg.engines.distribute",
        "  _mode_: partial\n  _target_: medseg.engines.distribute",
        "_mode_: partial",
        "no mode",
    ),
    # --- MONAI's and YAML's silent traps ---------------------------------------------------------------------
    "dotless float": Fault(
        TRAIN, "learning_rate: 4.0e-3", "learning_rate: 4e-3", "learning_rate: 4e-3", "stock MONAI reads 4e-3 as text"
    ),
    "hash in a text": Fault(TRAIN, "padding_mode: zeros", "padding_mode: 'zeros#1'", "zeros#1", "turns every '#'"),
    "hash in an expression": Fault(
        INFERENCE, "'/probabilities'", "'/probabilities#1'", "probabilities#1", "turns every '#'"
    ),
    "false as text": Fault(COMMON, "tta: false ", "tta: 'false' ", "tta: 'false'", "is a text, and as such true"),
    "None": Fault(COMMON, "datalist: null ", "datalist: None ", "datalist: None", "reads None as the text"),
    "number as text": Fault(TRAIN, "epochs: 300", "epochs: '300'", "epochs: '300'", "is a text"),
    "yes": Fault(COMMON, "amp: true ", "amp: yes ", "amp: yes", "YAML reads yes as true"),
    "octal": Fault(TRAIN, "early_stopping: 0 ", "early_stopping: 010 ", "early_stopping: 010", "base 8"),
    "disabled component in a list": Fault(
        INFERENCE, "load:\n", "load:\n  _disabled_: true\n", "$[@load]", "_disabled_"
    ),
    "inline metric": Fault(
        INFERENCE,
        "key_val_metric: '@key_metric'",
        "key_val_metric: {a: 1}",
        "key_val_metric",
        "check_properties wants a reference",
    ),
    "inline inferer": Fault(
        TRAIN,
        "    inferer: '@validate::inferer'",
        "    inferer: {_target_: monai.inferers.SimpleInferer}",
        "    inferer: {_target_: monai",
        "check_properties wants",
    ),
    "count": Fault(TRAIN, "val_interval: 5", "val_interval: 0", "val_interval: 0", "too small"),
    # --- ids, arguments, presets -----------------------------------------------------------------------------
    "missing id": Fault(INFERENCE, "inferer:\n", "inferrer:\n", "# From scans", "missing from the inference config"),
    "missing nested id": Fault(
        TRAIN, "    max_epochs: '@epochs'\n", "", "  trainer:", "missing from the train config|needs the argument"
    ),
    "argument file's config": Fault(
        "configs/args/train.yaml", "configs/train.yaml", "configs/trian.yaml", "trian", "has no file"
    ),
    "argument file's key": Fault(
        "configs/args/train.yaml", "config_file:", "epohcs: 3\nconfig_file:", "epohcs", "Did you mean 'epochs'"
    ),
    "a bundle's preset": Fault(
        "configs/presets/fast.yaml", "", "epochs: 1\nloss: null\n", "loss: null", "may not touch 'loss'"
    ),
    "a preset's patch": Fault(
        "configs/presets/fast.yaml", "", "roi_size: [50, 64, 64]\n", "roi_size", "not divisible by 8x8x8"
    ),
    # --- network, patches, labels, metadata ------------------------------------------------------------------
    "channels of the network": Fault(
        COMMON,
        "  in_channels: '@num_channels'\n  out_channels: $len(@regions)\n  channels",
        "  in_channels: 3\n  out_channels: $len(@regions)\n  channels",
        "  in_channels: 3",
        "in_channels says 3 channels",
    ),
    "channels of the metadata": Fault(
        META, '"num_channels": 4', '"num_channels": 5', '"num_channels": 5', "num_channels says 5"
    ),
    "names of the channels": Fault(META, ', "3": "FLAIR"', "", '"0": "T1"', "channel_def says 3 channels"),
    "order of the channels": Fault(
        META, '"0": "T1", "1": "T1c"', '"0": "T1c", "1": "T1"', '"0": "T1c"', "is channel 0 here, but 't1c' is number 1"
    ),
    "channels out": Fault(
        META,
        '"num_channels": 3',
        '"num_channels": 4',
        '"num_channels": 4,\n        "spatial_shape": ["32*n", "32*n", "32*n"],\n        "dtype": "float32",\n        "value_range": [],\n        "is_patch_data": true,\n        "channel_def": { "0": "Tumour',
        "pred's num_channels says 4",
    ),
    "order of the regions": Fault(
        COMMON, "regions: [TC, WT, ET]", "regions: [WT, TC, ET]", "regions: [WT", "not the regions of brats2017"
    ),
    "region that is not there": Fault(
        INFERENCE, "@regions.index('WT')", "@regions.index('XX')", "index('XX')", "'XX' is not in @regions"
    ),
    "label convention": Fault(
        COMMON,
        "label_convention: brats2017",
        "label_convention: brats2107",
        "brats2107",
        "no label convention is named",
    ),
    "two conventions": Fault(
        EVALUATE,
        "_target_: medseg.transforms.LabelsToRegionsd\n  keys: pred\n  convention: '@label_convention'",
        "_target_: medseg.transforms.LabelsToRegionsd\n  keys: pred\n  convention: brats2023",
        "convention: brats2023",
        "differs from label_convention",
    ),
    "patch": Fault(
        COMMON, "roi_size: [128, 128, 128]", "roi_size: [128, 128, 100]", "roi_size: [", "not divisible by 8x8x8"
    ),
    "patch of the last crop": Fault(
        TRAIN,
        "  spatial_size: '@roi_size'\n  mode",
        "  spatial_size: [90, 96, 96]\n  mode",
        "[90, 96, 96]",
        "not divisible by",
    ),
    "levels": Fault(
        COMMON, "strides: [2, 2, 2]", "strides: [2, 2, 2, 2]", "strides: [2, 2, 2, 2]", "4 strides for 4 levels"
    ),
    "spatial shape": Fault(
        META,
        '"spatial_shape": ["32*n", "32*n", "32*n"],\n        "dtype": "float32",\n        "value_range": [],\n        "is_patch_data": true,\n        "channel_def": { "0": "T1"',
        '"spatial_shape": ["12*n", "32*n", "32*n"],\n        "dtype": "float32",\n        "value_range": [],\n        "is_patch_data": true,\n        "channel_def": { "0": "T1"',
        '"12*n"',
        "'12*n' is not divisible by 8",
    ),
    "shape that is none": Fault(
        META, '["32*n", "32*n", "32*n"]', '["32*m", "32*n", "32*n"]', '"32*m"', "does not look like a size"
    ),
    "metadata's field": Fault(META, '  "numpy_version": "2.4.6",\n', "", "{", "numpy_version"),
    "metadata's type": Fault(
        META, '"authors": "The medseg authors"', '"authors": ["x"]', '"authors"', "string is wanted"
    ),
    "metadata's version": Fault(
        META, '"version": "0.1.0",', '"version": "0.2.0",', '"changelog"', "no entry for the version 0.2.0"
    ),
    "dtype": Fault(META, '"dtype": "float32"', '"dtype": "float"', '"dtype": "float"', "a type such as float32"),
    # --- files -----------------------------------------------------------------------------------------------
    "hash": Fault(LARGE, "    hash_val: 870e677b782a5184cbc48db1456b78e8\n", "", "- path", "no hash_val"),
    "hash's length": Fault(LARGE, "870e677b", "870e", "hash_val", "is no md5 of 32"),
    "path out of the bundle": Fault(
        LARGE, "models/zoo_segresnet.pt", "../../zoo_segresnet.pt", "../../", "leads out of the bundle"
    ),
    "absolute path": Fault(LARGE, "models/zoo_segresnet.pt", "/etc/passwd", "/etc/passwd", "no path inside the bundle"),
    "address": Fault(LARGE, "https://developer", "http://developer", "http://developer", "no https:// address"),
    "licence": Fault("LICENSE", "*", "", "", "says next to nothing"),
    "model card": Fault(
        "docs/README.md", "*", "# A model\n\nIt is good, and has been found to be so.\n", "# A model", "says nothing of"
    ),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return shutil.copytree(find_bundle(BUNDLE), tmp_path / BUNDLE, ignore=shutil.ignore_patterns("runs"))


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_at_its_line(root: Path, name: str) -> None:
    fault = FAULTS[name]
    path = root / fault.file
    path.parent.mkdir(exist_ok=True)
    before = path.read_text() if path.exists() else ""
    assert fault.old in (*before.splitlines(), "*") or fault.old in before, (
        "the bundle has changed; plant the fault anew"
    )
    text = fault.new if fault.old in ("", "*") else before.replace(fault.old, fault.new, 1)
    path.write_text(text)
    line = text.count("\n", 0, text.index(fault.at)) + 1
    findings = [f for f in check_bundle(root, presets=[]) if f.level != "note"]
    here = [f for f in findings if f.where.split(": ")[0] == f"{fault.file}:{line}"]
    said = "\n".join(map(str, findings))
    assert here, f"wanted {fault.file}:{line}, found:\n{said}"
    assert any(word in str(f) for f in here for word in fault.says.split("|")), said


def test_there_are_many_faults() -> None:
    assert len(FAULTS) >= 60
