"""What can run a network: one table, with what each does to the masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medseg.errors import ConfigError

TORCH, INT8 = "torch", "openvino_int8"


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One way of running an exported network.

    Attributes:
        library: What is imported.
        format: What `medseg bundle export --format` writes for it.
        suffix: Of the network's file.
        effect: On the masks, against those of the bundle in float32.
        within: Largest root mean square difference of the logits from torch's in float32, as a share of theirs; the
            self-check at loading holds the runtime to it.
        options: For the library.
        fixed_shapes: Whether the network is compiled for the windows' shape, anew when that changes; OpenVINO then runs
            group norms without copies.
        exact_norms: Whether OpenVINO's instance norms are taken apart into short sums, for a seventh more time.
    """

    library: str
    format: str
    suffix: str
    effect: str
    within: float
    options: Mapping[str, Any] = field(default_factory=dict)
    fixed_shapes: bool = False
    exact_norms: bool = False


RUNTIMES: dict[str, Runtime] = {
    "onnxruntime": Runtime(
        library="onnxruntime", format="onnx", suffix=".onnx", effect="the same within float32 rounding", within=1e-3
    ),
    "openvino": Runtime(
        library="openvino",
        format="openvino",
        suffix=".xml",
        effect="the same within float32 rounding",
        within=1e-3,
        options={"INFERENCE_PRECISION_HINT": "f32"},
        exact_norms=True,
    ),
    "openvino_bf16": Runtime(
        library="openvino",
        format="openvino",
        suffix=".xml",
        effect="computed in bfloat16: voxels at the borders change",
        within=0.05,
        options={"INFERENCE_PRECISION_HINT": "bf16"},
        fixed_shapes=True,
    ),
    INT8: Runtime(
        library="openvino",
        format="openvino",
        suffix=".xml",
        effect="quantised to 8 bits: masks change, as far as the export's README.md says",
        within=0.5,
        options={"INFERENCE_PRECISION_HINT": "f32"},
    ),
    "tensorrt": Runtime(
        library="tensorrt",
        format="onnx",
        suffix=".onnx",
        effect="computed on the GPU, in TF32 where it has that: voxels at the borders change",
        within=0.01,
    ),
}


def runtime_of(name: str) -> Runtime:
    """The runtime of that name.

    Raises:
        ConfigError: When there is none, with those that there are.
    """
    if name not in RUNTIMES:
        msg = f"runtime {name!r} is unknown. Choose one of: {', '.join((TORCH, *RUNTIMES))}."
        raise ConfigError(msg)
    return RUNTIMES[name]


def default_runtime(network: Path) -> str:
    """The runtime for a network's file when none is asked for: the one that changes least."""
    return "openvino" if network.suffix == ".xml" else "onnxruntime"
