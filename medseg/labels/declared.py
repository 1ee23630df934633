"""A label convention written out where it is used, for data that is not in the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from medseg.errors import ConfigError
from medseg.labels.conventions import CONVENTIONS, LabelConvention

_HIGHEST = 255  # label maps are uint8
_PAIR = re.compile(r"^\s*([^=,]+?)\s*=\s*(\d+(?:\+\d+)*)\s*$")

Declared = str | Mapping[str, Any]


def get_convention(convention: Declared, *, where: str = "label_convention") -> LabelConvention:
    """The convention of that name, or the one declared in place.

    Args:
        convention: A name in `CONVENTIONS`, or label values by region, see `declared_convention`.
        where: The key or option named in an error.

    Raises:
        ConfigError: When no convention has that name, or none can be made of the declaration.
    """
    if isinstance(convention, Mapping):
        return declared_convention(convention, where=where)
    if convention in CONVENTIONS:
        return CONVENTIONS[convention]
    msg = f"{where}: no convention is named {convention!r}. Known: {', '.join(CONVENTIONS)}."
    raise ConfigError(msg)


def declared_convention(declared: Mapping[str, Any], *, where: str = "label_convention") -> LabelConvention:
    """The convention of `region: value` or `region: [values]` pairs, in the order of the network's channels.

    Regions may overlap if the outer comes first, as nnU-Net orders them: each is painted with the lowest of its values
    that no later region has.

    Args:
        declared: Values by region, such as `{"whole": [1, 2], "core": 2}`.
        where: The key or option named in an error.

    Raises:
        ConfigError: When a value is none, or a region has no value of its own.

    >>> declared_convention({"whole": [1, 2], "core": 2}).paint
    (('whole', 1), ('core', 2))
    """
    regions = {str(name): _values(str(name), given, where=where) for name, given in declared.items()}
    if not regions:
        msg = f"{where}: no region is declared. Wanted label values by name, such as {{liver: 1, spleen: 2}}."
        raise ConfigError(msg)
    names, paint = list(regions), []
    for position, name in enumerate(names):
        own = set(regions[name]).difference(*(regions[later] for later in names[position + 1 :]))
        if not own:
            msg = f"{where}: every value of {name!r} is also in a later region. Put the outer region first."
            raise ConfigError(msg)
        paint.append((name, min(own)))
    meanings = {value: name for name in names for value in regions[name]}
    return LabelConvention(values=dict(sorted(meanings.items())), regions=regions, paint=tuple(paint))


def parse_convention(text: str) -> Declared:
    """The name of a convention, or what `liver=1,tumour=2+3` declares.

    >>> parse_convention("whole=1+2,core=2")
    {'whole': [1, 2], 'core': [2]}
    """
    if text in CONVENTIONS or "=" not in text:
        return text
    pairs = [_PAIR.match(part) for part in text.split(",")]
    if not all(pairs):
        msg = f"--regions: {text!r} is not understood. Wanted a convention's name, or NAME=VALUE[+VALUE],..."
        raise ConfigError(msg)
    return {pair[1]: [int(value) for value in pair[2].split("+")] for pair in pairs if pair}


def _values(name: str, given: Any, *, where: str) -> tuple[int, ...]:
    values = given if isinstance(given, (list, tuple)) else [given]
    for value in values or [None]:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _HIGHEST:
            msg = f"{where}: {name}: {value!r} is no label value. Wanted whole numbers from 1 to {_HIGHEST}."
            raise ConfigError(msg)
    return tuple(sorted(set(values)))
