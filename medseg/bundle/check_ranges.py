"""Values that are of the right kind, and that nothing can be done with."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

from medseg.bundle import ids
from medseg.bundle.check_ids import LEAST
from medseg.bundle.compose import Composition
from medseg.bundle.constants import UnknownError, constant, overrun
from medseg.bundle.findings import Found
from medseg.bundle.known_networks import class_of, network_of
from medseg.bundle.references import is_expression

_AXES = 3
_ORIENTED = re.compile(r"Orientation(d|D|Dict)?")
_WINDOWED = re.compile(r"ScaleIntensityRange(d|D|Dict)?")


@dataclass(frozen=True, kw_only=True)
class Range:
    """What numbers of some kind can be.

    Attributes:
        holds: Whether a number is one of them.
        said: The same in words.
    """

    holds: Callable[[float], bool]
    said: str


_SHARE = Range(holds=lambda v: 0 <= v <= 1, said="from 0 to 1")
_PART = Range(holds=lambda v: 0 <= v < 1, said="from 0 to below 1")
_ABOVE_0 = Range(holds=lambda v: v > 0, said="above 0")
_FROM_0 = Range(holds=lambda v: v >= 0, said="from 0 on")
_FROM_1 = Range(holds=lambda v: v >= 1, said="from 1 on")
_TURN = Range(holds=lambda v: abs(v) <= 2 * math.pi, said="radians, at most 6.28")
# Of keys of the config and of arguments alike: each means the same wherever it stands.
_RANGES = {
    "learning_rate": _ABOVE_0,
    "lr": _ABOVE_0,
    "spacing_mm": _ABOVE_0,
    "weight_decay": _FROM_0,
    "overlap": _PART,
    "momentum": _PART,
    "ema_decay": _PART,
    "dropout_prob": _PART,
    "prob": _SHARE,
    "nms_iou": _SHARE,
    "score_threshold": _SHARE,
    "cache_rate": _SHARE,
    "betas": _PART,
    "pos": _FROM_0,
    "neg": _FROM_0,
    "smooth_nr": _FROM_0,
    "smooth_dr": _FROM_0,
    "std": _FROM_0,
    "clip_norm": _ABOVE_0,
    "max_memory_mb": _ABOVE_0,
    "spatial_dims": Range(holds=lambda v: v in (1, 2, 3), said="1, 2 or 3"),
    "rotate_range": _TURN,
    "range_x": _TURN,
    "range_y": _TURN,
    "range_z": _TURN,
    # MONAI scales by 1 + u with u between -v and v.
    "scale_range": Range(holds=lambda v: -1 < v < 1, said="between -1 and 1, as what is added to 1"),
    **dict.fromkeys(("num_res_units", "num_workers", "patience", "early_stopping", "cache_cases"), _FROM_0),
    **dict.fromkeys(
        ("batch_size", "sw_batch_size", "accumulation_steps", "num_samples", "interval", "max_detections"), _FROM_1
    ),
    **dict.fromkeys(("channels", "filters", "init_filters", "num_groups", "step_size"), _FROM_1),
    **dict.fromkeys(("strides", "kernel_size", "kernel_sizes", "upsample_kernel_size"), _FROM_1),
}
_SHARES = "_share"  # how keys end that are one, too
# Possible, and most often a slip of the unit or of the exponent.
_USUAL = {
    "learning_rate": Range(holds=lambda v: v <= 1, said="1 at most"),
    "spacing_mm": Range(holds=lambda v: 0.01 <= v <= 100, said="millimetres, from 0.01 to 100"),
}
_RISING = ("zoom_range", "intensity_range")
_AXES_OF = re.compile(r"(Rand)?(Flip|Rotate90|AxisFlip)(d|D|Dict)?")
_OF_REGIONS = ("inside", "outer")
_ONE_OF = {"amp_dtype": ("bfloat16", "float16")}


def impossible_values(composition: Composition) -> Found:
    """Numbers out of range, axes and channels that come twice, windows upside down, elements beyond a list's end."""
    config = composition.config
    for id_, value in ids.walk(config):
        key = id_.rpartition(ids.SEP)[2]
        yield from _out_of_range(id_, key, value)
        if ids.is_component(value):
            yield from _component(config, id_, value)
        elif is_expression(value) and overrun(config, id_):
            yield id_, f"{value!r} looks for an element beyond the end of a list.", "error"
    yield from _lists(config)


def _out_of_range(id_: str, key: str, value: Any) -> Found:
    if key in _ONE_OF and isinstance(value, str) and value[:1] not in ("$", "@", "%") and value not in _ONE_OF[key]:
        yield id_, f"{value!r} is none of {', '.join(_ONE_OF[key])}.", "error"
    numbers = list(_numbers(value, nested=key != "scale_range"))
    wanted = _RANGES.get(key, _SHARE if key.endswith(_SHARES) else None)
    if not numbers or not all(map(_is_number, numbers)) or id_ in LEAST:
        return
    if key in _RISING and len(numbers) == 2 and numbers[0] >= numbers[1]:
        yield id_, f"{value} does not rise.", "error"
    elif wanted is not None and not all(wanted.holds(n) for n in numbers):
        yield id_, f"{value} is out of range; wanted {wanted.said}.", "error"
    elif key in _USUAL and not all(_USUAL[key].holds(n) for n in numbers):
        yield id_, f"{value} is unusual; wanted {_USUAL[key].said}.", "warning"


def _numbers(value: Any, *, nested: bool) -> Iterator[Any]:
    for element in value if isinstance(value, list) else [value]:
        if isinstance(element, list) and nested:
            yield from element
        else:
            yield element


def _component(config: dict[str, Any], id_: str, component: dict[str, Any]) -> Found:
    if _ORIENTED.fullmatch(class_of(component)) and isinstance(axes := component.get("axcodes"), str):
        ends = [next((pair for pair in ("LR", "PA", "IS") if axis in pair), "") for axis in axes]
        if axes[:1] not in ("$", "@", "%") and (
            len(axes) not in (2, _AXES) or "" in ends or len(set(ends)) < len(ends)
        ):
            yield f"{id_}{ids.SEP}axcodes", f"{axes!r} is no orientation, such as RAS.", "error"
    if _WINDOWED.fullmatch(class_of(component)):
        low, high = (_known(config, f"{id_}{ids.SEP}{name}") for name in ("a_min", "a_max"))
        if _is_number(low) and _is_number(high) and low >= high:
            yield f"{id_}{ids.SEP}a_min", f"the window from {low} to {high} is empty.", "error"
        low, high = component.get("b_min"), component.get("b_max")
        if _is_number(low) and _is_number(high) and low >= high:
            yield f"{id_}{ids.SEP}b_max", f"{high} is not above b_min, {low}.", "error"
    if _AXES_OF.fullmatch(class_of(component)):
        for name in ("spatial_axis", "spatial_axes"):
            yield from _axes(config, f"{id_}{ids.SEP}{name}", component.get(name))
    regions: Any = config.get("regions")
    for name in _OF_REGIONS if isinstance(regions, list) else ():
        index = component.get(name)
        if _is_number(index) and not 0 <= index < len(regions):
            yield f"{id_}{ids.SEP}{name}", f"there is no region {index}; regions are numbered from 0.", "error"


def _axes(config: dict[str, Any], id_: str, axes: Any) -> Found:
    found = network_of(config)
    dims = found[1].get("spatial_dims", _AXES) if found else _AXES
    numbers = axes if isinstance(axes, list) else [axes]
    wrong = [n for n in numbers if _is_number(n) and isinstance(dims, int) and not -dims <= n < dims]
    if wrong:
        yield id_, f"there is no axis {wrong[0]}; the {dims} axes are numbered from 0.", "error"


def _lists(config: dict[str, Any]) -> Found:
    for key in ("modalities", "regions", "label_names"):
        names = config.get(key)
        twice = [n for n, count in Counter(map(str, names)).items() if count > 1] if isinstance(names, list) else []
        if twice:
            yield key, f"{twice[0]!r} comes twice.", "error"
    yield from _axes(config, "mirror_axes", config.get("mirror_axes"))
    spacing, window = config.get("spacing_mm"), config.get("window_hu")
    if isinstance(spacing, list) and len(spacing) != _AXES:
        yield "spacing_mm", f"{spacing} has {len(spacing)} axes; {_AXES} are wanted.", "error"
    if isinstance(window, list) and len(window) == 2 and all(map(_is_number, window)) and window[0] >= window[1]:
        yield "window_hu", f"the window from {window[0]} to {window[1]} is empty.", "error"


def _known(config: dict[str, Any], id_: str) -> Any:
    try:
        return constant(config, id_)
    except UnknownError:
        return None


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
