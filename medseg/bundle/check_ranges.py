"""Values that are of the right kind, and that nothing can be done with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from medseg.bundle import ids
from medseg.bundle.compose import Composition
from medseg.bundle.constants import UnknownError, constant, overrun
from medseg.bundle.findings import Found
from medseg.bundle.known_networks import class_of
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
}
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
    numbers = value if isinstance(value, list) else [value]
    if key not in _RANGES or not numbers or not all(_is_number(n) for n in numbers):
        return
    if not all(_RANGES[key].holds(n) for n in numbers):
        yield id_, f"{value} is out of range; wanted {_RANGES[key].said}.", "error"


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


def _lists(config: dict[str, Any]) -> Found:
    for key in ("modalities", "regions", "label_names"):
        names = config.get(key)
        twice = [n for n, count in Counter(map(str, names)).items() if count > 1] if isinstance(names, list) else []
        if twice:
            yield key, f"{twice[0]!r} comes twice.", "error"
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


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
