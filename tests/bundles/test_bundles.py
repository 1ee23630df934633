"""Every bundle passes medseg's static check and MONAI's own checks, through stock monai.bundle."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from medseg.bundle.check import check_bundle, check_composition
from medseg.bundle.compose import CONTRACT_KEYS, LAYERS, compose, config_file
from medseg.bundle.documents import read_document
from medseg.bundle.files import SCHEMA
from medseg.bundle.find import list_presets

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = sorted(path.parent.parent for path in (ROOT / "bundles").rglob("configs/metadata.json"))
PRESETS = sorted(list_presets().values())

# What makes a bundle's checks quick, and the networks that it offers. A new bundle needs an entry here.
TINY: dict[str, dict[str, Any]] = {
    "brats_mri_segmentation": {
        "data": "brats",
        # Not amp: torch 2.13's bf16 gradient of a convolution can be NaN on a CPU where a level is this small.
        "common": {"roi_size": [16] * 3, "spacing_mm": [4.0] * 3, "num_workers": 0, "device": "cpu", "amp": False},
        "train": {"epochs": 1, "samples_per_epoch": 2, "batch_size": 1, "val_interval": 1},
        "networks": {
            "residual_unet": {"residual_unet::channels": [8, 8, 8, 8]},
            "segresnet": {"network_def": "@segresnet", "segresnet::init_filters": 8},
        },
        "count": "n_cases",
        "outputs": ["pred"],
    },
    "msd_organ_segmentation": {
        "data": "msd",
        "common": {
            "label_convention": {"liver": 1, "spleen": 2},
            "regions": ["liver", "spleen"],
            "roi_size": [16, 16, 16],
            "spacing_mm": [6.0, 6.0, 8.0],
            "num_workers": 0,
            "device": "cpu",
            "amp": False,
        },
        "train": {"epochs": 1, "samples_per_epoch": 2, "batch_size": 1, "val_interval": 1},
        "networks": {
            "dyn_unet": {
                "channels": [8, 8, 8],
                "strides": [[2, 2, 1], [2, 2, 2]],
                "kernel_sizes": [[3, 3, 1], [3, 3, 3], [3, 3, 3]],
            },
            "residual_unet": {
                "network_def": "@residual_unet",
                "channels": [8, 8, 8],
                "strides": [[2, 2, 1], [2, 2, 2]],
            },
        },
        "count": "n_cases",
        "outputs": ["pred"],
    },
    "hippocampus_mri_segmentation": {
        "data": "msd",
        "common": {"modalities": ["ct"], "roi_size": [16] * 3, "spacing_mm": [4.0] * 3, "num_workers": 0}
        | {"device": "cpu", "amp": False},
        "train": {"epochs": 1, "samples_per_epoch": 2, "batch_size": 1, "val_interval": 1},
        "networks": {"dyn_unet": {"dyn_unet::filters": [8, 8, 8, 8]}},
        "count": "n_cases",
        "outputs": ["pred"],
    },
    "lung_nodule_ct_detection": {
        "data": "luna16",
        "common": {
            "roi_size": [32, 32, 16],
            "window_size": [48, 48, 32],
            "spacing_mm": [4.0] * 3,
            "num_workers": 0,
            "device": "cpu",
            "amp": False,
        },
        "train": {"epochs": 1, "samples_per_epoch": 2, "batch_size": 1, "val_interval": 1},
        "inference": {"score_threshold": 0.0},
        "evaluate": {"score_threshold": 0.0},
        "networks": {
            "light_fpn": {
                "network_def": "@light_fpn",
                "light_fpn::feature_extractor::channels": [8, 8],
                "light_fpn::feature_extractor::out_channels": 16,
            },
            "resnet50_fpn": {},
        },
        "count": "n_scans",
        # Maps of three levels. A dictionary cannot be traced; ONNX has only lists.
        "outputs": [f"{kind}_{level}" for kind in ("classification", "box_regression") for level in range(3)],
        "script": True,
        "onnx": {"light_fpn::use_list_output": True, "resnet50_fpn::use_list_output": True},
    },
}
NETWORKS = [(root, name) for root in BUNDLES for name in TINY.get(root.name, {"networks": ()})["networks"]]
each_bundle = pytest.mark.parametrize("root", BUNDLES, ids=lambda root: root.name)
each_network = pytest.mark.parametrize(("root", "network"), NETWORKS, ids=lambda value: getattr(value, "name", value))


def files(root: Path, workflow: str) -> list[str]:
    found = (config_file(root, name) for name in LAYERS[workflow])
    return [str(path) for path in found if path is not None]


def meta_file(root: Path) -> str:
    return str(root / "configs" / "metadata.json")


def quick(root: Path, workflow: str, *, dataset: Callable[[str], Path], output_dir: Path) -> dict[str, Any]:
    """Overrides under which a workflow takes seconds."""
    tiny = TINY[root.name]
    return {
        **tiny["common"],
        **tiny.get(workflow, {}),
        **next(iter(tiny["networks"].values())),
        "bundle_root": str(root),
        "dataset_dir": str(dataset(tiny["data"])),
        "output_dir": str(output_dir),
    }


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A few small cases of the kind that a bundle takes."""

    @functools.cache
    def make(kind: str) -> Path:
        from medseg.datasets.phantoms import PHANTOMS

        folder = tmp_path_factory.mktemp("data") / kind
        PHANTOMS[kind](folder, cases=5, seed=0, shape=(48, 56, 40), spacing_mm=4.0)
        return folder

    return make


def test_there_is_a_bundle_and_each_says_what_makes_its_checks_quick() -> None:
    assert BUNDLES
    assert {root.name for root in BUNDLES} <= set(TINY)


@each_bundle
def test_the_static_check_finds_no_error(root: Path) -> None:
    assert [str(f) for f in check_bundle(root) if f.level == "error"] == []


@each_bundle
def test_the_name_tells_monai_label_what_the_bundle_does(root: Path) -> None:
    assert any(kind in root.name for kind in ("segmentation", "detection", "classification"))


@each_bundle
def test_the_contract_keys_are_top_level_keys(root: Path) -> None:
    everywhere = {"bundle_root", "dataset_dir", "datalist", "fold", "output_dir", "ckpt_path", "device", "amp"}
    everywhere |= {"num_workers", "roi_size", "modalities", "label_convention", "network_def"}
    training = {"seed", "epochs", "val_interval", "batch_size", "learning_rate", "resume"}
    assert everywhere <= compose(root, "inference").config.keys()
    assert everywhere | training <= compose(root, "train").config.keys()


@each_bundle
@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_lies_over_every_bundle(root: Path, preset: Path) -> None:
    changed = []
    for workflow in LAYERS:
        plain = compose(root, workflow).config
        laid = compose(root, workflow, presets=[str(preset)])
        changed += [key for key in plain if plain[key] != laid.config[key]]
        assert [str(f) for f in check_composition(laid) if f.level == "error"] == []
    assert set(changed) <= CONTRACT_KEYS | {"train", "validate"}


@each_bundle
@pytest.mark.parametrize("workflow", list(LAYERS))
def test_stock_monai_misses_no_property(
    root: Path, workflow: str, dataset: Callable[[str], Path], tmp_path: Path
) -> None:
    from monai.bundle import ConfigWorkflow

    stock = ConfigWorkflow(
        config_file=files(root, workflow),
        meta_file=meta_file(root),
        logging_file=False,
        workflow_type="train" if workflow == "train" else "inference",
        **quick(root, workflow, dataset=dataset, output_dir=tmp_path),
    )
    stock.initialize()
    assert stock.check_properties() == []
    for name, facts in stock.properties.items():
        # Ours miss none, the optional ones included.
        assert stock._get_prop_id(name, facts) is not None, name


@each_bundle
def test_stock_monai_trains_infers_and_evaluates(
    root: Path, dataset: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from monai.bundle import run

    monkeypatch.chdir(root)
    trained, predicted, scored = tmp_path / "run", tmp_path / "predictions", tmp_path / "scores"
    run(args_file="configs/args/train.yaml", **quick(root, "train", dataset=dataset, output_dir=trained))
    assert (trained / "model.pt").is_file()
    for workflow, folder in (("inference", predicted), ("evaluate", scored)):
        options = quick(root, workflow, dataset=dataset, output_dir=folder)
        run(args_file=f"configs/args/{workflow}.yaml", **options, ckpt_path=str(trained / "model.pt"))
    assert list(predicted.glob("*.nii.gz"))
    count = json.loads((scored / "summary.json").read_text())[TINY[root.name]["count"]]
    assert count == len(list(predicted.glob("*.nii.gz")))


@each_bundle
def test_stock_monai_verifies_the_metadata_offline(root: Path, tmp_path: Path, schema_url: str) -> None:
    from monai.bundle import verify_metadata

    meta = json.loads(Path(meta_file(root)).read_text()) | {"schema": schema_url}
    (tmp_path / "metadata.json").write_text(json.dumps(meta))
    verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(tmp_path / "schema.json"))
    del meta["network_data_format"]["inputs"]["image"]["dtype"]
    (tmp_path / "metadata.json").write_text(json.dumps(meta))
    with pytest.raises(ValueError, match="Failed validating"):
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(tmp_path / "schema.json"))


@pytest.fixture(scope="module")
def schema_url() -> Iterator[str]:
    """Our schema of metadata.json, served on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    handler = functools.partial(Quiet, directory=str(SCHEMA.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{SCHEMA.name}"
        server.shutdown()


@each_network
def test_the_network_takes_and_gives_what_the_metadata_says(root: Path, network: str) -> None:
    from monai.bundle import verify_net_in_out

    if read_document(Path(meta_file(root))).content["network_data_format"]["outputs"]["pred"]["type"] == "object":
        maps_fit(root, network)  # MONAI's check knows tensors only
        return
    verify_net_in_out(
        net_id="network_def",
        meta_file=meta_file(root),
        config_file=files(root, "inference"),
        device="cpu",
        **TINY[root.name]["networks"][network],
    )


def maps_fit(root: Path, network: str) -> None:
    """Checks the maps of a detector on the smallest image that the metadata allows."""
    import torch
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(files(root, "inference"))
    parser.update(TINY[root.name]["networks"][network])
    image = read_document(Path(meta_file(root))).content["network_data_format"]["inputs"]["image"]
    size = [int(sides.removesuffix("*n")) for sides in image["spatial_shape"]]
    with torch.no_grad():
        maps = parser.get_parsed_content("network_def").eval()(torch.rand(1, image["num_channels"], *size))
    anchors = parser.get_parsed_content("anchors")
    for key, channels in (("classification", anchors.per_cell), ("box_regression", 6 * anchors.per_cell)):
        assert [level.shape[1] for level in maps[key]] == [channels] * len(anchors.boxes)
        assert all(level.dtype == torch.float32 for level in maps[key])


@pytest.fixture
def checkpoint(root: Path, network: str, tmp_path: Path) -> Path:
    import torch
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(files(root, "inference"))
    parser.update(TINY[root.name]["networks"][network])
    torch.save(parser.get_parsed_content("network_def").state_dict(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


@each_network
def test_stock_monai_exports_torchscript_with_the_configs_inside(root: Path, network: str, checkpoint: Path) -> None:
    import torch
    from monai.bundle import ckpt_export

    path = checkpoint.with_suffix(".ts")
    ckpt_export(
        net_id="network_def",
        filepath=str(path),
        ckpt_file=str(checkpoint),
        meta_file=meta_file(root),
        config_file=files(root, "inference"),
        use_trace=not TINY[root.name].get("script", False),
        **TINY[root.name]["networks"][network],
    )
    exported = torch.jit.load(path, _extra_files=(extra := {"inference.json": "", "metadata.json": ""}))
    channels = read_document(Path(meta_file(root))).content["network_data_format"]["inputs"]["image"]["num_channels"]
    output = exported(torch.zeros(1, channels, 32, 32, 32))
    assert (output["classification"][0] if isinstance(output, dict) else output).shape[0] == 1
    assert json.loads(extra["inference.json"])["dataset"]


@each_network
def test_stock_monai_exports_onnx_with_dynamic_axes(root: Path, network: str, checkpoint: Path) -> None:
    import onnx
    from monai.bundle import onnx_export

    path, outputs = checkpoint.with_suffix(".onnx"), TINY[root.name]["outputs"]
    axes = {0: "batch", 2: "x", 3: "y", 4: "z"}
    onnx_export(
        net_id="network_def",
        filepath=str(path),
        ckpt_file=str(checkpoint),
        meta_file=meta_file(root),
        config_file=files(root, "inference"),
        use_trace=True,
        converter_kwargs={
            "input_names": ["image"],
            "output_names": outputs,
            "dynamic_axes": dict.fromkeys(("image", *outputs), axes),
            # torch's newer exporter needs onnxscript and names the axes by itself.
            "dynamo": False,
        },
        **TINY[root.name]["networks"][network],
        **TINY[root.name].get("onnx", {}),
    )
    graph = onnx.load(path).graph
    assert [[d.dim_param for d in t.type.tensor_type.shape.dim][2:] for t in graph.input] == [["x", "y", "z"]]
    assert [t.name for t in (*graph.input, *graph.output)] == ["image", *outputs]
