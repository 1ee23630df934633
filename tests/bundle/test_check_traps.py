"""What MONAI builds without a word and then trips over: found where it stands, and not where it does no harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.bundle.check import check_bundle

BRATS = """
loss: {_target_: monai.losses.DiceLoss, sigmoid: true, squared_pred: true}
train::handlers: ['@loss']
train::preprocessing:
  _target_: monai.transforms.Compose
  transforms:
  - {_target_: monai.transforms.ConvertToMultiChannelBasedOnBratsClassesd, keys: label}
  - {_target_: monai.transforms.RandFlipd, keys: [image, label]}
"""
CAST = "  - {_target_: monai.transforms.CastToTyped, keys: [image, label], dtype: $torch.float32}\n"
ZOOM = "zoom: {_target_: monai.apps.detection.transforms.dictionary.RandZoomBoxd, image_keys: image, box_keys: box, "
ZOOM_END = "box_ref_image_keys: image, %s}\ntrain::handlers: ['@zoom']\n"
METRICS = """
scores: {val_mean_dice: {_target_: monai.handlers.MeanDice}}
more: {val_accuracy: {_target_: ignite.metrics.Accuracy}}
engine: {_target_: monai.engines.SupervisedEvaluator, device: cpu, val_data_loader: null, network: null,
  key_val_metric: '@scores', additional_metrics: '@more', val_handlers: '@train::handlers'}
train::handlers: [{_target_: monai.handlers.MetricsSaver, save_dir: '@output_dir', metrics: %s}]
validate::evaluator: '@engine'
"""
LOADED = """
load: {_target_: monai.transforms.LoadImaged, keys: image%s}
names: "$monai.handlers.from_engine(['image_meta_dict'])"
train::handlers: ['@load', '@names']
"""


def said(root: Path) -> list[str]:
    return [str(f) for f in check_bundle(root, presets=[])]


@pytest.mark.parametrize(
    ("train", "at", "message"),
    [
        (BRATS, "squared_pred", "loss::squared_pred: refuses the boolean labels of ConvertToMultiChannelBasedOnBrats"),
        (ZOOM + ZOOM_END % "label_keys: label", "label_keys", "zoom::label_keys: RandZoomBoxd takes any argument"),
        (METRICS % "[val_mean_dice, val_acc]", "val_acc]", "'val_acc', so none is saved. Did you mean 'val_accuracy'"),
        (LOADED % "", "image_meta_dict", "names: no item has 'image_meta_dict'"),
        ("weights: \"$torch.load('a.pt', map_location=torch.device('cuda'))\"\ntrain::handlers: ['@weights']\n",
         "weights:", "weights: wants a GPU, and fails on a machine without one"),
    ],
)  # fmt: skip
def test_a_trap_is_found_where_it_is(make_bundle: Callable[..., Path], train: str, at: str, message: str) -> None:
    root = make_bundle(train=train)
    text = (root / "configs" / "train.yaml").read_text()
    found = said(root)
    assert len(found) == 1, found
    assert found[0].startswith(f"configs/train.yaml:{text.count(chr(10), 0, text.index(at)) + 1}: ")
    assert message in found[0]


@pytest.mark.parametrize(
    "train",
    [
        BRATS + CAST,
        BRATS.replace("squared_pred: true", "squared_pred: false"),
        ZOOM + ZOOM_END % "padding_mode: constant, constant_values: 1",
        METRICS % "[val_mean_dice, val_accuracy]",
        METRICS % "'*'",
        LOADED % ", image_only: false",
        "place: \"$torch.device('cuda' if torch.cuda.is_available() else 'cpu')\"\ntrain::handlers: ['@place']\n",
    ],
)
def test_what_does_no_harm_is_no_trap(make_bundle: Callable[..., Path], train: str) -> None:
    assert said(make_bundle(train=train)) == []


def test_half_precision_in_the_metadata_wants_a_gpu_to_verify(make_bundle: Callable[..., Path]) -> None:
    root = make_bundle()
    path = root / "configs" / "metadata.json"
    meta = json.loads(path.read_text())
    meta["network_data_format"]["inputs"]["image"]["dtype"] = "float16"
    path.write_text(json.dumps(meta))
    assert ["image::dtype: float16 can be verified on a GPU only" in text for text in said(root)] == [True]


def test_an_argument_that_resembles_none_is_met_with_a_short_list(make_bundle: Callable[..., Path]) -> None:
    net = "net: {_target_: monai.networks.nets.SwinUNETR, in_channels: 1, out_channels: 2, img_size: 96}\n"
    found = said(make_bundle(train=net + "train::handlers: ['@net']\n"))
    assert len(found) == 1
    assert "takes no argument 'img_size'. It takes: in_channels, " in found[0]
    assert " more." in found[0]
