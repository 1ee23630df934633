"""Labels that are interpolated as if they were intensities."""

from __future__ import annotations

import re
from typing import Any

from medseg.bundle import ids
from medseg.bundle.compose import Composition
from medseg.bundle.constants import UnknownError, constant
from medseg.bundle.findings import Found
from medseg.bundle.known_networks import class_of, source_of
from medseg.bundle.parameters import parameters_of

_RESAMPLES = re.compile(
    r"(Rand)?(Spacing|SpatialResample|ResampleToMatch|Resize|Affine|Rotate|Zoom|2DElastic|3DElastic)(d|D|Dict)"
)
_LABELS = ("label", "mask", "seg")
# Between voxels these make values that no label has.
_SMOOTH = ("bilinear", "trilinear", "linear", "bicubic", "area")


def label_sampling(composition: Composition) -> Found:
    """Transforms that mix the values of neighbouring labels."""
    config = composition.config
    for id_, part in ids.walk(config):
        if not ids.is_component(part) or not _RESAMPLES.fullmatch(class_of(part)):
            continue
        keys = _known(config, f"{id_}{ids.SEP}keys")
        keys = keys if isinstance(keys, list) else [keys]
        for number, key in enumerate(keys):
            if key in _LABELS:
                yield from _label(config, id_, part, number, str(key))


def _label(config: dict[str, Any], id_: str, part: dict[str, Any], number: int, key: str) -> Found:
    if "mode" not in part:
        if "mode" in parameters_of(str(part["_target_"])):
            yield id_, f"interpolates {key!r} linearly, its default. Give it a mode, nearest for labels.", "warning"
        return
    source = source_of(config, f"{id_}{ids.SEP}mode")
    modes = _known(config, source) if source else None
    mode = modes[min(number, len(modes) - 1)] if isinstance(modes, list) and modes else modes
    if source and mode in _SMOOTH:
        yield source, f"{mode} mixes the values of {key!r} of {class_of(part)}. Use nearest for labels.", "warning"


def _known(config: dict[str, Any], id_: str) -> Any:
    try:
        return constant(config, id_)
    except UnknownError:
        return None
