"""A bundle's inference as the few numbers that a runtime without torch needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medseg.errors import ConfigError
from medseg.runtime.pipeline import VERSION

_PASSED = ("EnsureTyped", "EnsureChannelFirstd", "LoadCased", "LoadImaged")
_RAS = ("R", "A", "S")


def describe_pipeline(
    preprocessing: Sequence[Any],
    inferer: Any,
    postprocessing: Sequence[Any],
    *,
    network: str,
    config: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of pipeline.json.

    Args:
        preprocessing: The bundle's transforms, as MONAI has built them.
        inferer: Its `medseg.inference.SlidingWindow`.
        postprocessing: Its transforms.
        network: Name of the network's file.
        config: The composed config, for the names of channels.

    Raises:
        ConfigError: When a step has no counterpart in `medseg.runtime`.
    """
    steps: dict[str, Any] = {
        "version": VERSION,
        "network": network,
        "modalities": list(config.get("modalities", [])),
        "orientation": "RAS",
        "spacing_mm": None,
        "crop_foreground": False,
        "normalise": [],
        "windows": _windows(inferer),
        "threshold": 0.5,
        "exclusive": False,
        "drop_components": None,
        "label_convention": config.get("label_convention"),
    }
    _read(preprocessing, _BEFORE, steps, where="preprocessing")
    _read(postprocessing, _AFTER, steps, where="postprocessing")
    return steps


def _read(
    transforms: Sequence[Any],
    readers: Mapping[str, Callable[[Any, dict[str, Any]], None]],
    steps: dict[str, Any],
    *,
    where: str,
) -> None:
    for transform in transforms:
        name = type(transform).__name__
        if name in _PASSED:
            continue
        if name not in readers:
            known = ", ".join(sorted(readers))
            msg = f"{where}: {name} has no counterpart without torch. Known: {known}. Export with --network-only."
            raise ConfigError(msg)
        readers[name](transform, steps)


def _windows(inferer: Any) -> dict[str, Any]:
    if type(inferer).__name__ != "SlidingWindow":
        name = type(inferer).__name__
        msg = f"inferer: {name} has no counterpart without torch, SlidingWindow has. Export with --network-only."
        raise ConfigError(msg)
    _need(inferer, "placement", inferer.placement == "everywhere")
    _need(inferer, "mode", str(getattr(inferer.mode, "value", inferer.mode)) == "gaussian")
    roi = inferer.roi_size
    return {
        "size": [int(side) for side in (roi if isinstance(roi, (list, tuple)) else [roi] * 3)],
        "overlap": float(inferer.overlap),
        "mirrors": [[int(axis) for axis in axes] for axes in inferer.mirrors],
    }


def _orientation(transform: Any, steps: dict[str, Any]) -> None:
    steps["orientation"] = "".join(transform.ornt_transform.axcodes or _RAS)


def _spacing(transform: Any, steps: dict[str, Any]) -> None:
    _need(transform, "mode", transform.mode[0] in ("bilinear", 1))
    steps["spacing_mm"] = [float(width) for width in transform.spacing_transform.pixdim]


def _crop(transform: Any, steps: dict[str, Any]) -> None:
    _need(transform, "select_fn and margin", transform.cropper.select_fn.__name__ == "is_positive")
    _need(transform, "position", not steps["normalise"])
    steps["crop_foreground"] = True


def _median(_: Any, steps: dict[str, Any]) -> None:
    steps["normalise"].append({"how": "median"})


def _mean(transform: Any, steps: dict[str, Any]) -> None:
    inner = transform.normalizer
    _need(transform, "subtrahend and divisor", inner.subtrahend is None and inner.divisor is None)
    wise = {"nonzero": bool(inner.nonzero), "channel_wise": bool(inner.channel_wise)}
    steps["normalise"].append({"how": "mean", **wise})


def _range(transform: Any, steps: dict[str, Any]) -> None:
    inner = transform.scaler
    limits = {key: float(getattr(inner, key)) for key in ("a_min", "a_max", "b_min", "b_max")}
    steps["normalise"].append({"how": "range", **limits, "clip": bool(inner.clip)})


def _sigmoid(transform: Any, _: dict[str, Any]) -> None:
    _need(transform, "activation", all(transform.sigmoid) and not any(transform.softmax))


def _invert(transform: Any, _: dict[str, Any]) -> None:
    _need(transform, "nearest_interp", not any(transform.nearest_interp))


def _threshold(transform: Any, steps: dict[str, Any]) -> None:
    _need(transform, "argmax", not any(transform.argmax) and transform.threshold[0] is not None)
    steps["threshold"] = float(transform.threshold[0])


def _settle(transform: Any, steps: dict[str, Any]) -> None:
    steps |= {"threshold": float(transform.threshold), "exclusive": True}


def _drop(transform: Any, steps: dict[str, Any]) -> None:
    if transform.share:
        steps["drop_components"] = {"share": float(transform.share), "outer": int(transform.outer)}


def _nothing(_: Any, __: dict[str, Any]) -> None:
    """A step that the runtime does anyway: it writes the label map, in the convention of the config."""


def _need(transform: Any, what: str, holds: bool) -> None:
    if not holds:
        msg = f"{type(transform).__name__}: its {what} has no counterpart without torch. Export with --network-only."
        raise ConfigError(msg)


_BEFORE: dict[str, Callable[[Any, dict[str, Any]], None]] = {
    "Orientationd": _orientation,
    "Spacingd": _spacing,
    "CropForegroundd": _crop,
    "NormalizeByMediand": _median,
    "NormalizeIntensityd": _mean,
    "ScaleIntensityRanged": _range,
}
_AFTER: dict[str, Callable[[Any, dict[str, Any]], None]] = {
    "Activationsd": _sigmoid,
    "Invertd": _invert,
    "AsDiscreted": _threshold,
    "DropSmallComponentsd": _drop,
    "SettleRegionsd": _settle,
    "RegionsToLabelsd": _nothing,
    "SaveCased": _nothing,
}
