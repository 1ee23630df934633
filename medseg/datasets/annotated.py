"""What a detector trains on, whichever way its cases are annotated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medseg.datasets.boxed import detection_items
from medseg.datasets.cases import Item
from medseg.datasets.training import training_items
from medseg.errors import ConfigError


def annotated_items(
    *,
    annotations: str = "boxes",
    dataset_dir: str | Path,
    datalist: str | Path | None = None,
    fold: int = 0,
    section: str = "training",
    modalities: Sequence[str] = ("ct",),
) -> list[Item]:
    """The items of one section: with boxes as `detection_items` gives them, or with label maps as `training_items`.

    Args:
        annotations: "boxes", or "masks" for label maps whose values are instances.
        dataset_dir: The dataset's folder.
        datalist: A datalist file, or None.
        fold: The fold that is tested on; with masks the one that validates, and is tested on.
        section: "training", "validation", "testing" or "all".
        modalities: The image's modality.

    Raises:
        ConfigError: When there are no such annotations.
        DataError: When the items cannot be had.
    """
    if annotations == "boxes":
        return detection_items(
            dataset_dir=dataset_dir, datalist=datalist, fold=fold, section=section, modalities=modalities
        )
    if annotations != "masks":
        msg = f"annotations: {annotations!r} are not known. Wanted boxes or masks."
        raise ConfigError(msg)
    section = "validation" if section == "testing" else section
    return training_items(dataset_dir=dataset_dir, datalist=datalist, fold=fold, section=section, modalities=modalities)
