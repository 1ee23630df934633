"""The network's file, opened with onnxruntime or openvino."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.errors import ConfigError, WeightsError

Floats = npt.NDArray[np.float32]
Network = Callable[[Floats], Floats]
_ONNX, _OPENVINO = "onnxruntime", "openvino"
INSTALL = {
    _ONNX: "pip install 'medseg[onnx]', or pip install onnxruntime where medseg is not",
    _OPENVINO: "pip install 'medseg[openvino]', or pip install openvino where medseg is not",
    "onnx": "pip install 'medseg[onnx]'",
    "tensorrt": "pip install 'medseg[tensorrt]'",
}


def open_network(path: Path, *, threads: int | None = None) -> Network:
    """A function from windows `(B, C, X, Y, Z)` to logits `(B, R, X, Y, Z)`, both float32.

    Args:
        path: `.onnx`, or OpenVINO's `.xml` with its `.bin` beside it.
        threads: Cores to use; all when None.

    Raises:
        ConfigError: When the library is not installed, with the command that installs it.
        WeightsError: When the file is missing or another kind of file.
    """
    openers = {".onnx": _open_onnx, ".xml": _open_openvino}
    if path.suffix not in openers or not path.is_file():
        msg = f"{path}: no network for this runtime. Wanted an .onnx file, or OpenVINO's .xml; export the bundle again."
        raise WeightsError(msg)
    return openers[path.suffix](path, threads)


def not_installed(library: str) -> ConfigError:
    """The error for a library that is not there, with the command that installs it."""
    return ConfigError(f"{library} is not installed. Install it: {INSTALL[library]}.")


def _open_onnx(path: Path, threads: int | None) -> Network:
    try:
        import onnxruntime
    except ImportError as error:
        raise not_installed(_ONNX) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(str(path), options, providers=onnxruntime.get_available_providers())
    name = session.get_inputs()[0].name

    def run(window: Floats) -> Floats:
        logits: Floats = session.run(None, {name: window})[0]
        return logits

    return run


def _open_openvino(path: Path, threads: int | None) -> Network:
    try:
        import openvino
    except ImportError as error:
        raise not_installed(_OPENVINO) from error
    # OpenVINO computes in bf16 where the CPU can, unless it is told how exact to be.
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    compiled = openvino.Core().compile_model(str(path), "CPU", config)

    def run(window: Floats) -> Floats:
        return np.array(compiled(window)[0], dtype=np.float32)

    return run
