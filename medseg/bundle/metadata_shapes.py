"""What metadata.json says about the shapes that a network takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def side_units(metadata: Mapping[str, Any]) -> list[int]:
    """What each side of an input must be a multiple of: 32 for `32*n`, 1 for `*`, `n` or a number.

    >>> side_units({"network_data_format": {"inputs": {"image": {"spatial_shape": ["32*n", "n", "*"]}}}})
    [32, 1, 1]
    """
    image = metadata.get("network_data_format", {}).get("inputs", {}).get("image", {})
    numbers = [re.match(r"(\d+)\s*\*", str(size)) for size in image.get("spatial_shape", [])]
    units = [int(number[1]) if number else 1 for number in numbers]
    return units if len(units) == 3 else [1, 1, 1]
