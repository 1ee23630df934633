"""Words that are none of those an argument takes, such as a misspelt way to interpolate or a device."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

from medseg.bundle import ids
from medseg.bundle.compose import Composition
from medseg.bundle.constants import UnknownError, constant
from medseg.bundle.findings import Found
from medseg.bundle.known_networks import NETWORKS, class_of, source_of
from medseg.runtime.runtimes import RUNTIMES

_RESAMPLERS = re.compile(
    r"(Rand)?(Spacing|SpatialResample|ResampleToMatch|Resize|Affine|Rotate|Zoom|2DElastic|3DElastic)(d|D|Dict)?"
)
_OF_MEDSEG = "medseg.datasets."
# In MONAI 1.6.1's sources: GridSampleMode and InterpolateMode.
_MODES = ("bilinear", "nearest", "bicubic", "nearest-exact", "linear", "trilinear", "area")
# GridSamplePadMode, NdimageMode, NumpyPadMode and PytorchPadMode.
_PADDINGS = (
    "zeros", "border", "reflection", "nearest", "reflect", "mirror", "constant", "wrap", "edge", "symmetric",
    "replicate", "circular", "grid-mirror", "grid-constant", "grid-wrap", "linear_ramp", "maximum", "mean", "median",
    "minimum", "empty",
)  # fmt: skip
# monai.networks.layers.factories: Norm and Act.
_NORMS = ("instance", "batch", "instance_nvfuser", "group", "layer", "localresponse", "syncbatch")
_ACTS = (
    "elu", "relu", "leakyrelu", "prelu", "relu6", "selu", "celu", "gelu", "sigmoid", "tanh", "softmax", "logsoftmax",
    "swish", "memswish", "mish", "geglu",
)  # fmt: skip
_DEVICE = re.compile(r"(cpu|cuda|mps|xpu|hpu|xla|meta)(:\d+)?")
# monai.utils: BlendMode, LossReduction and MetricReduction.
_BLENDS = ("constant", "gaussian")
_REDUCTIONS = ("none", "mean", "sum", "mean_batch", "sum_batch", "mean_channel", "sum_channel", "batchmean")
_LAYERS = {"norm": _NORMS, "norm_name": _NORMS, "act": _ACTS, "act_name": _ACTS}
_DATA = {"section": ("training", "validation", "testing"), "annotations": ("boxes", "masks")}
_SWITCHES = ("amp", "tta", "channels_last")
_TRUTHS = ("true", "false", "none", "null")  # as texts they are found elsewhere


def unknown_options(composition: Composition) -> Found:
    """Words that a resampling transform, a network, a dataset or a switch does not know."""
    config = composition.config
    said: dict[str, str] = {}
    for id_, component in ids.walk(config):
        if not ids.is_component(component):
            continue
        if _RESAMPLERS.fullmatch(class_of(component)):
            said |= _modes(config, id_)
            said |= _word(config, source_of(config, f"{id_}{ids.SEP}padding_mode"), _PADDINGS)
        said |= _device(config, id_)
        if class_of(component).startswith("SlidingWindow"):
            said |= _word(config, source_of(config, f"{id_}{ids.SEP}mode"), _BLENDS)
        said |= _word(config, source_of(config, f"{id_}{ids.SEP}reduction"), _REDUCTIONS)
        if class_of(component) in NETWORKS:
            for name in _LAYERS.keys() & component.keys():
                said |= _layer(config, f"{id_}{ids.SEP}{name}", _LAYERS[name])
        if str(component["_target_"]).startswith(_OF_MEDSEG):
            for name in _DATA.keys() & component.keys():
                said |= _word(config, source_of(config, f"{id_}{ids.SEP}{name}"), _DATA[name])
    said |= _word(config, "runtime" if "runtime" in config else None, ("torch", *RUNTIMES))
    for id_, message in said.items():
        yield id_, message, "error"
    device = config.get("device")
    if isinstance(device, str) and device[:1] not in ("$", "@", "%") and not _DEVICE.fullmatch(device):
        yield "device", f"torch knows no device {device!r}. Write cpu, cuda or cuda:0.", "error"
    for key in _SWITCHES:
        value = config.get(key)
        if _is_word(value) and str(value).strip().lower() not in _TRUTHS:
            yield key, f"{value!r} is a text, and as such true. Write true or false.", "error"


def _device(config: dict[str, Any], id_: str) -> dict[str, str]:
    """A component's own device, written as a text."""
    value = ids.get_at(config, id_).get("device")
    if not isinstance(value, str) or value[:1] in ("$", "@", "%") or _DEVICE.fullmatch(value):
        return {}
    return {f"{id_}{ids.SEP}device": f"torch knows no device {value!r}. Write '@device', or cpu, cuda or cuda:0."}


def _modes(config: dict[str, Any], id_: str) -> dict[str, str]:
    source = source_of(config, f"{id_}{ids.SEP}mode")
    modes = ids.get_at(config, source) if source else None
    if source is None or not isinstance(modes, list):
        return _word(config, source, _MODES)
    said: dict[str, str] = {}
    for number in range(len(modes)):
        said |= _word(config, source_of(config, f"{source}{ids.SEP}{number}"), _MODES)
    try:
        keys = constant(config, f"{id_}{ids.SEP}keys")
    except UnknownError:
        return said
    if isinstance(keys, list) and keys and len(modes) not in (1, len(keys)):
        said[source] = f"{len(modes)} modes for the {len(keys)} keys of {id_}."
    return said


def _layer(config: dict[str, Any], id_: str, known: Iterable[str]) -> dict[str, str]:
    """A layer is a name, or a list of a name and arguments."""
    source = source_of(config, id_)
    value = ids.get_at(config, source) if source else None
    return _word(config, f"{source}{ids.SEP}0" if isinstance(value, list) and value else source, known)


def _word(config: dict[str, Any], id_: str | None, known: Iterable[str]) -> dict[str, str]:
    value = ids.get_at(config, id_) if id_ else None
    if id_ is None or not _is_word(value) or str(value).lower() in known:
        return {}
    close = difflib.get_close_matches(str(value).lower(), known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return {id_: f"{value!r} is none of {', '.join(known)}.{hint}"}


def _is_word(value: Any) -> bool:
    """Whether it is a text that stands for itself; a number in quotes is the order of a spline."""
    return isinstance(value, str) and value[:1] not in ("$", "@", "%") and not value.isdigit()
