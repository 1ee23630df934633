"""Phantoms in the layout of the Medical Segmentation Decathlon: abdominal CT with two organs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medseg.datasets.phantoms.abdomen import LIVER, ROOM_MM, SPLEEN, make_abdomen
from medseg.datasets.phantoms.ct_grid import CtGrid
from medseg.datasets.phantoms.fields import Draws
from medseg.datasets.phantoms.recipe import Recipe, is_made_by, make_recipe, write_json
from medseg.volumes import Affine, Volume, write_label_map, write_volume

DEFAULT_SHAPE = (112, 88, 56)
DEFAULT_SPACING_MM = 3.4
_VERSION = 1  # raised when the same seed gives other voxels
_KIND = 1_000_001  # after the seed in each stream's key, where brats has its number: kinds share none
_THICKNESS = (0.6, 2.2)
# RAS as MSD stores it, LPS as scanners do, and two with one axis turned.
_SIGNS = ((1.0, 1.0, 1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, 1.0), (1.0, 1.0, -1.0))


@dataclass(frozen=True, eq=False)
class OrganPhantom:
    """One case.

    Attributes:
        case_id: Its name.
        image_hu: int16 voxels.
        labels: uint8: 1 the liver, 2 the spleen.
        affine_ras_mm: Anisotropic, its axes flipped in some cases.
    """

    case_id: str
    image_hu: npt.NDArray[np.int16]
    labels: npt.NDArray[np.uint8]
    affine_ras_mm: Affine


def make_msd_phantom(
    number: int, *, seed: int, shape: Sequence[int] = DEFAULT_SHAPE, spacing_mm: float = DEFAULT_SPACING_MM
) -> OrganPhantom:
    """The phantom of that number: it depends on nothing but these arguments.

    Args:
        number: Which of the seed's phantoms. Four orientations take turns.
        seed: Another seed gives other bodies.
        shape: Voxels along each axis, 24 to 1024; the number of slices follows the case's own thickness.
        spacing_mm: Mean voxel size in the slice. A body too large for the field of view is made smaller.

    Raises:
        ConfigError: When an argument is out of range.
    """
    make_recipe("msd", _VERSION, cases=number + 1, seed=seed, shape=shape, spacing_mm=spacing_mm)
    grid = CtGrid.drawn(
        Draws(seed, _KIND, number, 0),
        shape,
        spacing_mm,
        thickness=_THICKNESS,
        signs=_SIGNS[number % len(_SIGNS)],
        room_mm=ROOM_MM,
    )
    image_hu, labels = make_abdomen(grid, Draws(seed, _KIND, number, 1))
    return OrganPhantom(_case_name(number), image_hu, labels, grid.affine_ras_mm)


def write_msd_phantoms(
    out_dir: str | Path,
    *,
    cases: int,
    seed: int = 0,
    shape: Sequence[int] = DEFAULT_SHAPE,
    spacing_mm: float = DEFAULT_SPACING_MM,
    force: bool = False,
    on_case: Callable[[str], None] | None = None,
) -> Path:
    """Write phantoms as `imagesTr`, `labelsTr` and `dataset.json`.

    A folder that already holds these very phantoms is completed where a file is missing and else left alone.

    Args:
        out_dir: The dataset's folder.
        cases: How many.
        seed: As in `make_msd_phantom`.
        shape: As in `make_msd_phantom`.
        spacing_mm: As in `make_msd_phantom`.
        force: Write into a folder that holds something else, over files of the same name.
        on_case: Called with the id of each case when it is there.

    Returns:
        The path of `dataset.json`.

    Raises:
        ConfigError: When an argument is out of range.
        DataError: When the folder holds something else, or the disk refuses.
    """
    folder = Path(out_dir)
    recipe = make_recipe("msd", _VERSION, cases=cases, seed=seed, shape=shape, spacing_mm=spacing_mm)
    description = folder / "dataset.json"
    known = is_made_by(description, recipe, force=force)
    write_json(description, _description(recipe))
    for number in range(cases):
        files = [folder / name for name in _names(number)]
        if not known or not all(file.is_file() for file in files):
            phantom = make_msd_phantom(number, seed=seed, shape=shape, spacing_mm=spacing_mm)
            like = Volume(array=phantom.labels, affine_ras_mm=phantom.affine_ras_mm, path=files[0])
            write_volume(files[0], phantom.image_hu, like)
            write_label_map(files[1], phantom.labels, like)
        if on_case:
            on_case(_case_name(number))
    return description


def _case_name(number: int) -> str:
    return f"organs_{number:03d}"


def _names(number: int) -> tuple[str, str]:
    name = f"{_case_name(number)}.nii.gz"
    return f"imagesTr/{name}", f"labelsTr/{name}"


def _description(recipe: Recipe) -> Recipe:
    files = [_names(number) for number in range(recipe["cases"])]
    return {
        "name": "Phantom organs",
        "description": "Liver and spleen, made by medseg from a seed. No patient, no clinical meaning.",
        "reference": "medseg",
        "licence": "as medseg",
        "release": str(_VERSION),
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background", str(LIVER): "liver", str(SPLEEN): "spleen"},
        "phantom": recipe,
        "numTraining": len(files),
        "numTest": 0,
        "training": [{"image": f"./{image}", "label": f"./{label}"} for image, label in files],
        "test": [],
    }
