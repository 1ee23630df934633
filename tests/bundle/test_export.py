from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medseg.bundle.compose import compose
from medseg.bundle.export import RUNTIME, Exported, export, runtime_sources, write_runtime
from medseg.bundle.parity import LEAST_DICE, Parity, compare, require_parity
from medseg.errors import ConfigError

BUNDLE = "brats_mri_segmentation"
TINY = (
    "residual_unet::channels=[4, 8]",
    "residual_unet::strides=[2]",
    "residual_unet::num_res_units=0",
    "roi_size=[16, 16, 16]",
    "spacing_mm=[2.0, 2.0, 2.0]",
    "modalities=[t1c, flair]",
)
# An import hook that makes torch and MONAI impossible, then the exported folder's own program.
BLOCKED = """
import runpy, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {'torch', 'monai', 'ignite'}:
            raise ImportError('blocked: ' + name)
sys.meta_path.insert(0, Blocked())
sys.path[:] = [p for p in sys.path if p != sys.argv[1]]
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from monai.bundle import ConfigParser

    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    parser = ConfigParser(compose(BUNDLE, "inference", overrides=TINY).config)
    network = parser.get_parsed_content("network_def")
    with torch.no_grad():
        for value in network.parameters():
            value.mul_(3.0)  # away from 0.5 everywhere, so that there is something to compare
    torch.save(network.state_dict(), path)
    return path


def exported(format_: str, folder: Path, weights: Path, *more: str, **options: Any) -> Exported:
    return export(BUNDLE, folder / format_, format_=format_, weights=weights, overrides=(*TINY, *more), **options)


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Exported:
    pytest.importorskip("onnxruntime", reason="the extra medseg[onnx] is not installed")
    return exported("onnx", tmp_path_factory.mktemp("export"), weights)


def test_the_onnx_network_has_named_dynamic_axes(onnx: Exported) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx.folder / "model.onnx"))
    (image,), (pred,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.shape) == ("image", ["batch", 2, "x", "y", "z"])
    assert pred.name == "pred"
    assert session.run(None, {"image": np.zeros((3, 2, 24, 16, 32), np.float32)})[0].shape == (3, 3, 24, 16, 32)


def test_the_onnx_pipeline_gives_the_bundles_masks(onnx: Exported) -> None:
    assert onnx.parity is not None
    assert onnx.parity.worst >= LEAST_DICE
    assert onnx.parity.labelled > 1000
    card = (onnx.folder / "README.md").read_text()
    assert "| 1 | 1.0000" in card or "| 1 | 0.9999" in card
    assert "pip install numpy nibabel onnxruntime" in card


def test_the_pipeline_runs_where_torch_and_monai_cannot_be_imported(onnx: Exported, tmp_path: Path) -> None:
    import nibabel as nib

    from medseg.bundle.parity import write_phantom
    from medseg.runtime import load_pipeline

    scans = write_phantom(tmp_path, json.loads((onnx.folder / "pipeline.json").read_text()))
    here = str(Path(__file__).resolve().parents[2])
    words = [sys.executable, "-c", BLOCKED, here, onnx.folder / RUNTIME, *scans, "-o", tmp_path / "out.nii.gz"]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = nib.load(tmp_path / "out.nii.gz")
    assert np.array_equal(written.affine, nib.load(scans[0]).affine)
    here_too = load_pipeline(onnx.folder).predict(scans, tmp_path / "here.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj), np.asarray(nib.load(here_too).dataobj))


def test_openvino_gives_the_bundles_masks(tmp_path: Path, weights: Path) -> None:
    pytest.importorskip("openvino", reason="the extra medseg[openvino] is not installed")
    made = exported("openvino", tmp_path, weights)
    assert made.parity is not None
    assert made.parity.worst >= LEAST_DICE
    assert {path.name for path in made.folder.iterdir()} >= {"model.xml", "model.bin", "pipeline.json", "runtime.pyz"}


@pytest.mark.parametrize(("format_", "file"), [("torchscript", "model.ts"), ("pt2", "model.pt2")])
def test_a_network_for_torch_takes_other_sizes(format_: str, file: str, tmp_path: Path, weights: Path) -> None:
    import torch

    made = exported(format_, tmp_path, weights)
    assert made.parity is None
    path = made.folder / file
    network = torch.jit.load(path) if format_ == "torchscript" else torch.export.load(path).module()
    # 32 is what metadata.json says each side is a multiple of.
    assert network(torch.zeros(1, 2, 64, 32, 96)).shape == (1, 3, 64, 32, 96)


def test_a_library_that_is_missing_is_named_with_its_command(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ConfigError, match=r"openvino is not installed. Install it: pip install 'medseg\[openvino\]'"):
        exported("openvino", tmp_path, weights)
    assert not (tmp_path / "openvino").exists()


def test_tensorrt_wants_a_gpu_and_then_its_library(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        ConfigError, match=r"^tensorrt: an engine is built on the GPU .*\. Export it where .*, or as onnx"
    ):
        exported("tensorrt", tmp_path, weights)
    assert not (tmp_path / "tensorrt").exists()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ConfigError, match=r"tensorrt is not installed. Install it: pip install 'medseg\[tensorrt\]'"):
        exported("tensorrt", tmp_path, weights)


def test_a_step_that_the_runtime_lacks_is_named(tmp_path: Path, weights: Path) -> None:
    pytest.importorskip("onnx")
    step = "+intensity_transforms=[{_target_: monai.transforms.MedianSmoothd, keys: image, radius: 1}]"
    with pytest.raises(ConfigError, match="preprocessing: MedianSmoothd has no counterpart without torch"):
        exported("onnx", tmp_path, weights, step)
    made = exported("onnx", tmp_path, weights, step, network_only=True)
    assert not (made.folder / "pipeline.json").exists()


def test_what_is_there_is_not_written_over(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "onnx").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        exported("onnx", tmp_path, weights)


def test_masks_that_differ_are_refused() -> None:
    reference = np.zeros((4, 4, 4), np.uint8)
    reference[:2] = 1
    other = reference.copy()
    other[0, 0, 0] = 0
    parity = compare((reference[None] * 1.0, reference), (other[None] * 1.0, other), values=[1])
    assert parity.worst == pytest.approx(2 * 31 / 63)
    assert (parity.differing, parity.decided, parity.gap) == (1, 1, 1.0)
    with pytest.raises(ConfigError, match="Dice 0.98413"):
        require_parity(parity, name="toy")
    require_parity(Parity(dice={1: 1.0}, gap=0.0, voxels=1, differing=0, decided=0, labelled=1), name="toy")


@pytest.mark.parametrize(
    ("probabilities", "decided"),
    [([0.5004, 0.1], 0), ([0.4996, 0.1], 0), ([0.51, 0.1], 1), ([0.4, 0.3995], 0), ([0.4, 0.39], 1), ([0.5004], 0)],
)
def test_voxels_on_the_edge_of_a_decision_are_told_from_the_others(probabilities: list[float], decided: int) -> None:
    expected = np.tile(np.array(probabilities)[:, None, None, None], (1, 2, 2, 2))
    reference, other = np.ones((2, 2, 2), np.uint8), np.ones((2, 2, 2), np.uint8)
    other[0, 0, 0] = 0
    parity = compare((expected, reference), (expected, other), values=[1])
    assert (parity.differing, parity.decided) == (1, decided)
    if decided:
        with pytest.raises(ConfigError, match="1 of them not by rounding"):
            require_parity(parity, name="toy")
    else:
        require_parity(parity, name="toy")


def test_the_runtime_is_small_and_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a.pyz", "b.pyz"):
        write_runtime(tmp_path / name)
    assert (tmp_path / "a.pyz").read_bytes() == (tmp_path / "b.pyz").read_bytes()
    assert (tmp_path / "a.pyz").stat().st_size < 100_000
    rooms = {path.relative_to(Path(path.anchor)).parts[-2] for path in runtime_sources()}
    assert rooms <= {"medseg", "runtime", "volumes", "labels"}
