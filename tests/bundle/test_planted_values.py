"""Values of the wrong kind, number, unit or name, planted one at a time: each is found at its file and line."""

# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Callable

import pytest

BRATS = "brats_mri_segmentation"
LUNA = "lung_nodule_ct_detection"
MSD = "msd_organ_segmentation"
COMMON = "configs/common.yaml"
TRAIN = "configs/train.yaml"
INFERENCE = "configs/inference.yaml"

# Bundle, file, what stands there, what takes its place, text on the line where it must be found, what must be said.
# fmt: off
FAULTS = [
    (BRATS, TRAIN, "run:\n- $@train::trainer.run()", "run: $@train::trainer.run()", "run: $@train", "is an expression; consumers look for a list of them"),
    (BRATS, INFERENCE, "run:\n- $@evaluator.run()", "run:\n  a: $@evaluator.run()", "run:\n  a", "is a mapping; a list of expressions is wanted"),
    (BRATS, INFERENCE, "initialize:\n- $monai", "initialize: $monai", "initialize: $monai", "is an expression; consumers look for a list of them"),
    (BRATS, TRAIN, "epochs: 300", "epochs: null", "epochs: null", "null is wrong; a number is wanted"),
    (BRATS, TRAIN, "batch_size: 2", "batch_size: null", "batch_size: null", "null is wrong; a number is wanted"),
    (BRATS, TRAIN, "learning_rate: 4.0e-3", "learning_rate: null", "learning_rate: null", "null is wrong; a number is wanted"),
    (BRATS, COMMON, "overlap: 0.5 ", "overlap: half ", "overlap: half", "medseg.inference.SlidingWindow takes overlap: Sequence[float] | float,"),
    (BRATS, COMMON, "modalities: [t1, t1c, t2, flair]", "modalities: t1", "modalities: t1", "'t1' is wrong; a list is wanted"),
    (BRATS, COMMON, "roi_size: [128, 128, 128]", "roi_size: null", "roi_size: null", "null is wrong; a number or a list of numbers is wanted"),
    (BRATS, COMMON, "amp: true ", "amp: [true] ", "amp: [true]", "[True] is wrong; true or false is wanted"),
    (BRATS, TRAIN, "betas: [0.9, 0.99]", "betas: [0.9]", "betas: [0.9]", "torch.optim.AdamW takes betas: two numbers, not [0.9]"),
    (BRATS, TRAIN, "betas: [0.9, 0.99]", "betas: [0.9, 0.9, 0.9]", "betas: [0.9", "torch.optim.AdamW takes betas: two numbers, not [0.9, 0.9, 0.9]"),
    (BRATS, TRAIN, "betas: [0.9, 0.99]", "betas: 0.9", "betas: 0.9", "torch.optim.AdamW takes betas: tuple[float | Tensor, float | Tensor], "),
    (BRATS, TRAIN, "betas: [0.9, 0.99]", "betas: [0.9, 1.99]", "betas: [0.9", "[0.9, 1.99] is out of range; wanted from 0 to below 1"),
    (BRATS, TRAIN, "    gamma: [0.7, 1.5]", "    gamma: [0.7]", "    gamma: [0.7]", "monai.transforms.RandAdjustContrast takes gamma: two numbers, not [0.7"),
    (BRATS, TRAIN, "zoom_range: [0.5, 1.0]", "zoom_range: [0.5]", "zoom_range: [0.5]", "monai.transforms.RandSimulateLowResolution takes zoom_range: two numbe"),
    (BRATS, INFERENCE, "$@evaluator.run()", "$@evaluator.rnu()", "rnu", "Did you mean 'run'"),
    (BRATS, TRAIN, "$@train::trainer.run()", "$@train::trainer.rnu()", "rnu", "Did you mean 'run'"),
    (BRATS, INFERENCE, "$@evaluator.run()", "$@evaluator.sate.epoch", "sate", "Did you mean 'state'"),
    (BRATS, TRAIN, "network: $@ema.module", "network: $@ema.modul", "modul\n", "Did you mean 'module'"),
    (BRATS, COMMON, "$@network_def.to(@device)", "$@network_def.too(@device)", "too(", "Did you mean 'to'"),
    (BRATS, INFERENCE, "handlers:\n- _target_: medseg.engines.HandlerGroup\n  weights: '@weights'", "handlers:\n  group:\n    _target_: medseg.engines.HandlerGroup\n    weights: '@weights'", "handlers:\n  group", "medseg.engines.SupervisedEvaluator takes val_handlers: Sequence | None"),
    (BRATS, TRAIN, "    val_handlers: '@validate::handlers'", "    val_handlers: {a: '@train::progress'}", "val_handlers: {", "medseg.engines.SupervisedEvaluator takes val_handlers: Sequence | None"),
    (BRATS, COMMON, "strides: [2, 2, 2]", "strides: [[2, 2], [2, 2, 2], [2, 2, 2]]", "strides: [[", "[2, 2] has 2 axes, but residual_unet has 3"),
    (MSD, COMMON, "strides: [[2, 2, 1], [2, 2, 2], [2, 2, 2]", "strides: [[2, 2, 1], [2, 2], [2, 2, 2]", "strides: [[", "[2, 2] has 2 axes, but dyn_unet has 3"),
    (MSD, COMMON, "strides: [[2, 2, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2]]", "strides:\n- [2, 2, 1]\n- [2, 2]\n- [2, 2, 2]\n- [2, 2, 2]\n- [2, 2, 2]", "- [2, 2]\n", "[2, 2] has 2 axes, but dyn_unet has 3"),
    (BRATS, COMMON, "strides: [2, 2, 2]", "strides: [2, 2]", "strides: [2, 2]", "2 strides for 4 levels of channels; 3 are wanted"),
    (MSD, COMMON, "[[3, 3, 1], [3, 3, 3], [3, 3, 3]", "[[3, 3, 1], [3, 3], [3, 3, 3]", "kernel_sizes", "[3, 3] has 2 axes, but dyn_unet has 3"),
    (BRATS, COMMON, "channels: [32, 64, 128, 256]", "channels: [32, 64, 0, 256]", "channels: [32", "[32, 64, 0, 256] is out of range; wanted from 1 on"),
    (BRATS, COMMON, "num_res_units: 2", "num_res_units: -1", "num_res_units", "-1 is out of range; wanted from 0 on"),
    (BRATS, COMMON, "blocks_up: [1, 1, 1]", "blocks_up: [1, 1]", "blocks_up", "2 blocks up for 4 blocks down; 3 are wanted"),
    (BRATS, COMMON, "{num_groups: 1}", "{num_groups: 5}", "num_groups: 5", "32 channels are not divisible by 5 groups"),
    (BRATS, COMMON, "  spatial_dims: 3\n  in_channels: '@num_channels'\n  out_channels: $len(@regions)\n  channels", "  spatial_dims: 4\n  in_channels: '@num_channels'\n  out_channels: $len(@regions)\n  channels", "spatial_dims: 4", "4 is out of range; wanted 1, 2 or 3"),
    (BRATS, COMMON, "out_channels: $len(@regions)", "out_channels: $len(@regions) + 1", "out_channels: $len(@regions) + 1", "residual_unet's out_channels says 4 channels, but pred's num_channels "),
    (BRATS, COMMON, "strides: [2, 2, 2]", "strides: [2, 2, 0]", "strides: [2, 2, 0]", "[2, 2, 0] is out of range; wanted from 1 on"),
    (BRATS, COMMON, "{num_groups: 1}", "{groups: 1}", "{groups: 1}", "Did you mean 'num_groups'"),
    (BRATS, COMMON, "act: LEAKYRELU", "act: [LEAKYRELU, {slope: 0.1}]", "slope", "Did you mean 'negative_slope'"),
    (BRATS, COMMON, "num_channels: $len(@modalities)", "num_channels: $len(@regions)", "num_channels: $len(@regions)", "residual_unet's in_channels says 3 channels, but image's num_channels "),
    (MSD, COMMON, "channels: [32, 64, 128, 256, 320, 320]", "channels: [32, 64, 128, 256, 320]", "channels: [", "5 filters for 6 strides"),
    (BRATS, COMMON, "sw_batch_size: 1", "sw_batch_size: 0", "sw_batch_size: 0", "0 is out of range; wanted from 1 on"),
    (BRATS, INFERENCE, "inferer:\n  _target_: medseg.inference.SlidingWindow\n", "inferer:\n  _target_: monai.inferers.SlidingWindowInferer\n  mode: gaussain\n", "mode: gaussain", "Did you mean 'gaussian'"),
    (BRATS, COMMON, "max_memory_mb: null", "max_memory_mb: -5", "max_memory_mb", "-5 is out of range; wanted above 0"),
    (BRATS, COMMON, "overlap: 0.5", "overlap: 1.0", "overlap: 1.0", "1.0 is out of range; wanted from 0 to below 1"),
    (BRATS, TRAIN, "lr_scheduler:\n  _target_: medseg.engines.cosine_with_warmup\n  optimizer: '@optimizer'\n  total_steps: '@total_steps'\n  warmup_steps: $int(@warmup_share * @total_steps)", "lr_scheduler:\n  _target_: torch.optim.lr_scheduler.ReduceLROnPlateau\n  optimizer: '@optimizer'", "_target_: torch.optim.lr_scheduler", "ReduceLROnPlateau steps on a score, and SupervisedTrainer gives it non"),
    (BRATS, TRAIN, "warmup_share: 0.1", "warmup_share: 1.5", "warmup_share", "1.5 is out of range; wanted from 0 to 1"),
    (BRATS, TRAIN, "  optimizer: '@optimizer'\n  total", "  optimizer: '@network_def'\n  total", "  optimizer: '@network_def'", "medseg.engines.cosine_with_warmup takes optimizer: Optimizer, not a UN"),
    (BRATS, TRAIN, "lr_scheduler:\n  _target_: medseg.engines.cosine_with_warmup\n  optimizer: '@optimizer'\n  total_steps: '@total_steps'\n  warmup_steps: $int(@warmup_share * @total_steps)", "lr_scheduler:\n  _target_: torch.optim.lr_scheduler.StepLR\n  optimizer: '@optimizer'\n  step_size: 0", "step_size: 0", "0 is out of range; wanted from 1 on"),
    (BRATS, TRAIN, "lr_scheduler:\n  _target_: medseg.engines.cosine_with_warmup\n  optimizer: '@optimizer'\n  total_steps: '@total_steps'\n  warmup_steps: $int(@warmup_share * @total_steps)", "lr_scheduler:\n  _target_: torch.optim.lr_scheduler.MultiStepLR\n  optimizer: '@optimizer'\n  milestones: [200, 100]", "milestones", "[200, 100] do not rise"),
    (BRATS, TRAIN, "val_interval: 5", "val_interval: 500", "val_interval", "500 is more than the 300 epochs, so nothing is ever validated"),
    (BRATS, TRAIN, "learning_rate: 4.0e-3", "learning_rate: 4.0e+3", "learning_rate", "4000.0 is unusual; wanted 1 at most"),
    (BRATS, TRAIN, "clip_norm: 1.0", "clip_norm: -1.0", "clip_norm", "-1.0 is out of range; wanted above 0"),
    (BRATS, TRAIN, "early_stopping: 0", "early_stopping: -1", "early_stopping: -1", "-1 is out of range; wanted from 0 on"),
    (LUNA, TRAIN, "  momentum: 0.9\n", "", "  nesterov: true", "torch refuses nesterov without momentum"),
    (BRATS, TRAIN, "tumour_share: 0.67", "tumour_share: 67", "tumour_share: 67", "67 is out of range; wanted from 0 to 1"),
    (BRATS, TRAIN, "spatial_axis: 2", "spatial_axis: 3", "spatial_axis: 3", "there is no axis 3; the 3 axes are numbered from 0"),
    (BRATS, TRAIN, "rotate_range: [0.52, 0.52, 0.52]", "rotate_range: [30, 30, 30]", "rotate_range", "[30, 30, 30] is out of range; wanted radians, at most 6.28"),
    (BRATS, TRAIN, "scale_range: [0.2, 0.2, 0.2]", "scale_range: [1.2, 1.2, 1.2]", "scale_range", "[1.2, 1.2, 1.2] is out of range; wanted between -1 and 1, as what is a"),
    (BRATS, TRAIN, "pos: '@tumour_share'", "pos: -1", "pos: -1", "-1 is out of range; wanted from 0 on"),
    (BRATS, TRAIN, "num_samples: 1", "num_samples: 0", "num_samples", "0 is out of range; wanted from 1 on"),
    (BRATS, TRAIN, "  keys: [image, label]\n  prob", "  keys: []\n  prob", "  keys: []", "no key is given, and MONAI refuses none"),
    (BRATS, TRAIN, "  keys: [image, label]\n  prob", "  keys: [image, image]\n  prob", "  keys: [image, image]", "'image' comes twice, so the transform works on it twice"),
    (BRATS, TRAIN, "    prob: 0.3", "    prob: null", "    prob: null", "monai.transforms.RandAdjustContrast takes prob: float, not null"),
    (MSD, COMMON, "mirror_axes: [0, 1, 2]", "mirror_axes: [0, 1, 3]", "mirror_axes", "there is no axis 3; the 3 axes are numbered from 0"),
    (BRATS, TRAIN, "inside: $@regions.index('TC')", "inside: 3", "inside: 3", "there is no region 3; regions are numbered from 0"),
    (BRATS, INFERENCE, "outer: $@regions.index('WT')", "outer: 3", "outer: 3", "there is no region 3; regions are numbered from 0"),
    (BRATS, TRAIN, "- _target_: monai.transforms.RandFlipd", "- _target_: monai.transforms.RandFlip", "  keys: [image, label]\n  prob: 0.5\n  spatial_axis: 0", "monai.transforms.RandFlip takes no argument 'keys'"),
    (LUNA, COMMON, "  b_max: 1.0", "  b_max: 0.0", "b_max: 0.0", "0.0 is not above b_min, 0.0"),
    (BRATS, COMMON, "spacing_mm: [1.0, 1.0, 1.0]", "spacing_mm: [1000.0, 1000.0, 1000.0]", "spacing_mm", "[1000.0, 1000.0, 1000.0] is unusual; wanted millimetres, from 0.01 to "),
    (BRATS, COMMON, "keys: image\nnormalize_by_mean", "keys: {image: 1}\nnormalize_by_mean", "keys: {image", "is a mapping; a key or a list of keys is wanted"),
    (BRATS, COMMON, "device: \"$'cuda' if torch.cuda.is_available() else 'cpu'\"", "device: gpu", "device: gpu", "torch knows no device 'gpu'"),
    (BRATS, TRAIN, "- $@train::trainer.run()", "- $@train::trainer.run", "- $@train::trainer.run\n", "'$@train::trainer.run' names the method and does not call it"),
    (BRATS, TRAIN, "- $@train::trainer.run()", "- '@train::trainer'", "- '@train::trainer'", "nothing runs: no element calls anything"),
    (BRATS, COMMON, "regions: [TC, WT, ET]", "regions: []", "regions: []", "regions says 0 channels, but pred's num_channels says 3; pred's channe"),
    (BRATS, COMMON, "spacing_mm: [1.0, 1.0, 1.0]", "spacing_mm: one", "spacing_mm: one", "'one' is wrong; a list is wanted"),
    (BRATS, COMMON, "output_dir: runs/brats_mri_segmentation", "output_dir: null", "output_dir: null", "null is wrong; a text is wanted"),
    (BRATS, COMMON, "amp: true ", "amp: 2 ", "amp: 2", "2 is wrong; true or false is wanted"),
    (BRATS, COMMON, "fold: 0 ", "fold: [0] ", "fold: [0]", "[0] is wrong; a number is wanted"),
    (BRATS, COMMON, "network_def: '@residual_unet'", "network_def: '@num_channels'", "network_def: '@num", "comes to 4; a network is wanted, or a reference to one"),
    (BRATS, INFERENCE, "run:\n- $@evaluator.run()", "run: []", "run: []", "nothing runs: no element calls anything"),
    (BRATS, COMMON, "- $import os\n", "- import os\n", "- import os", "'import os' is a text, and does nothing"),
    (BRATS, COMMON, "tta: false ", "tta: null ", "tta: null", "null is wrong; true or false is wanted"),
    (BRATS, INFERENCE, "network: '@network'\n  inferer", "network: '@network_deff'\n  inferer", "network_deff", "Did you mean '@network_def'"),
    (BRATS, COMMON, "dtype: $torch.float32", "dtype: $torch.flaot32", "flaot32", "Did you mean 'float32'"),
    (BRATS, COMMON, "amp: true ", "amp true ", "amp true", "not valid YAML: could not find expected ':'"),
    (BRATS, TRAIN, "neg: $1 - @tumour_share", "neg: 1 - @tumour_share", "neg: 1 - ", "monai.transforms.RandCropByPosNegLabeld takes neg: float, not '1 - @tu"),
    (BRATS, INFERENCE, "_disabled_: $not @save_probabilities", "_disabled_: ture", "_disabled_: ture", "'ture' is a text, and to MONAI as good as false"),
    (LUNA, TRAIN, "zoom_range: [0.7, 1.4]", "zoom_range: [1.4, 0.7]", "zoom_range: [1.4", "does not rise"),
    (LUNA, TRAIN, "zoom_range: [0.7, 1.4]", "zoom_range: [0.7]", "zoom_range: [0.7]", "takes zoom_range: two numbers"),
    (LUNA, TRAIN, "per_image: 64", "per_image: none", "per_image: none", "takes per_image: int, not 'none'"),
    (LUNA, TRAIN, "class_loss: bce", "class_loss: bec", "class_loss: bec", "Did you mean 'bce'"),
    (LUNA, TRAIN, "measure: cpm", "measure: cmp", "measure: cmp", "Did you mean 'cpm'"),
    (LUNA, TRAIN, "  std: 0.1", "  std: -0.1", "  std: -0.1", "out of range; wanted from 0 on"),
    (LUNA, COMMON, "max_detections: 100", "max_detections: 0", "max_detections: 0", "out of range; wanted from 1 on"),
    (LUNA, COMMON, "score_threshold: 0.02", "score_threshold: 2", "score_threshold: 2", "wanted from 0 to 1"),
    (MSD, COMMON, "label_convention: {spleen: 1}", "label_convention: [spleen]", "label_convention: [", "a name or a mapping is wanted"),
    (MSD, COMMON, "intensity_range: [-41.0, 176.0]", "intensity_range: [176.0, -41.0]", "intensity_range: [", "does not rise"),
    (MSD, TRAIN, "resume: false", "resume: never", "resume: never", "takes resume: bool, not 'never'"),
    (MSD, TRAIN, "cache_dir: null", "cache_dir: 5", "cache_dir: 5", "takes cache_dir: str | Path | None, not 5"),
    (MSD, INFERENCE, "  network: '@network'\nhandlers", "  network: '@inferer'\nhandlers", "network: '@inferer'", "takes network: torch.nn.Module, not a SlidingWindow"),
]
# fmt: on


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault[4].strip()}: {fault[5]}")
def test_a_wrong_value_is_found_at_its_line(plant: Callable[..., list[str]], fault: tuple[str, ...]) -> None:
    bundle, file, old, new, at, says = fault
    found = plant(bundle, file, old, new, at=at)
    assert any(says in text for text in found), found
