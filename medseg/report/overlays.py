"""The best, the median and the worst case: pictures of three planes, which a script turns into a slice viewer."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from medseg.errors import DataError
from medseg.report import planes
from medseg.report.cases import Case, chosen_cases, read_case
from medseg.report.charts import COLOURS
from medseg.report.markup import absent
from medseg.report.payload import Payload, make_payload
from medseg.report.run_folder import RunFolder
from medseg.report.tables import by_case, mean_dice

_SWITCHES = (("reference", "Reference, outlined"), ("prediction", "Prediction, filled"), ("cross", "Crosshair"))
_HELP = (
    "Turn the wheel over a picture, move its slider or use the arrow keys to go through the slices. Click or drag to "
    "bring the other two planes to that point. Drag with Shift or the right button to change level and window."
)


def overlays(run: RunFolder) -> str:
    """Figures of the best, the median and the worst case by mean Dice, those whose files are there."""
    ranked = by_case(run.scores.cases)
    if not ranked:
        return absent("Without scores per case there is no best and no worst case to show.")
    figures = []
    for rank, case_id in chosen_cases(list(ranked)).items():
        caption = f"{rank} case: {case_id}, mean Dice {mean_dice(ranked[case_id]):.3f}"
        figures.append(_figure(run, case_id, rank, caption))
    regions = run.scores.regions or list(next(iter(ranked.values())))
    toolbar = _toolbar(regions) if any("<canvas" in figure for figure in figures) else ""
    return f'<div class="overlays">{toolbar}\n' + "\n".join(figures) + "</div>"


def _toolbar(regions: Sequence[str]) -> str:
    """What is shown over all images: the kinds of overlay, and each region in its colour."""
    kinds = "".join(
        f"<label{' data-viewer hidden' if key == 'cross' else ''}>"
        f'<input type="checkbox" id="show-{key}" checked>{name}</label>'
        for key, name in _SWITCHES
    )
    shown = "".join(
        f'<label class="c{place % COLOURS}"><input type="checkbox" data-region="{escape(name)}" checked>'
        f"<i></i>{escape(name)}</label>"
        for place, name in enumerate(regions)
    )
    return (
        f'<div class="toolbar"><fieldset><legend class="hidden">Overlays</legend>{kinds}</fieldset>'
        f'<fieldset class="regions"><legend class="hidden">Regions</legend>{shown}</fieldset></div>'
        f'<p class="help" data-viewer hidden>{_HELP}</p>'
    )


def _figure(run: RunFolder, case_id: str, rank: str, caption: str) -> str:
    try:
        case = read_case(run, case_id)
    except DataError as error:
        return absent(f"{caption}. There is no picture: {error}")
    payload = make_payload(case)
    views = [_view(case, payload, plane, rank) for plane in planes.PLANES]
    columns = " ".join(f"{width:.0f}fr" for width, _ in views)
    drawings = "".join(drawing for _, drawing in views)
    return (
        f'<figure class="case" aria-label="{escape(caption)}"><figcaption>{escape(caption)}</figcaption>'
        f'<div class="planes" style="--columns: {columns}">{drawings}</div>{_window_controls(rank)}'
        f'<p class="note">{escape(_note(case, payload))}</p>'
        f'<script type="application/json" class="meta">{_for_script(payload.meta)}</script>'
        f'<script type="text/plain" class="voxels">{payload.data}</script></figure>'
    )


def _view(case: Case, payload: Payload, plane: planes.Plane, rank: str) -> tuple[float, str]:
    """The width in mm and the markup of one plane: a picture, and a canvas and a slider for the viewer."""
    index = _start(case, plane)
    across, down = (axis for axis in range(3) if axis != plane.axis)
    width, height = (case.image.shape[axis] * case.spacing_mm[axis] for axis in (across, down))
    count = payload.shape[plane.axis]
    start = min(int((index + 0.5) * count / case.image.shape[plane.axis]), count - 1)
    label = f"{rank} case, {plane.name} plane"
    markup = (
        f'<div class="view" data-axis="{plane.axis}"><div class="plane">{_still(case, plane, index, (width, height))}'
        f'<canvas role="img" aria-label="{label}" style="aspect-ratio: {width:.1f} / {height:.1f}" hidden></canvas>'
        f'{_letters(plane)}</div><label class="slice" data-viewer hidden><span>{plane.name.capitalize()}</span>'
        f'<input type="range" min="0" max="{count - 1}" value="{start}" aria-label="{label}: slice">'
        f"<output>{start + 1} / {count}</output></label></div>"
    )
    return width, markup


def _window_controls(rank: str) -> str:
    sliders = "".join(
        f"<label><span>{name}</span>"
        f'<input type="range" class="{name.lower()}" aria-label="{rank} case: {name.lower()}">'
        f"<output></output></label>"
        for name in ("Level", "Window")
    )
    button = f'<button type="button" aria-label="{rank} case: reset slices, level and window">Reset</button>'
    return f'<div class="window" data-viewer hidden>{sliders}{button}</div>'


def _note(case: Case, payload: Payload) -> str:
    """What is shown, at which size, so that nobody takes the picture for the data."""
    size = " × ".join(f"{value:.3g}" for value in payload.spacing_mm)
    coarser = payload.shape != case.image.shape
    original = f", made coarser from {' × '.join(f'{value:.3g}' for value in case.spacing_mm)} mm" if coarser else ""
    part = f", cut to the labels and {case.margin_mm:.0f} mm around them" if case.margin_mm else ""
    return f"{case.image_name}, voxels of {size} mm{original}{part}, in 8 bits. Scores are of the full data."


def _start(case: Case, plane: planes.Plane) -> int:
    """The slice with the most of the largest region, of the reference where it has one."""
    guide = next((masks for masks in (case.reference, case.prediction) if any(m.any() for m in masks.values())), {})
    anywhere = next(iter(guide.values()), np.zeros(case.image.shape, dtype=bool))
    return planes.fullest_slice(anywhere, plane)


def _still(case: Case, plane: planes.Plane, index: int, size_mm: tuple[float, float]) -> str:
    """One slice as a picture that needs no script."""
    width, height = size_mm
    picture = planes.cut(case.image, plane, index)
    grey = planes.png_data_uri(planes.to_grey(picture, case.window))
    scale = f"{width / picture.shape[1]:.4g} {height / picture.shape[0]:.4g}"
    return (
        f'<svg viewBox="0 0 {width:.1f} {height:.1f}" role="img" aria-label="{plane.name} plane">'
        f'<image href="{grey}" width="{width:.1f}" height="{height:.1f}" preserveAspectRatio="none"/>'
        f'<g transform="scale({scale})">{_mask_paths(case, plane, index)}</g></svg>'
    )


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


def _for_script(text: str) -> str:
    """JSON that cannot end the element that it stands in, whatever names it holds."""
    return text.replace("<", "\\u003c")
