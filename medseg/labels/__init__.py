"""Label conventions and the regions scored in them."""

from medseg.labels.conventions import (
    CONVENTIONS,
    LabelConvention,
    are_exclusive,
    labels_to_regions,
    regions_to_labels,
    settle_regions,
)
from medseg.labels.declared import Declared, get_convention, parse_convention

__all__ = [
    "CONVENTIONS",
    "Declared",
    "LabelConvention",
    "are_exclusive",
    "get_convention",
    "labels_to_regions",
    "parse_convention",
    "regions_to_labels",
    "settle_regions",
]
