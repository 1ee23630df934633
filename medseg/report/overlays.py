"""The best, the median and the worst case in three planes: image, reference outlined, prediction filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.errors import DataError
from medseg.labels import get_convention, labels_to_regions
from medseg.report import planes
from medseg.report.charts import COLOURS, legend
from medseg.report.markup import absent
from medseg.report.run_folder import RunFolder
from medseg.report.tables import by_case, mean_dice
from medseg.volumes import read_volume
from medseg.volumes.names import modality_of

Masks = Mapping[str, planes.Mask]

# Where a lesion is best seen, best first; any other bundle shows its first image.
PREFERRED_MODALITIES = ("flair", "t2", "t1c")
_SWITCHES = (
    '<input type="checkbox" id="show-reference" checked><label for="show-reference">Reference (outline)</label>'
    '<input type="checkbox" id="show-prediction" checked><label for="show-prediction">Prediction (filled)</label>'
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the pictures of one case are drawn from, all RAS arrays `(X, Y, Z)` cropped to the same box.

    Attributes:
        colours: The colour number of each region, as in the legend.
        image: Intensities.
        reference: Masks by region, the largest first; empty when there is no reference.
        prediction: Likewise.
        spacing_mm: Size of a voxel along X, Y, Z.
    """

    colours: Mapping[str, int]
    image: npt.NDArray[Any]
    reference: Masks
    prediction: Masks
    spacing_mm: tuple[float, float, float]


def overlays(run: RunFolder) -> str:
    """Figures of the best, the median and the worst case by mean Dice, those whose files are there."""
    ranked = by_case(run.scores.cases)
    if not ranked:
        return absent("Without scores per case there is no best and no worst case to show.")
    ids = list(ranked)
    chosen = (
        {"Best": ids[0], "Median": ids[(len(ids) - 1) // 2], "Worst": ids[-1]} if len(ids) > 1 else {"Only": ids[0]}
    )
    figures = []
    for rank, case_id in chosen.items():
        caption = f"{rank} case: {case_id}, mean Dice {mean_dice(ranked[case_id]):.3f}"
        figures.append(_figure(run, case_id, caption))
    regions = run.scores.regions or list(next(iter(ranked.values())))
    return f'<div class="overlays">{_SWITCHES}{legend(regions)}\n' + "\n".join(figures) + "</div>"


def _figure(run: RunFolder, case_id: str, caption: str) -> str:
    try:
        case = _read_case(run, case_id)
    except DataError as error:
        return absent(f"{caption}. There is no picture: {error}")
    panels = [_panel(case, plane) for plane in planes.PLANES]
    columns = " ".join(f"{width:.0f}fr" for width, _ in panels)
    drawings = "".join(drawing for _, drawing in panels)
    return (
        f"<figure><figcaption>{escape(caption)}</figcaption>"
        f'<div class="planes" style="--columns: {columns}">{drawings}</div></figure>'
    )


def _read_case(run: RunFolder, case_id: str) -> Case:
    image_path, channel, label_path = _paths(run, case_id)
    prediction_path = run.prediction(case_id)
    image = read_volume(image_path)
    array = image.array if image.array.ndim == 3 else image.array[..., channel]
    turned = planes.to_ras(array, image.affine_ras_mm)
    box = planes.bounding_box(turned != 0, margin=4)
    masks = [_masks(run, path, turned.shape, box) for path in (label_path, prediction_path)]
    spacing = planes.ras_spacing_mm(image.affine_ras_mm, image.spacing_mm)
    names = list(dict.fromkeys([*run.scores.regions, *masks[0], *masks[1]]))
    colours = {name: place % COLOURS for place, name in enumerate(names)}
    return Case(colours=colours, image=turned[box], reference=masks[0], prediction=masks[1], spacing_mm=spacing)


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


def _masks(run: RunFolder, path: Path | None, shape: tuple[int, ...], box: tuple[slice, slice, slice]) -> Masks:
    """Masks by region, the largest first; none when there is no file."""
    if path is None or not path.is_file():
        return {}
    volume = read_volume(path)
    labels = planes.to_ras(volume.array, volume.affine_ras_mm)
    if labels.shape != shape:
        msg = f"{path}: shape {labels.shape} is not the image's {shape}."
        raise DataError(msg)
    labels = labels[box]
    if run.convention:
        convention = get_convention(run.convention)
        regions = labels_to_regions(labels, convention, where=str(path))
        found = dict(zip(convention.regions, regions, strict=True))
    else:
        found = {str(value): labels == value for value in np.unique(labels).tolist() if value}
    return dict(sorted(found.items(), key=lambda region: -int(region[1].sum())))


def _panel(case: Case, plane: planes.Plane) -> tuple[float, str]:
    """The width in mm and the drawing of one plane, through the fullest slice of the reference or the prediction."""
    guide = next((masks for masks in (case.reference, case.prediction) if any(m.any() for m in masks.values())), {})
    anywhere = next(iter(guide.values()), np.zeros(case.image.shape, dtype=bool))
    index = planes.fullest_slice(anywhere, plane)
    picture = planes.cut(case.image, plane, index)
    rows, columns = picture.shape
    across, down = (case.spacing_mm[axis] for axis in range(3) if axis != plane.axis)
    width, height = columns * across, rows * down
    grey = planes.png_data_uri(planes.to_grey(picture, planes.grey_window(case.image)))
    paths = _mask_paths(case, plane, index)
    drawing = (
        f'<div class="plane"><svg viewBox="0 0 {width:.1f} {height:.1f}" role="img" aria-label="{plane.name} plane">'
        f'<image href="{grey}" width="{width:.1f}" height="{height:.1f}" preserveAspectRatio="none"/>'
        f'<g transform="scale({across:.4g} {down:.4g})">{paths}</g></svg>{_letters(plane)}</div>'
    )
    return width, drawing


def _mask_paths(case: Case, plane: planes.Plane, index: int) -> str:
    kinds = (
        ("prediction", case.prediction, planes.filled_path),
        ("reference", case.reference, planes.outline_path),
    )
    return "".join(
        f'<path class="{kind} c{case.colours[name]}" d="{draw(planes.cut(mask, plane, index))}"/>'
        for kind, masks, draw in kinds
        for name, mask in masks.items()
    )


def _letters(plane: planes.Plane) -> str:
    places = zip(("left", "right", "top", "bottom"), plane.letters, strict=True)
    return "".join(f'<span class="{place}" aria-hidden="true">{letter}</span>' for place, letter in places)
