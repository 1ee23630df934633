"""A frozen bundle goes through the calls that each of MONAI's consumers makes, in their order."""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from medseg.bundle.compose import compose
from medseg.bundle.freeze import freeze
from medseg.datasets.phantoms.brats import write_brats_phantoms

BUNDLE = "brats_mri_segmentation"
SMALL = (
    "residual_unet::channels=[4, 8]",
    "residual_unet::strides=[2]",
    "residual_unet::num_res_units=0",
    "roi_size=[16, 16, 16]",
    "spacing_mm=[4.0, 4.0, 4.0]",
    "device=cpu",
    "amp=false",
    "epochs=2",
    "val_interval=2",
    "samples_per_epoch=2",
    "batch_size=1",
    "num_workers=0",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_brats_phantoms(folder, cases=5, seed=0, shape=(48, 56, 40), spacing_mm=4.0)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from monai.bundle import ConfigParser
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    parser = ConfigParser(compose(BUNDLE, "inference", overrides=SMALL[:6]).config)
    save_file(parser.get_parsed_content("network_def").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory, weights: Path, data: Path) -> Path:
    overrides = (*SMALL, f"dataset_dir={data}")
    return freeze(BUNDLE, tmp_path_factory.mktemp("frozen") / BUNDLE, weights=weights, overrides=overrides)


def config_of(frozen: Path, workflow: str) -> dict[str, Any]:
    return json.loads((frozen / "configs" / f"{workflow}.json").read_text())


def test_the_folder_holds_what_the_zoo_and_its_consumers_look_for(frozen: Path) -> None:
    files = {path.relative_to(frozen).as_posix() for path in frozen.rglob("*") if path.is_file()}
    configs = {f"configs/{name}" for name in ("train.json", "inference.json", "evaluate.json", "metadata.json")}
    assert configs | {"LICENSE", "docs/README.md", "docs/data_license.txt", "models/model.pt"} <= files
    assert not [name for name in files if name.endswith(".yaml")]


def test_a_zip_has_the_same_bytes_twice(tmp_path: Path, weights: Path) -> None:
    first = freeze(BUNDLE, tmp_path / "one.zip", weights=weights, overrides=SMALL)
    second = freeze(BUNDLE, tmp_path / "two" / "other.zip", weights=weights, overrides=SMALL)
    assert first.read_bytes() == second.read_bytes()
    assert f"{BUNDLE}/models/model.pt" in zipfile.ZipFile(first).namelist()


def test_no_training_handler_loads_a_checkpoint(frozen: Path) -> None:
    assert "CheckpointLoader" not in json.dumps(config_of(frozen, "train"))
    assert "WeightsLoader" not in json.dumps(config_of(frozen, "train"))


def test_medseg_runs_the_frozen_folder_too(frozen: Path, data: Path, tmp_path: Path) -> None:
    from medseg.bundle.check import check_bundle
    from medseg.bundle.run import predict

    assert [str(finding) for finding in check_bundle(frozen) if finding.level == "error"] == []
    case = sorted(path for path in data.iterdir() if path.is_dir())[0]
    assert [path.name for path in predict(frozen, [case], output_dir=tmp_path)] == [f"{case.name}.nii.gz"]


def test_monai_bundle_load_gives_the_network_with_its_weights(frozen: Path, weights: Path) -> None:
    from monai.bundle import load
    from safetensors.torch import load_file

    network = load(name=BUNDLE, bundle_dir=str(frozen.parent), workflow_type="train", device="cpu")
    wanted = load_file(weights)
    assert network.state_dict().keys() == wanted.keys()
    assert all(torch.equal(value, wanted[name]) for name, value in network.state_dict().items())


def test_the_zoo_verifies_it(frozen: Path, tmp_path: Path) -> None:
    """As ci/verify_bundle.py of the model zoo; its download of a schema is in test_bundles.py."""
    from monai.bundle import ckpt_export, verify_net_in_out

    meta = json.loads((frozen / "configs" / "metadata.json").read_text())
    assert meta["version"] in meta["changelog"]
    options = {"meta_file": str(frozen / "configs" / "metadata.json"), "bundle_root": str(frozen)}
    config = str(frozen / "configs" / "inference.json")
    verify_net_in_out(net_id="network_def", config_file=config, device="cpu", n=1, **options)
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "verify_model.ts"),
        ckpt_file=str(frozen / "models" / "model.pt"),
        config_file=config,
        **options,
    )
    assert torch.jit.load(tmp_path / "verify_model.ts")


@pytest.fixture(scope="module")
def four_channels(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file with the channels of a case, which is all that MONAI Label and Deploy can hand over."""
    case = sorted(path for path in data.iterdir() if path.is_dir())[0]
    images = [nib.load(case / f"{case.name}_{name}.nii.gz") for name in ("t1", "t1c", "t2", "flair")]
    path = tmp_path_factory.mktemp("four") / "scan.nii.gz"
    nib.save(nib.Nifti1Image(np.stack([np.asarray(i.dataobj) for i in images], axis=-1), images[0].affine), path)
    return path


@pytest.fixture(scope="module")
def label_map(frozen: Path, four_channels: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What medseg itself gives for the scan."""
    from monai.bundle import ConfigParser

    parser = ConfigParser(config_of(frozen, "inference"))
    parser["output_dir"] = str(tmp_path_factory.mktemp("own"))
    parser["bundle_root"] = str(frozen)
    parser["dataset::data"] = ({"case_id": "scan", "image": str(four_channels), "channels": [0, 1, 2, 3]},)
    parser.parse(reset=True)
    parser.get_parsed_content("evaluator").run()
    return np.asarray(nib.load(Path(parser["output_dir"]) / "scan.nii.gz").dataobj)


def without(transforms: Sequence[Any], prefixes: Sequence[str]) -> list[Any]:
    return [t for t in transforms if not type(t).__name__.startswith(tuple(prefixes))]


def test_monai_label_infers_with_it(frozen: Path, four_channels: Path, label_map: Any) -> None:
    """The calls of BundleInferTask and BasicInferTask (monailabel/tasks/infer, 2025-12)."""
    from monai.bundle import ConfigItem, ConfigParser
    from monai.transforms import SaveImaged

    parser = ConfigParser()
    parser.read_config(str(frozen / "configs" / "inference.json"))
    parser.config.update({"bundle_root": str(frozen)})
    network = parser.get_parsed_content("network_def", instantiate=True)
    meta = json.loads((frozen / "configs" / "metadata.json").read_text())
    key_image = next(iter(meta["network_data_format"]["inputs"]))
    key_pred, pred = next(iter(meta["network_data_format"]["outputs"].items()))
    assert {name.lower() for name in pred["channel_def"].values()} >= {"tumour core"}
    assert "segmentation" in frozen.name  # the type of the task

    parser.config.update({"device": "cpu"})
    if parser.ref_resolver.items.get("device"):
        parser.ref_resolver.items["device"] = ConfigItem(config="cpu", id="device")
    data: dict[Any, Any] = {"image": str(four_channels), "device": "cpu", "image_path": str(four_channels)}
    for transform in parser.get_parsed_content("preprocessing", instantiate=True).transforms:
        data = transform(data)

    inferer = parser.get_parsed_content("inferer", instantiate=True)
    network = copy.deepcopy(network)
    network.load_state_dict(torch.load(frozen / "models" / "model.pt", map_location="cpu"), strict=False)
    network.eval()
    with torch.no_grad():
        data[key_pred] = inferer(data[key_image][None], network)[0]
    post = parser.get_parsed_content("postprocessing", instantiate=True)
    for transform in [t for t in post.transforms if not isinstance(t, SaveImaged)]:
        data = transform(data)
    assert data[key_pred].shape == (1, *label_map.shape)
    # Restored: nothing to resize, and the affine that its writer takes.
    assert tuple(data[key_image].meta["spatial_shape"]) == label_map.shape
    assert np.allclose(data[key_image].meta["original_affine"], nib.load(four_channels).affine)
    assert np.array_equal(data[key_pred][0].numpy(), label_map)


def test_monai_deploy_infers_with_it(frozen: Path, four_channels: Path, label_map: Any, tmp_path: Path) -> None:
    """The calls of MonaiBundleInferenceOperator (monai-deploy-app-sdk, 2026-01): image in memory, network as .ts."""
    from monai.bundle import ConfigParser
    from monai.data import MetaTensor
    from monai.transforms import Compose

    parser = ConfigParser()
    parser.read_config(str(frozen / "configs" / "inference.json"))
    parser.read_meta(str(frozen / "configs" / "metadata.json"))
    parser.parse()
    assert parser.get_parsed_content("device") == "cpu"
    inferer = parser.get_parsed_content("inferer")
    pre, post = (
        Compose(without(parser.get_parsed_content(name).transforms, ("LoadImage", "SaveImage")))
        for name in ("preprocessing", "postprocessing")
    )
    network_def = parser.get_parsed_content("network_def")
    network_def.load_state_dict(torch.load(frozen / "models" / "model.pt"))
    torch.jit.trace(network_def.eval(), torch.zeros(1, 4, 16, 16, 16)).save(tmp_path / "model.ts")
    network = torch.jit.load(tmp_path / "model.ts").eval()

    scan = nib.load(four_channels)
    value = MetaTensor.ensure_torch_and_prune_meta(np.asarray(scan.dataobj), {"affine": scan.affine})
    with torch.no_grad():
        inputs = pre({"image": value})
        image = inputs.pop("image")
        outputs = inferer(inputs=image[None], network=network)
        done = post({"pred": outputs[0], **inputs, "image": image})
    assert np.array_equal(done["pred"].numpy().astype(np.uint8).squeeze(), label_map)


@pytest.mark.parametrize("evaluation", ["alone", "default"])
def test_a_federation_trains_and_evaluates_it(frozen: Path, evaluation: str, tmp_path: Path) -> None:
    """monai.fl's MonaiAlgo, which NVFlare drives: two rounds with weights that the server sends."""
    from monai.fl.client import MonaiAlgo
    from monai.fl.utils.constants import ExtraItems
    from monai.fl.utils.exchange_object import ExchangeObject

    places = {"bundle_root": str(frozen), "output_dir": str(tmp_path / "run")}
    how: dict[str, Any] = {"config_evaluate_filename": "configs/evaluate.json", "eval_workflow_name": "evaluation"}
    algo = MonaiAlgo(
        bundle_root=str(frozen),
        send_weight_diff=False,
        train_kwargs=dict(places),
        eval_kwargs=places | {"output_dir": str(tmp_path / "scores")},
        **(how if evaluation == "alone" else {}),
    )
    algo.initialize(extra={ExtraItems.CLIENT_NAME: "client", ExtraItems.APP_ROOT: ""})
    sent = {name: torch.full_like(value, 0.01) for name, value in algo.trainer.network.state_dict().items()}
    weights = ExchangeObject(weights=sent)
    for number in (1, 2):
        algo.train(weights)
        weights = algo.get_weights()
        assert algo.trainer.state.epoch == number
    assert any(not torch.equal(value, sent[name]) for name, value in weights.weights.items())
    metrics = algo.evaluate(ExchangeObject(weights=sent)).metrics
    assert 0 <= metrics["val_mean_dice"] <= 1
    # The weights that were sent are those that were measured, not the bundle's own.
    assert all(torch.equal(value, sent[name]) for name, value in algo.evaluator.network.state_dict().items())
    algo.finalize()
