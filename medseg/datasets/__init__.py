"""Datasets: cases, modalities, datalists, folds and phantoms. No torch."""

from medseg.datasets.annotated import annotated_items
from medseg.datasets.boxed import detection_items
from medseg.datasets.cases import Item, find_cases
from medseg.datasets.datalist import read_datalist, select_items
from medseg.datasets.patients import patient_of
from medseg.datasets.training import datalist_for, training_items

__all__ = [
    "Item",
    "annotated_items",
    "datalist_for",
    "detection_items",
    "find_cases",
    "patient_of",
    "read_datalist",
    "select_items",
    "training_items",
]
