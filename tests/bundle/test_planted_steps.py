"""Losses, masks, handlers, loaders and keys of items put together wrongly: each is found at its file and line."""

# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.bundle.check import check_bundle
from medseg.bundle.find import find_bundle

BRATS = "brats_mri_segmentation"
TRAIN = "configs/train.yaml"
INFERENCE = "configs/inference.yaml"
EVALUATE = "configs/evaluate.yaml"

# Bundle, file, what stands there, what takes its place, text on the line where it must be found, what must be said.
# fmt: off
FAULTS = [
    (BRATS, TRAIN, "from_engine(['pred', 'label'])", "from_engine(['pred', 'lable'])", "'lable'", "Did you mean 'label'"),
    (BRATS, EVALUATE, "from_engine(['pred', 'label'])", "from_engine(['perd', 'label'])", "'perd'", "Did you mean 'pred'"),
    (BRATS, TRAIN, "shuffle: true", "shuffle: maybe", "shuffle: maybe", "medseg.engines.make_loader takes shuffle: bool, not 'maybe'"),
    (BRATS, TRAIN, "    shuffle: true\n", "", "  dataloader:", "training sees the cases in the same order in every epoch"),
    (BRATS, TRAIN, "num_workers: '@num_workers'", "num_workers: -1", "num_workers: -1", "-1 is out of range; wanted from 0 on"),
    (BRATS, TRAIN, "section: training", "section: validation", "section: validation", "train takes the cases of validation"),
    (BRATS, TRAIN, "cache_cases: 32", "cache_cases: -1", "cache_cases: -1", "-1 is out of range; wanted from 0 on"),
    (BRATS, TRAIN, "accumulation_steps: 1 ", "accumulation_steps: 0 ", "accumulation_steps: 0", "0 is out of range; wanted from 1 on"),
    (BRATS, TRAIN, "train_data_loader: '@train::dataloader'", "train_data_loader: '@train::dataset'", "train_data_loader", "CaseDataset makes no batches"),
    (BRATS, TRAIN, "      sigmoid: true\n      batch", "      sigmoid: true\n      softmax: true\n      batch", "      softmax: true", "both sigmoid and softmax: MONAI refuses more than one"),
    (BRATS, TRAIN, "      sigmoid: true\n      batch", "      batch", "    dice:", "the network gives logits, and DiceLoss takes them for probabilities"),
    (BRATS, TRAIN, "      sigmoid: true\n      batch", "      softmax: true\n      batch", "      softmax: true", "softmax here, but sigmoid in the other losses and activations"),
    (BRATS, TRAIN, "      sigmoid: true\n      batch", "      sigmoid: true\n      to_onehot_y: true\n      batch", "to_onehot_y", "the labels have a channel for each region already"),
    (BRATS, TRAIN, "torch.nn.BCEWithLogitsLoss", "torch.nn.BCELoss", "torch.nn.BCELoss", "the network gives logits, and BCELoss wants probabilities"),
    (BRATS, TRAIN, "loss:\n  _target_: medseg.losses.WeightedSum\n", "loss:\n  _target_: medseg.losses.WeightedSum\n  weights: {dice: 1.0, bec: 0.5}\n", "bec", "no term is called 'bec'; they are dice, bce"),
    (BRATS, TRAIN, "smooth_nr: 1.0", "smooth_nr: -1.0", "smooth_nr: -1.0", "-1.0 is out of range; wanted from 0 on"),
    (BRATS, TRAIN, "      sigmoid: true\n      batch", "      sigmoid: true\n      reduction: maen\n      batch", "maen", "Did you mean 'mean'"),
    (BRATS, TRAIN, "      sigmoid: true\n      batch", "      sigmoid: true\n      include_background: false\n      batch", "include_background", "leaves out the first of ['TC', 'WT', 'ET'], which is no background"),
    (BRATS, TRAIN, "    - _target_: monai.transforms.Activationsd\n      keys: pred\n      sigmoid: true\n", "", "_target_: monai.transforms.AsDiscreted", "cuts logits at a probability"),
    (BRATS, INFERENCE, "  - _target_: monai.transforms.Activationsd\n    keys: pred\n    sigmoid: true\n", "", "_target_: monai.transforms.AsDiscreted", "cuts logits at a probability"),
    (BRATS, TRAIN, "    - _target_: monai.transforms.Activationsd\n      keys: pred\n      sigmoid: true\n    - _target_: monai.transforms.AsDiscreted\n      keys: pred\n      threshold: 0.5", "    - _target_: monai.transforms.AsDiscreted\n      keys: pred\n      threshold: 0.5\n    - _target_: monai.transforms.Activationsd\n      keys: pred\n      sigmoid: true", "_target_: monai.transforms.AsDiscreted", "cuts logits at a probability"),
    (BRATS, TRAIN, "      keys: pred\n      sigmoid: true", "      keys: pred\n      sigmoid: true\n      softmax: true", "softmax: true", "both sigmoid and softmax: MONAI refuses more than one"),
    (BRATS, TRAIN, "      keys: pred\n      sigmoid: true\n", "      keys: pred\n", "_target_: monai.transforms.Activationsd", "Activationsd does nothing without one of sigmoid, softmax, other"),
    (BRATS, TRAIN, "      keys: pred\n      threshold: 0.5\n", "      keys: pred\n", "_target_: monai.transforms.AsDiscreted", "AsDiscreted does nothing without one of argmax, to_onehot, threshold, "),
    (BRATS, TRAIN, "threshold: 0.5", "threshold: 50", "threshold: 50", "50 is no probability; wanted from 0 to below 1"),
    (BRATS, TRAIN, "      keys: pred\n      sigmoid: true", "      keys: pred\n      softmax: true", "softmax: true", "softmax here, but sigmoid in the other losses and activations"),
    (BRATS, TRAIN, "      keys: pred\n      threshold: 0.5", "      keys: pred\n      argmax: true", "argmax: true", "takes one class of channels that sigmoid made independent"),
    (BRATS, TRAIN, "spatial_modes: [bilinear, nearest]", "spatial_modes: [bilinear, bilinear]", "spatial_modes", "bilinear mixes the values of 'label' of Spacingd"),
    (BRATS, TRAIN, "  mode: [bilinear, nearest]", "  mode: bilinear", "  mode: bilinear", "bilinear mixes the values of 'label' of RandAffined"),
    (BRATS, TRAIN, "  mode: [bilinear, nearest]\n", "", "- _target_: medseg.transforms.RandAffined", "interpolates 'label' linearly, its default"),
    (BRATS, TRAIN, "  label_key: label\n  spatial", "  label_key: labels\n  spatial", "label_key: labels", "Did you mean 'label'"),
    (BRATS, TRAIN, "interval: '@val_interval'", "interval: 0", "interval: 0", "0 is out of range; wanted from 1 on"),
    (BRATS, TRAIN, "    interrupt: '@train::interrupt'", "    interrupt: '@train::progress'", "    interrupt: '@train::progress'", "'@train::progress' stands here a second time, and would hear every eve"),
    (BRATS, TRAIN, "  handlers:\n  - _target_: medseg.engines.HandlerGroup\n", "  handlers:\n  - train::progress\n  - _target_: medseg.engines.HandlerGroup\n", "  - train::progress", "'train::progress' is a text, and no handler"),
    (BRATS, TRAIN, "validator: '@validate::evaluator'", "validator: '@validate::dataset'", "validator: '@validate::dataset'", "CaseDataset cannot run"),
    (BRATS, TRAIN, "  handlers: []\n  evaluator", "  handlers: ['@train::progress', '@train::progress']\n  evaluator", "  handlers: ['@train", "'@train::progress' stands here a second time, and would hear every eve"),
    (BRATS, TRAIN, "    val_mean_dice:\n      _target_: monai.handlers.MeanDice\n      output_transform: $monai.handlers.from_engine(['pred', 'label'])", "    _target_: monai.handlers.MeanDice\n    output_transform: $monai.handlers.from_engine(['pred', 'label'])", "  key_metric:\n    _target_", "is one MeanDice; names of metrics are wanted"),
    (BRATS, TRAIN, "loss_function: '@loss'", "loss_function: '@optimizer'", "loss_function: '@opt", "medseg.engines.SupervisedTrainer takes loss_function: Callable, not a "),
    (BRATS, TRAIN, "from_engine(['pred', 'label'])", "from_engine('pred', 'label')", "from_engine('pred'", "'label' is taken for from_engine's `first`"),
]
# fmt: on


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault[4].strip()}: {fault[5]}")
def test_a_wrong_step_is_found_at_its_line(plant: Callable[..., list[str]], fault: tuple[str, ...]) -> None:
    bundle, file, old, new, at, says = fault
    found = plant(bundle, file, old, new, at=at)
    assert any(says in text for text in found), found


def block(key: str, bundle: str = BRATS) -> str:
    """What stands in train.yaml under a key of `train`, up to the next empty line."""
    text = (find_bundle(bundle) / TRAIN).read_text()
    return text[text.index(f"  {key}:\n") :].partition("\n\n")[0]


@pytest.mark.parametrize("bundle", [BRATS, "hippocampus_mri_segmentation", "lung_nodule_ct_detection"])
@pytest.mark.parametrize(
    ("indent", "at", "says"),
    [
        (lambda line: f"  {line}", "    trainer:\n", "stands in 'train::handlers::0', where nothing looks for it"),
        (
            lambda line: line[2:],
            "\ntrainer:\n",
            "stands at the top, where nothing looks for it. Make it train::trainer",
        ),
    ],
)
def test_a_trainer_that_is_wrongly_indented_is_found_where_it_stands(
    plant: Callable[..., list[str]], bundle: str, indent: Callable[[str], str], at: str, says: str
) -> None:
    old = f"\n{block('trainer', bundle)}"
    new = "\n".join(indent(line) if line else "" for line in old.split("\n"))
    found = plant(bundle, TRAIN, old, new, at=at.strip() + "\n" if at.startswith("\n") else at)
    assert any(says in text for text in found), found


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("section: validation", "section:   training", "validate takes the cases of training. Write validation"),
        ("fold: '@fold'\n      section: validation", "fold: 1\n      section: validation", "it scores cases that"),
        ("dataset: '@validate::dataset'", "dataset:   '@train::dataset'", "wants '@validate::dataset' here"),
        ("transform: '@validate::preprocessing'", "transform:   '@train::preprocessing'", "wants '@validate::prep"),
    ],
)
def test_a_validation_on_what_is_learnt_is_found(
    plant: Callable[..., list[str]], old: str, new: str, says: str
) -> None:
    found = plant(BRATS, TRAIN, old, new, at=new)
    assert any(says in text for text in found), found


ZOO = """
in_channels: 1
net:
  _target_: UNet
  spatial_dims: 3
  in_channels: '@in_channels'
  out_channels: 1
  channels: [16, 32, 64]
  strides: [2, [2, 2, 1]]
  norm: [group, {num_groups: 8}]
optimizer: {_target_: torch.optim.Adam, params: '$@net.parameters()', lr: 0.0001, betas: [0.9, 0.999]}
lr_scheduler: {_target_: torch.optim.lr_scheduler.CosineAnnealingLR, optimizer: '@optimizer', T_max: '@epochs'}
loss: {_target_: DiceCELoss, to_onehot_y: true, softmax: true, include_background: false}
inferer: {_target_: SlidingWindowInferer, roi_size: [64, 64, 64], sw_batch_size: 4, overlap: 0.5, mode: gaussian}
post:
  _target_: Compose
  transforms:
  - {_target_: Activationsd, keys: pred, softmax: true}
  - {_target_: AsDiscreted, keys: [pred, label], argmax: [true, false]}
  - {_target_: SplitDimd, keys: [pred, label], output_postfixes: [bg, fg]}
pre:
  _target_: Compose
  transforms:
  - {_target_: LoadImaged, keys: [image, label]}
  - {_target_: Spacingd, keys: [image, label], pixdim: [1.0, 1.0, 1.5], mode: [bilinear, nearest]}
  - {_target_: RandRotated, keys: [image, label], prob: 0.2, range_x: 0.26, mode: [bilinear, nearest]}
  - {_target_: RandAffined, keys: image, prob: 0.2, scale_range: [[0.9, 1.1], [0.9, 1.1], [0.9, 1.1]]}
  - {_target_: RandFlipd, keys: [image, label], prob: 0.2, spatial_axis: [0, 1]}
metric: {_target_: MeanDice, output_transform: "$monai.handlers.from_engine(['pred_fg', 'label_fg'])"}
engine:
  _target_: SupervisedTrainer
  max_epochs: '@epochs'
  device: cpu
  train_data_loader: {_target_: DataLoader, dataset: '@train::dataset::data', batch_size: 1, shuffle: true}
  network: '@net'
  loss_function: '@loss'
  optimizer: '@optimizer'
  inferer: '@inferer'
  postprocessing: '@post'
  key_train_metric: {val_dice: '@metric'}
  train_handlers:
  - {_target_: LrScheduleHandler, lr_scheduler: '@lr_scheduler', print_lr: true}
  - {_target_: StatsHandler, output_transform: "$monai.handlers.from_engine(['loss'], first=True)"}
train::handlers: ['@engine', '@pre']
finalize: ['$@engine.terminate()', '$@net.eval()']
"""


def test_what_the_model_zoo_writes_is_no_fault(make_bundle: Callable[..., Path]) -> None:
    found = check_bundle(make_bundle(train=ZOO), presets=[])
    assert [str(f) for f in found if f.file == "configs/train.yaml"] == []
