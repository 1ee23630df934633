"""A network written as TorchScript, ONNX, OpenVINO, TensorRT or a torch.export program, its axes named and dynamic."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medseg.errors import ConfigError
from medseg.runtime.sessions import not_installed

INPUT, OUTPUT = "image", "pred"
AXES = {0: "batch", 2: "x", 3: "y", 4: "z"}
_ONNX, _OPENVINO, _TENSORRT = "onnx", "openvino", "tensorrt"
_OPSET = 17
_MOST_SIDE = 1024


class _Flat(torch.nn.Module):
    """A network whose outputs come as a tuple of tensors, in the order of their names."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> Any:
        found = [tensor for _, tensor in named_outputs(self.network(image))]
        return found[0] if len(found) == 1 else tuple(found)


@dataclass(frozen=True, kw_only=True)
class Example:
    """What a network is traced with.

    Attributes:
        network: On the CPU, in evaluation mode.
        image: `(2, C, X, Y, Z)`, so that the batch is seen to vary.
        units: What each side must be a multiple of.
        names: Of the outputs.
    """

    network: torch.nn.Module
    image: torch.Tensor
    units: tuple[int, int, int]
    names: tuple[str, ...]


def make_example(network: torch.nn.Module, *, channels: int, window: Sequence[int], units: Sequence[int]) -> Example:
    """The network, and an image of the window's size that it is traced with."""
    flat = _Flat(network.cpu().eval())
    sides = [max(2 * unit, -(-side // unit) * unit) for side, unit in zip(window, units, strict=True)]
    image = torch.zeros(2, channels, *sides)
    with torch.inference_mode():
        names = tuple(name for name, _ in named_outputs(network(image)))
    x, y, z = units
    return Example(network=flat, image=image, units=(x, y, z), names=names)


def logits_of(example: Example, window: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What the network gives for a window in float32; the first output where there are several."""
    with torch.inference_mode():
        found = example.network(torch.from_numpy(window))
    logits = found[0] if isinstance(found, tuple) else found
    return np.asarray(logits.float().numpy())


def named_outputs(outputs: Any, name: str = OUTPUT) -> list[tuple[str, torch.Tensor]]:
    """The tensors of a network's output, with a name for each: `pred` for a tensor alone."""
    if isinstance(outputs, torch.Tensor):
        return [(name, outputs)]
    items = outputs.items() if isinstance(outputs, Mapping) else enumerate(outputs)
    prefix = "" if name == OUTPUT else f"{name}_"
    return [found for key, value in items for found in named_outputs(value, f"{prefix}{key}")]


def write_torchscript(example: Example, path: Path) -> None:
    """A traced module: sides that it was not traced with are fine where the network has no fixed shapes."""
    with _quiet(), torch.inference_mode():
        torch.jit.trace(example.network, example.image, check_trace=False).save(str(path))  # type: ignore[no-untyped-call]


def write_onnx(example: Example, path: Path) -> None:
    """An ONNX model of opset 17; batch and the three sides are dynamic and named.

    Raises:
        ConfigError: When the package onnx is missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise not_installed(_ONNX) from error
    axes = dict.fromkeys((INPUT, *example.names), AXES)
    with _quiet(), torch.inference_mode():
        # The exporter on top of torch.export needs one more package and ten times as long, for the same graph.
        torch.onnx.export(
            example.network,
            (example.image,),
            str(path),
            input_names=[INPUT],
            output_names=list(example.names),
            dynamic_axes=axes,
            opset_version=_OPSET,
            dynamo=False,
        )
    onnx.checker.check_model(str(path))


def write_openvino(example: Example, path: Path) -> None:
    """OpenVINO's .xml and .bin, weights in float32.

    Raises:
        ConfigError: When openvino or onnx is missing.
    """
    try:
        import openvino
    except ImportError as error:
        raise not_installed(_OPENVINO) from error
    between = path.with_suffix(".onnx")
    write_onnx(example, between)
    openvino.save_model(openvino.convert_model(str(between)), str(path), compress_to_fp16=False)
    between.unlink()


def write_pt2(example: Example, path: Path) -> None:
    """A torch.export program; each side is a multiple of its unit, up to 1024."""
    from torch.export import Dim

    sides = {
        axis: unit * Dim(name, min=1, max=_MOST_SIDE // unit) if unit > 1 else Dim(name, min=2, max=_MOST_SIDE)
        for (axis, name), unit in zip(list(AXES.items())[1:], example.units, strict=True)
    }
    with _quiet(), torch.no_grad():
        dims = ({0: Dim("batch", min=1, max=64), **sides},)
        program = torch.export.export(example.network, (example.image,), dynamic_shapes=dims, strict=False)
        torch.export.save(program, path)


def write_tensorrt(example: Example, path: Path) -> None:
    """A TensorRT engine for the GPU of this machine, for windows from two units to twice the traced size.

    Raises:
        ConfigError: When there is no GPU, tensorrt or onnx is missing, or no engine can be built.
    """
    if not torch.cuda.is_available():
        msg = "tensorrt: an engine is built on the GPU that it is to run on, and torch sees none here. "
        msg += "Export it where the GPU is, or as onnx."
        raise ConfigError(msg)
    try:
        import tensorrt
    except ImportError as error:
        raise not_installed(_TENSORRT) from error
    between = path.with_suffix(".onnx")
    write_onnx(example, between)
    builder = tensorrt.Builder(tensorrt.Logger(tensorrt.Logger.ERROR))
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, builder.logger)
    if not parser.parse_from_file(str(between)):
        msg = f"{path}: TensorRT does not read the network ({parser.get_error(0)}). Export it as onnx."
        raise ConfigError(msg)
    settings, profile = builder.create_builder_config(), builder.create_optimization_profile()
    channels, sides = example.image.shape[1], example.image.shape[2:]
    least = [2 * unit for unit in example.units]
    profile.set_shape(INPUT, (1, channels, *least), (1, channels, *sides), (4, channels, *(2 * side for side in sides)))
    settings.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, settings)
    if engine is None:
        msg = f"{path}: TensorRT built no engine; its log says why. Export it as onnx."
        raise ConfigError(msg)
    path.write_bytes(bytes(engine))
    between.unlink()


@dataclass(frozen=True, kw_only=True)
class NetworkFile:
    """A format: the file's name, how it is written, and the library that runs the whole pipeline with it."""

    file: str
    write: Callable[[Example, Path], None]
    runtime: str | None = None


FORMATS: dict[str, NetworkFile] = {
    "torchscript": NetworkFile(file="model.ts", write=write_torchscript),
    "onnx": NetworkFile(file="model.onnx", write=write_onnx, runtime="onnxruntime"),
    "openvino": NetworkFile(file="model.xml", write=write_openvino, runtime="openvino"),
    "tensorrt": NetworkFile(file="model.engine", write=write_tensorrt),
    "pt2": NetworkFile(file="model.pt2", write=write_pt2),
}


def run_bundle(
    item: Mapping[str, Any], *, preprocessing: Any, inferer: Any, network: torch.nn.Module, postprocessing: Any
) -> tuple[Any, Any]:
    """What the bundle's own steps give for a case, in float32 throughout.

    Returns:
        The probabilities `(R, X, Y, Z)` as `Invertd` leaves them, and the label map `(X, Y, Z)`.
    """
    with torch.inference_mode():
        data = preprocessing(dict(item))
        data["pred"] = inferer(data["image"][None].as_tensor(), network.eval())[0]
        data["pred"] = type(data["image"])(data["pred"]).copy_meta_from(data["image"])
        probabilities = data["pred"]
        for transform in postprocessing.transforms:
            if type(transform).__name__ != "SaveCased":
                data = transform(data)
            if type(transform).__name__ == "Invertd":
                probabilities = data["pred"]
    return probabilities.numpy(), data["pred"][0].numpy()


@contextmanager
def _quiet() -> Any:
    """Without the warnings of exporters about tracing and deprecation, which nobody can act on here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
