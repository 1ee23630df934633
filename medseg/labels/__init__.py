"""Label conventions and the regions scored in them."""

from medseg.labels.conventions import CONVENTIONS, LabelConvention, get_convention, labels_to_regions, regions_to_labels

__all__ = ["CONVENTIONS", "LabelConvention", "get_convention", "labels_to_regions", "regions_to_labels"]
