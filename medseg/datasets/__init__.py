"""Datasets: cases, modalities, datalists, folds and phantoms. No torch."""

from medseg.datasets.cases import Item, find_cases
from medseg.datasets.datalist import read_datalist, select_items
from medseg.datasets.patients import patient_of
from medseg.datasets.training import datalist_for, training_items

__all__ = [
    "Item",
    "datalist_for",
    "find_cases",
    "patient_of",
    "read_datalist",
    "select_items",
    "training_items",
]
