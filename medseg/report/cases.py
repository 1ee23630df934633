"""The cases that the report shows: which ones, and what is read of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.labels import get_convention, labels_to_regions
from medseg.report import planes
from medseg.report.charts import COLOURS
from medseg.report.run_folder import RunFolder
from medseg.report.shrink import MOST_VOXELS
from medseg.volumes import read_volume
from medseg.volumes.names import modality_of

Masks = Mapping[str, planes.Mask]
Labels = npt.NDArray[Any]
Box = tuple[slice, slice, slice]

# Where a lesion is best seen, best first; any other bundle shows its first image.
PREFERRED_MODALITIES = ("flair", "t2", "t1c")
# A scan that would have to be made coarser than this, by volume, is cut to its labels and what fits around them: at
# least a margin that shows where one is.
_MOST_COARSER = 2.0
_MARGIN_MM, _MOST_MARGIN_MM = 25.0, 400.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the pictures of one case are drawn from, all RAS arrays `(X, Y, Z)` cropped to the same box.

    Attributes:
        colours: The colour number of each region, as in the legend.
        image: Intensities.
        window: The intensities that are black and white at first.
        image_name: The modality that is shown, or the name of its file.
        reference: Masks by region, the largest first; empty when there is no reference.
        prediction: Likewise.
        spacing_mm: Size of a voxel along X, Y, Z.
        margin_mm: What is shown around the labels of a scan that was cut down to them; None of a whole one.
    """

    colours: Mapping[str, int]
    image: npt.NDArray[Any]
    window: tuple[float, float]
    image_name: str
    reference: Masks
    prediction: Masks
    spacing_mm: tuple[float, float, float]
    margin_mm: float | None


def chosen_cases(ranked: Sequence[str]) -> dict[str, str]:
    """The best, the median and the worst of cases that are ranked best first, each once.

    >>> chosen_cases(["a", "b", "c", "d"])
    {'Best': 'a', 'Median': 'b', 'Worst': 'd'}
    >>> chosen_cases(["a", "b"]), chosen_cases(["a"])
    ({'Best': 'a', 'Worst': 'b'}, {'Only': 'a'})
    """
    if len(ranked) == 1:
        return {"Only": ranked[0]}
    median = {"Median": ranked[(len(ranked) - 1) // 2]} if len(ranked) > 2 else {}
    return {"Best": ranked[0], **median, "Worst": ranked[-1]}


def read_case(run: RunFolder, case_id: str) -> Case:
    """Reads image, reference and prediction of a case.

    Raises:
        DataError: When its scan is not known or cannot be read, or a label map has another shape.
    """
    image_path, channel, label_path = _paths(run, case_id)
    image = read_volume(image_path)
    array = image.array if image.array.ndim == 3 else image.array[..., channel]
    turned = planes.to_ras(array, image.affine_ras_mm)
    spacing = planes.ras_spacing_mm(image.affine_ras_mm, image.spacing_mm)
    maps = [_label_map(path, turned.shape) for path in (label_path, run.prediction(case_id))]
    box, margin_mm = _shown_box(turned, [labels for labels in maps if labels is not None], spacing)
    reference, prediction = (_masks(run, labels, box, where=case_id) for labels in maps)
    names = list(dict.fromkeys([*run.scores.regions, *reference, *prediction]))
    return Case(
        colours={name: place % COLOURS for place, name in enumerate(names)},
        image=turned[box],
        window=planes.start_window(turned[box]),
        image_name=modality_of(image_path) or image_path.name,
        reference=reference,
        prediction=prediction,
        spacing_mm=spacing,
        margin_mm=margin_mm,
    )


def _paths(run: RunFolder, case_id: str) -> tuple[Path, int, Path | None]:
    """The image to show, the channel of it when it is 4-D, and the label map where one is known."""
    item = run.items.get(case_id)
    if item is None:
        msg = f"its scan is not known. It is where the predictions lie in {run.path / 'predictions'}."
        raise DataError(msg)
    image = item["image"]
    by_modality = {modality_of(path): path for path in ([image] if isinstance(image, str) else image)}
    best = next(
        (by_modality[name] for name in PREFERRED_MODALITIES if name in by_modality), next(iter(by_modality.values()))
    )
    return Path(best), (item.get("channels") or [0])[0], Path(item["label"]) if item.get("label") else None


def _label_map(path: Path | None, shape: tuple[int, ...]) -> Labels | None:
    """The labels, turned as the image is; None when there is no file."""
    if path is None or not path.is_file():
        return None
    volume = read_volume(path)
    labels = planes.to_ras(volume.array, volume.affine_ras_mm)
    if labels.shape != shape:
        msg = f"{path}: shape {labels.shape} is not the image's {shape}."
        raise DataError(msg)
    return labels


def _shown_box(
    image: npt.NDArray[Any], maps: Sequence[Labels], spacing_mm: Sequence[float]
) -> tuple[Box, float | None]:
    """What is not empty of the scan; of a large one the labels with a margin, and the margin."""
    whole = planes.bounding_box(image != 0, margin=(4, 4, 4))
    labelled = np.zeros(image.shape, dtype=bool)
    for labels in maps:
        labelled |= labels != 0
    if _voxels(whole) <= _MOST_COARSER * MOST_VOXELS or not labelled.any():
        return whole, None
    box = planes.bounding_box(labelled, margin=(0, 0, 0))
    margin_mm = _MARGIN_MM
    while margin_mm < _MOST_MARGIN_MM and _voxels(_widened(box, whole, spacing_mm, margin_mm + 5)) <= MOST_VOXELS:
        margin_mm += 5
    return _widened(box, whole, spacing_mm, margin_mm), margin_mm


def _widened(box: Box, whole: Box, spacing_mm: Sequence[float], margin_mm: float) -> Box:
    """A box and a margin, as far as the whole reaches."""
    x, y, z = (
        slice(
            max(side.start - math.ceil(margin_mm / size), limit.start),
            min(side.stop + math.ceil(margin_mm / size), limit.stop),
        )
        for side, limit, size in zip(box, whole, spacing_mm, strict=True)
    )
    return (x, y, z)


def _voxels(box: Box) -> int:
    return math.prod(side.stop - side.start for side in box)


def _masks(run: RunFolder, labels: Labels | None, box: Box, *, where: str) -> Masks:
    """Masks by region, the largest first; none when there are no labels."""
    if labels is None:
        return {}
    labels = labels[box]
    if run.convention:
        convention = get_convention(run.convention)
        regions = labels_to_regions(labels, convention, where=where)
        found = dict(zip(convention.regions, regions, strict=True))
    else:
        found = {str(value): labels == value for value in np.unique(labels).tolist() if value}
    return dict(sorted(found.items(), key=lambda region: -int(region[1].sum())))
