"""The network's file, opened with onnxruntime or openvino."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.errors import ConfigError, WeightsError
from medseg.runtime.group_norms import exact_instance_norms, spread_group_norms
from medseg.runtime.runtimes import Runtime, default_runtime, runtime_of

Floats = npt.NDArray[np.float32]
Network = Callable[[Floats], Floats]
_ONNX, _OPENVINO = "onnxruntime", "openvino"
INSTALL = {
    _ONNX: "pip install 'medseg[onnx]', or pip install onnxruntime where medseg is not",
    _OPENVINO: "pip install 'medseg[openvino]', or pip install openvino where medseg is not",
    "onnx": "pip install 'medseg[onnx]'",
    "tensorrt": "pip install 'medseg[tensorrt]'",
    "nncf": "pip install 'medseg[int8]'",
}
_TENSORRT = "TensorrtExecutionProvider"


def open_network(path: Path, *, threads: int | None = None, runtime: str | None = None) -> Network:
    """A function from windows `(B, C, X, Y, Z)` to logits `(B, R, X, Y, Z)`, both float32.

    Args:
        path: `.onnx`, or OpenVINO's `.xml` with its `.bin` beside it.
        threads: Cores to use; all when None.
        runtime: A name of `medseg.runtime.runtimes.RUNTIMES`; the one that changes least when None.

    Raises:
        ConfigError: When the library is not installed, with the command that installs it; when the runtime cannot
            run this file or needs a GPU that is not there.
        WeightsError: When the file is missing or another kind of file.
    """
    if path.suffix not in (".onnx", ".xml") or not path.is_file():
        msg = f"{path}: no network for this runtime. Wanted an .onnx file, or OpenVINO's .xml; export the bundle again."
        raise WeightsError(msg)
    name = runtime or default_runtime(path)
    chosen = runtime_of(name)
    if chosen.suffix != path.suffix:
        msg = f"{path}: runtime {name} runs {chosen.suffix} files. Export the bundle with --format {chosen.format}."
        raise ConfigError(msg)
    if path.suffix == ".xml":
        return _open_openvino(path, threads, chosen)
    return _open_onnx(path, threads, tensorrt=name == "tensorrt")


def not_installed(library: str) -> ConfigError:
    """The error for a library that is not there, with the command that installs it."""
    return ConfigError(f"{library} is not installed. Install it: {INSTALL[library]}.")


def _open_onnx(path: Path, threads: int | None, *, tensorrt: bool) -> Network:
    try:
        import onnxruntime
    except ImportError as error:
        raise not_installed(_ONNX) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    providers = onnxruntime.get_available_providers()
    if tensorrt and _TENSORRT not in providers:
        msg = (
            f"runtime tensorrt: needs an NVIDIA GPU and onnxruntime-gpu with TensorRT; here are {', '.join(providers)}."
        )
        msg += " Install them: pip install onnxruntime-gpu tensorrt; or choose another --runtime."
        raise ConfigError(msg)
    if not tensorrt:
        providers = [name for name in providers if name != _TENSORRT]
    session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    if tensorrt and _TENSORRT not in session.get_providers():
        msg = "runtime tensorrt: TensorRT did not start on this machine. Choose another --runtime."
        raise ConfigError(msg)
    name = session.get_inputs()[0].name

    def run(window: Floats) -> Floats:
        logits: Floats = session.run(None, {name: window})[0]
        return logits

    return run


def _open_openvino(path: Path, threads: int | None, chosen: Runtime) -> Network:
    try:
        import openvino
    except ImportError as error:
        raise not_installed(_OPENVINO) from error
    # OpenVINO computes in bf16 where the CPU can, unless the options say how exact to be.
    config = dict(chosen.options)
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    core = openvino.Core()
    model = core.read_model(str(path))
    if not chosen.fixed_shapes:
        model = exact_instance_norms(model) if chosen.exact_norms else model
        request = core.compile_model(model, "CPU", config).create_infer_request()
        return lambda window: _inferred(request, window)
    ready: dict[tuple[int, ...], Any] = {}

    def run(window: Floats) -> Floats:
        if window.shape not in ready:
            ready.clear()
            model.reshape(list(window.shape))
            compiled = core.compile_model(spread_group_norms(model), "CPU", config)
            ready[window.shape] = compiled.create_infer_request()
        return _inferred(ready[window.shape], window)

    return run


def _inferred(request: Any, window: Floats) -> Floats:
    request.infer({0: window}, share_inputs=True)
    return np.array(request.get_output_tensor(0).data, dtype=np.float32)
