"""Parts of a config, built by MONAI."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from monai.bundle import ConfigParser


def build_parts(config: Mapping[str, Any], ids: Sequence[str]) -> dict[str, Any]:
    """What the components at these ids are instantiated to; they share what they refer to.

    Args:
        config: A plain config, checked and trusted.
        ids: Such as `network_def` and `preprocessing`.
    """
    parser = ConfigParser(copy.deepcopy(dict(config)))
    return {id_: parser.get_parsed_content(id_) for id_ in ids}
