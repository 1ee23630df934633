"""Datasets: cases, modalities, datalists, folds and phantoms. No torch."""

from medseg.datasets.cases import Item, find_cases
from medseg.datasets.datalist import datalist_for, read_datalist, select_items, training_items
from medseg.datasets.modalities import MODALITY_SPELLINGS, canonical_modality, modality_of, patient_of

__all__ = [
    "MODALITY_SPELLINGS",
    "Item",
    "canonical_modality",
    "datalist_for",
    "find_cases",
    "modality_of",
    "patient_of",
    "read_datalist",
    "select_items",
    "training_items",
]
