"""Prediction with an exported pipeline: the bundle's masks, without torch, and one clear line for what cannot be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medseg.bundle.compose import compose
from medseg.bundle.run import predict
from medseg.errors import ConfigError, DataError, WeightsError

BUNDLE = "brats_mri_segmentation"
TINY = [
    "residual_unet::channels=[4, 8]",
    "residual_unet::strides=[2]",
    "residual_unet::num_res_units=0",
    "roi_size=[16, 16, 16]",
    "spacing_mm=[2.0, 2.0, 2.0]",
    "modalities=[t1c, flair]",
    "min_component_share=0",
]
AND_WHAT_IT_LOADED = """
import sys
from medseg.cli.main import main
try:
    main()
except SystemExit as end:
    if end.code:
        raise
print("loaded:", sorted({'torch', 'monai', 'ignite'} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Weights and two cases of the BraTS bundle with a tiny network."""
    pytest.importorskip("onnxruntime", reason="the extra medseg[onnx] is not installed")
    import torch
    from monai.bundle import ConfigParser

    from medseg.bundle.parity import write_phantom

    folder = tmp_path_factory.mktemp("exported")
    torch.manual_seed(1)
    network = ConfigParser(compose(BUNDLE, "inference", overrides=TINY).config).get_parsed_content("network_def")
    with torch.no_grad():
        for value in network.parameters():
            value.mul_(3.0)
    torch.save(network.state_dict(), folder / "model.pt")
    steps = {
        "windows": {"size": [16] * 3},
        "spacing_mm": [2.0] * 3,
        "normalise": [],
        "modalities": ["t1c", "flair"],
    }
    for case in ("one", "two"):
        (folder / "scans" / case).mkdir(parents=True)
        for path in write_phantom(folder / "scans" / case, steps):
            path.rename(path.with_name(path.name.replace("phantom", case)))
    return SimpleNamespace(weights=folder / "model.pt", scans=folder / "scans", exports=folder / "exports")


@pytest.fixture(autouse=True)
def exports(made: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSEG_EXPORTS", str(made.exports))


def run(made: SimpleNamespace, output: Path, *more: str, **options: Any) -> list[np.ndarray]:
    written = predict(
        BUNDLE, [made.scans], output_dir=output, weights=made.weights, overrides=[*TINY, *more], **options
    )
    return [np.asarray(nib.load(path).dataobj) for path in written]


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * ((one > 0) & (other > 0)).sum() / max(int((one > 0).sum() + (other > 0).sum()), 1))


def test_onnxruntime_writes_the_masks_of_torch_and_says_so(made: SimpleNamespace, tmp_path: Path) -> None:
    wanted = run(made, tmp_path / "torch", "amp=false")
    got = run(made, tmp_path / "ort", "amp=false", runtime="onnxruntime", probabilities=True)
    for one, other in zip(wanted, got, strict=True):
        assert one.any()
        assert np.mean(one != other) < 1e-4
    said = json.loads((tmp_path / "ort" / "run.json").read_text())
    assert (said["status"], said["runtime"], said["bundle"]) == ("finished", "onnxruntime", BUNDLE)
    assert said["runtime_deviation"] < 1e-4
    assert said["can_change_masks"]["threshold"] == 0.5
    assert nib.load(tmp_path / "ort" / "probabilities" / "one.nii.gz").shape[3] == 3
    torch_said = json.loads((tmp_path / "torch" / "run.json").read_text())
    assert torch_said["runtime"] == "torch"
    assert torch_said["can_change_masks"]["amp"] is False


def test_the_second_prediction_needs_neither_torch_nor_monai(made: SimpleNamespace, tmp_path: Path) -> None:
    first = run(made, tmp_path / "here", runtime="onnxruntime")
    words = ["medseg", "predict", BUNDLE, made.scans, "-o", tmp_path / "there", "--weights", made.weights, *TINY]
    command = [sys.executable, "-c", AND_WHAT_IT_LOADED, *map(str, words[1:]), "runtime=onnxruntime"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert "loaded: []" in done.stdout
    there = [np.asarray(nib.load(tmp_path / "there" / f"{case}.nii.gz").dataobj) for case in ("one", "two")]
    assert all(np.array_equal(a, b) for a, b in zip(first, there, strict=True))
    folder = next(path.parent for path in made.exports.rglob("pipeline.json"))
    written = predict(str(folder), [made.scans], output_dir=tmp_path / "folder")
    assert np.array_equal(np.asarray(nib.load(written[0]).dataobj), first[0])


def test_a_bad_case_stops_none_of_the_others(made: SimpleNamespace, tmp_path: Path) -> None:
    run(made, tmp_path / "first", runtime="onnxruntime")
    items = [
        {"case_id": case, "image": [str(made.scans / case / f"{case}_{name}.nii.gz") for name in ("t1c", "flair")]}
        for case in ("one", "two")
    ]
    items[0]["image"][1] = items[0]["image"][1].replace("flair", "missing")
    with pytest.raises(DataError, match=r"missing.*\(1 of 2 cases are written"):
        run(made, tmp_path / "out", runtime="onnxruntime", items=items)
    assert (tmp_path / "out" / "two.nii.gz").is_file()
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "failed"


def test_a_case_that_cannot_be_written_stops_none_of_the_others(
    made: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medseg import volumes

    write = volumes.write_label_map

    def refuse(path: Path, *rest: Any, **more: Any) -> Path:
        if path.name == "one.nii.gz":
            msg = f"{path}: cannot be written (disk full)."
            raise DataError(msg)
        return write(path, *rest, **more)

    monkeypatch.setattr(volumes, "write_label_map", refuse)
    with pytest.raises(DataError, match=r"one.nii.gz: cannot be written \(disk full\).*\(1 of 2 cases are written"):
        run(made, tmp_path / "out", runtime="onnxruntime")
    assert (tmp_path / "out" / "two.nii.gz").is_file()
    log = (tmp_path / "out" / "predict.log").read_text()
    assert "two: predicted (1 of 2)" in log
    assert "one: predicted" not in log


def test_windows_that_it_does_not_know_are_refused(made: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="its placement has no counterpart without torch"):
        run(made, tmp_path / "out", "placement=foreground", runtime="onnxruntime")


def test_a_network_that_gives_other_logits_is_refused(made: SimpleNamespace, tmp_path: Path) -> None:
    from medseg.runtime import load_pipeline
    from medseg.runtime.self_check import FILE

    run(made, tmp_path / "first", runtime="onnxruntime")
    folder = tmp_path / "copy"
    original = next(path.parent for path in made.exports.rglob("pipeline.json"))
    folder.mkdir()
    for path in original.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    with np.load(folder / FILE) as kept:
        np.savez(folder / FILE, window=kept["window"], logits=kept["logits"] * 1.1)
    with pytest.raises(WeightsError, match="gives other logits here than torch gave at the export"):
        load_pipeline(folder)


@pytest.mark.parametrize(
    ("runtime", "line"),
    [
        ("onnx", "runtime 'onnx' is unknown. Choose one of: torch, onnxruntime, openvino"),
        ("openvino_int8", "wants scans to be calibrated on"),
    ],
)
def test_what_cannot_run_says_so_in_one_line(made: SimpleNamespace, tmp_path: Path, runtime: str, line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        run(made, tmp_path / "out", runtime=runtime)


def test_tensorrt_without_a_gpu_says_what_is_missing(made: SimpleNamespace, tmp_path: Path) -> None:
    import onnxruntime

    if "TensorrtExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("TensorRT is here")
    with pytest.raises(ConfigError, match="needs an NVIDIA GPU and onnxruntime-gpu with TensorRT"):
        run(made, tmp_path / "out", runtime="tensorrt")


def test_openvino_in_bf16_and_8_bits(made: SimpleNamespace, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="the extra medseg[openvino] is not installed")
    wanted = run(made, tmp_path / "f32", runtime="openvino")
    for one, other in zip(wanted, run(made, tmp_path / "bf16", runtime="openvino_bf16"), strict=True):
        assert dice(one, other) > 0.99
    said = json.loads((tmp_path / "bf16" / "run.json").read_text())
    assert "bfloat16" in said["runtime_effect"]
    pytest.importorskip("nncf", reason="the extra medseg[int8] is not installed")
    from medseg.bundle.export import export

    folder = tmp_path / "int8"
    export(BUNDLE, folder, format_="openvino", weights=made.weights, overrides=TINY, calibrate=[made.scans])
    found = json.loads((folder / "pipeline.json").read_text())["int8"]
    assert found["cases"] == ["one", "two"]
    assert "Quantised to 8 bits: other masks" in (folder / "README.md").read_text()
    written = predict(str(folder), [made.scans], output_dir=tmp_path / "small", runtime="openvino_int8")
    assert dice(wanted[0], np.asarray(nib.load(written[0]).dataobj)) > 0.8
